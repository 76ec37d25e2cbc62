"""What all nodes of a network hold, one row each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ....gossip.grid import FloatVector, GridVector, from_grid
from ....gossip.rules import Rules

Allocate = Callable[[tuple[int, ...], DTypeLike], NDArray[np.generic]]


@dataclass(slots=True, kw_only=True)
class Arrays:
    """The state of N nodes with P parameters.

    ``models`` (N, P) are the private models that the next round begins from. ``public`` (N + S, P)
    are the public copies, then S spare rows for older copies that somebody still has to mix with.
    ``momentum`` (N, P) is there for quasi-global momentum, ``base`` (N, P) for feedback mixing,
    else both have no rows. ``gamma``, ``rounds``, ``sequences``, ``sessions`` and ``trained`` (N,)
    are the step size of mixing, the round and number of the last entry, how often each node has
    trained, and whether its last release came from training.
    """

    models: FloatVector
    public: GridVector
    momentum: FloatVector
    base: FloatVector
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
        arrays.models[:] = from_grid(genesis, rules.grid_bits)
        arrays.public[: rules.topology.nodes] = genesis
        arrays.gamma[:] = 1.0
        return arrays

    @classmethod
    def allocated(cls, parameters: int, rules: Rules, *, spare: int, allocate: Allocate) -> Arrays:
        """Arrays for the nodes of a network, with whatever ``allocate(shape, dtype)`` gives."""
        n = rules.topology.nodes
        shapes: dict[str, tuple[tuple[int, ...], DTypeLike]] = {
            "models": ((n, parameters), np.float32),
            "public": ((n + spare, parameters), np.int32),
            "momentum": ((n if rules.optimiser == "qg-dsgdm" else 0, parameters), np.float32),
            "base": ((n if rules.mixing == "feedback" else 0, parameters), np.float32),
            "gamma": ((n,), np.float64),
            "rounds": ((n,), np.int64),
            "sequences": ((n,), np.int64),
            "sessions": ((n,), np.int64),
            "trained": ((n,), np.bool_),
        }
        return cls(**{name: allocate(*shape) for name, shape in shapes.items()})  # type: ignore[arg-type]

    def named(self) -> dict[str, NDArray[np.generic]]:
        """Each array by its name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
