"""What all nodes of a network hold, one row each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ....gossip.algorithms.chosen import algorithm_of
from ....gossip.grid import GridVector, from_grid
from ....gossip.mixing import is_own_copy
from ....gossip.rules import Rules
from .tiles import Tiles, tiles_of, width_for

Allocate = Callable[[tuple[int, ...], DTypeLike], NDArray[Any]]


@dataclass(slots=True, kw_only=True)
class Arrays:
    """The state of N nodes with P parameters.

    Matrices are in tiles (tiles.py). ``models`` (N, P) are the private models that the next round
    begins from. ``public`` (N + S, V, P) are the public copies of V vectors, then S spare rows for
    older copies that somebody still has to mix with. ``remembered`` (N, M, P) is the memory of the
    gossip rule, ``base`` (N, V, P) is there unless it is the public copy. ``gamma`` (N, V) are the
    step sizes of mixing; ``rounds``, ``sequences``, ``sessions`` and ``trained`` (N,) the round and
    number of the last entry, how often each node has trained, and whether its last release came
    from training.
    """

    models: Tiles[np.float32]
    public: Tiles[np.int32]
    remembered: Tiles[np.float32]
    base: Tiles[np.float32]
    gamma: NDArray[np.float64]
    rounds: NDArray[np.int64]
    sequences: NDArray[np.int64]
    sessions: NDArray[np.int64]
    trained: NDArray[np.bool_]

    @classmethod
    def begin(
        cls,
        genesis: GridVector,
        rules: Rules,
        *,
        spare: int = 0,
        nodes: int | None = None,
        allocate: Allocate = np.zeros,
    ) -> Arrays:
        """All nodes of a network, or as many as ``nodes``, at the initial model ``genesis`` (P,).

        ``spare`` is S.
        """
        arrays = cls.allocated(genesis.size, rules, spare=spare, nodes=nodes, allocate=allocate)
        arrays.fill(genesis, rules)
        return arrays

    def fill(self, genesis: GridVector, rules: Rules) -> None:
        """Bring arrays of zeros to the initial model ``genesis`` (P,)."""
        self.models.fill(from_grid(genesis, rules.grid_bits), len(self.models))
        self.public.fill(genesis, len(self.models))
        self.base.fill(from_grid(genesis, rules.grid_bits), len(self.base))
        self.gamma[:] = 1.0

    @classmethod
    def allocated(
        cls,
        parameters: int,
        rules: Rules,
        *,
        spare: int,
        nodes: int | None = None,
        allocate: Allocate,
    ) -> Arrays:
        """Arrays for the nodes of a network, over whatever ``allocate(shape, dtype)`` gives."""
        n, algorithm = nodes or rules.topology.nodes, algorithm_of(rules)
        based = not is_own_copy(rules.mixing, algorithm.vectors)
        width = width_for(rules.topology.nodes, parameters)  # alike wherever some of them are
        tiles = tiles_of(parameters, width)

        def matrix(rows: int, dtype: DTypeLike, vectors: int = 1) -> Tiles[Any]:
            shape = (vectors * tiles, rows, width)
            return Tiles(allocate(shape, dtype), parameters, vectors)

        def vector(dtype: DTypeLike) -> NDArray[Any]:
            return allocate((n,), dtype)

        return cls(
            models=matrix(n, np.float32),
            public=matrix(n + spare, np.int32, algorithm.vectors),
            remembered=matrix(n, np.float32, algorithm.slots),
            base=matrix(n if based else 0, np.float32, algorithm.vectors),
            gamma=allocate((n, algorithm.vectors), np.float64),
            rounds=vector(np.int64),
            sequences=vector(np.int64),
            sessions=vector(np.int64),
            trained=vector(np.bool_),
        )

    def copies(self, nodes: NDArray[np.int64]) -> GridVector:
        """The public copies of some nodes (n,) as their feeds have them, int32 (n, V P)."""
        return self.public.whole_rows(nodes).reshape(len(nodes), -1)

    def memory(self) -> dict[str, NDArray[np.generic]]:
        """The arrays behind all of it, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value.memory if isinstance(value, Tiles) else value
            for name, value in values.items()
        }
