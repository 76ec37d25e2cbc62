"""What all nodes of a network hold, one row each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ....gossip.grid import GridVector, from_grid
from ....gossip.rules import Rules
from .tiles import WIDTH, Tiles, tiles_of

Allocate = Callable[[tuple[int, ...], DTypeLike], NDArray[Any]]


@dataclass(slots=True, kw_only=True)
class Arrays:
    """The state of N nodes with P parameters.

    Matrices are in tiles (tiles.py). ``models`` (N, P) are the private models that the next round
    begins from. ``public`` (N + S, P) are the public copies, then S spare rows for older copies
    that somebody still has to mix with. ``momentum`` (N, P) is there for quasi-global momentum,
    ``base`` (N, P) for feedback mixing,
    else both have no rows. ``gamma``, ``rounds``, ``sequences``, ``sessions`` and ``trained`` (N,)
    are the step size of mixing, the round and number of the last entry, how often each node has
    trained, and whether its last release came from training.
    """

    models: Tiles[np.float32]
    public: Tiles[np.int32]
    momentum: Tiles[np.float32]
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
        allocate: Allocate = np.zeros,
    ) -> Arrays:
        """All nodes of a network at the initial model ``genesis`` (P,); ``spare`` is S."""
        arrays = cls.allocated(genesis.size, rules, spare=spare, allocate=allocate)
        arrays.models.fill(from_grid(genesis, rules.grid_bits), len(arrays.models))
        arrays.public.fill(genesis, len(arrays.models))
        arrays.gamma[:] = 1.0
        return arrays

    @classmethod
    def allocated(cls, parameters: int, rules: Rules, *, spare: int, allocate: Allocate) -> Arrays:
        """Arrays for the nodes of a network, over whatever ``allocate(shape, dtype)`` gives."""
        n = rules.topology.nodes

        def matrix(rows: int, dtype: DTypeLike) -> Tiles[Any]:
            return Tiles(allocate((tiles_of(parameters), rows, WIDTH), dtype), parameters)

        def vector(dtype: DTypeLike) -> NDArray[Any]:
            return allocate((n,), dtype)

        return cls(
            models=matrix(n, np.float32),
            public=matrix(n + spare, np.int32),
            momentum=matrix(n if rules.optimiser == "qg-dsgdm" else 0, np.float32),
            base=matrix(n if rules.mixing == "feedback" else 0, np.float32),
            gamma=vector(np.float64),
            rounds=vector(np.int64),
            sequences=vector(np.int64),
            sessions=vector(np.int64),
            trained=vector(np.bool_),
        )

    def memory(self) -> dict[str, NDArray[np.generic]]:
        """The arrays behind all of it, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value.memory if isinstance(value, Tiles) else value
            for name, value in values.items()
        }
