"""A matrix with a row for each node, laid out for two ways of working on it.

Training and publishing take some rows with all their columns, mixing takes all rows of some
columns. Row by row in memory, the second way would touch another page for every row. So the
matrix is cut into tiles of 64 columns that lie one behind the other; a node's row is the same
line of each.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

WIDTH = 64  # columns of a tile: four cache lines of float32
Number = TypeVar("Number", bound=np.generic)


def tiles_of(columns: int) -> int:
    """How many tiles a matrix of so many columns has."""
    return max(1, -(-columns // WIDTH))


class Tiles(Generic[Number]):
    """R rows of P = ``columns`` values over ``memory`` (T, R, 64); what is beyond P stays 0."""

    def __init__(self, memory: NDArray[Number], columns: int) -> None:
        if memory.shape[0] != tiles_of(columns) or memory.shape[2] != WIDTH:
            raise ValueError(f"{columns} columns do not fill tiles of shape {memory.shape}")
        self.memory = memory
        self.columns = columns

    def __len__(self) -> int:
        """The number of rows, R."""
        return int(self.memory.shape[1])

    def rows(self, which: NDArray[np.int64]) -> NDArray[Number]:
        """A copy (n, P) of some rows (n,)."""
        found: NDArray[Number] = np.empty((len(which), self.columns), dtype=self.memory.dtype)
        self._move(which, found, out=True)
        return found

    def put(self, which: NDArray[np.int64], values: NDArray[Number]) -> None:
        """Set some rows (n,) to ``values`` (n, P)."""
        self._move(which, values, out=False)

    def fill(self, row: NDArray[Number], rows: int) -> None:
        """Set the first so many rows to ``row`` (P,)."""
        for number in range(len(self.memory)):
            part = row[number * WIDTH : (number + 1) * WIDTH]
            self.memory[number, :rows, : len(part)] = part

    def _move(self, which: NDArray[np.int64], values: NDArray[Any], *, out: bool) -> None:
        where: slice | NDArray[np.int64] = which
        if len(which) and which[-1] - which[0] + 1 == len(which) and (np.diff(which) == 1).all():
            where = slice(int(which[0]), int(which[-1]) + 1)  # no list of rows to look up
        for number, tile in enumerate(self.memory):
            part = values[:, number * WIDTH : (number + 1) * WIDTH]
            if out:
                part[...] = tile[where, : part.shape[1]]
            else:
                tile[where, : part.shape[1]] = part
