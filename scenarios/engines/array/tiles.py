"""A matrix with a row for each node, laid out for two ways of working on it.

Training and publishing take some rows with all their columns, mixing takes all rows of some
columns. Row by row in memory, the second way would touch another page for every row. So the
matrix is cut into tiles of some columns that lie one behind the other; a node's row is the same
line of each. The fewer the rows, the wider the tiles: what a tile costs besides its values would
otherwise be most of what a small network takes.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

WIDTH = 64  # columns that a tile has a multiple of: four cache lines of float32
TILE_VALUES = 2**14  # of a tile that is wider than that: they stay in a core's cache
Number = TypeVar("Number", bound=np.generic)


def width_for(nodes: int, columns: int) -> int:
    """How many columns a tile has in a network of so many nodes and parameters."""
    most = WIDTH * max(1, TILE_VALUES // (WIDTH * nodes))
    return WIDTH * -(-columns // (WIDTH * tiles_of(columns, most)))


def tiles_of(columns: int, width: int) -> int:
    """How many tiles of this width a matrix of so many columns has."""
    return max(1, -(-columns // width))


class Tiles(Generic[Number]):
    """R rows of V vectors of P = ``columns`` values over ``memory`` (V T, R, W).

    The T = ``count`` tiles of a vector follow those of the one before; what is beyond P stays 0.
    """

    def __init__(self, memory: NDArray[Number], columns: int, vectors: int = 1) -> None:
        self.count = tiles_of(columns, memory.shape[2])
        if memory.shape[0] != vectors * self.count:
            raise ValueError(f"{vectors} x {columns} columns do not fill {memory.shape}")
        self.memory = memory
        self.columns = columns
        self.vectors = vectors

    def __len__(self) -> int:
        """The number of rows, R."""
        return int(self.memory.shape[1])

    def rows(self, which: NDArray[np.int64]) -> NDArray[Number]:
        """A copy (n, P) of the first vector of some rows (n,)."""
        found: NDArray[Number] = np.empty((len(which), 1, self.columns), dtype=self.memory.dtype)
        self._move(which, found, out=True)
        return found[:, 0]

    def whole_rows(self, which: NDArray[np.int64]) -> NDArray[Number]:
        """A copy (n, V, P) of some rows (n,)."""
        shape = (len(which), self.vectors, self.columns)
        found: NDArray[Number] = np.empty(shape, dtype=self.memory.dtype)
        self._move(which, found, out=True)
        return found

    def put(self, which: NDArray[np.int64], values: NDArray[Number]) -> None:
        """Set some rows (n,) to ``values`` (n, V, P)."""
        self._move(which, values, out=False)

    def columns_of(self, tile: int) -> NDArray[Number]:
        """The columns of one tile in all vectors, a view (V, R, W)."""
        return self.memory[tile :: self.count]

    def fill(self, row: NDArray[Number], rows: int) -> None:
        """Set the first vector of the first so many rows to ``row`` (P,)."""
        width = self.memory.shape[2]
        for number in range(self.count):
            part = row[number * width : (number + 1) * width]
            self.memory[number, :rows, : len(part)] = part

    def _move(self, which: NDArray[np.int64], values: NDArray[Any], *, out: bool) -> None:
        rows: slice | NDArray[np.int64] = which
        if len(which) and which[-1] - which[0] + 1 == len(which) and (np.diff(which) == 1).all():
            rows = slice(int(which[0]), int(which[-1]) + 1)  # no list of rows to look up
        some, vectors, columns = values.shape
        width = self.memory.shape[2]
        tiles = self.memory.reshape(self.vectors, self.count, len(self), width)[:vectors]
        full, rest = divmod(columns, width)
        whole = values[..., : columns - rest].reshape(some, vectors, full, width)
        parts = [(whole, tiles[:, :full])]
        if rest:
            parts.append((values[..., None, -rest:], tiles[:, full:, :, :rest]))
        for part, place in parts:
            by_tile = part.transpose(1, 2, 0, 3)
            if out:
                by_tile[...] = place[:, :, rows]
            else:
                place[:, :, rows] = by_tile
