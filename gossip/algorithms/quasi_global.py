"""Decentralized SGD, plain and with quasi-global momentum.

D-PSGD (Lian et al. 2017) publishes what it learnt and takes the mixture for its model.

QG-DSGDm (Lin, Karimireddy, Stich, Jaggi 2021, algorithm 1): on uneven data a local momentum buffer
pulls each node towards its own data. Here the buffer follows what the model really did in a round,
mixing included, which is nearly the same at all nodes. It is held fixed while a node trains: each
local step adds beta times the buffer to its gradient but nothing to the buffer itself, and the
round's end brings it up to date. Its unit is that of one gradient, so the number of local steps
may change from round to round.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..grid import FloatVector
from .base import Turn


class DPSGD:
    """Decentralized SGD: no memory."""

    vectors: ClassVar[int] = 1
    slots: ClassVar[int] = 0
    beta = 0.0

    def drift(self, memory: FloatVector) -> FloatVector | None:
        """Nothing."""
        return None

    def outgoing(self, turn: Turn, z: FloatVector) -> tuple[FloatVector, FloatVector]:
        """The release as it is."""
        return z[..., None, :], turn.memory

    def news(self, turn: Turn, model: FloatVector) -> FloatVector:
        """The way from where the round began."""
        return model - turn.before

    def settle(self, turn: Turn, base: FloatVector, mixed: FloatVector) -> FloatVector:
        """The memory as it is."""
        return turn.memory

    def rejoin(self, turn: Turn, found: FloatVector) -> tuple[FloatVector, FloatVector]:
        """The neighbours' model, and no momentum: the old one leads from where the network was."""
        return found, np.zeros_like(turn.memory)


class QuasiGlobal(DPSGD):
    """QG-DSGDm with momentum ``beta``; memory: the buffer."""

    slots: ClassVar[int] = 1

    def __init__(self, beta: float) -> None:
        self.beta = beta

    def drift(self, memory: FloatVector) -> FloatVector | None:
        """The buffer."""
        return memory[..., 0, :]

    def news(self, turn: Turn, model: FloatVector) -> FloatVector:
        """The way from where the round began, but for the steps that the buffer took."""
        by_buffer = np.float32(turn.step_size * self.beta) * turn.memory[..., 0, :]
        gone: FloatVector = model - turn.before
        return np.where(turn.trained[..., None], gone + by_buffer, gone)

    def settle(self, turn: Turn, base: FloatVector, mixed: FloatVector) -> FloatVector:
        """The buffer follows the model, where there was training."""
        buffer = turn.memory[..., 0, :]
        moved = quasi_global(buffer, turn.before, mixed[..., 0, :], turn.step_size, 1, self.beta)
        if not turn.trained.all():
            moved = np.where(turn.trained[..., None], moved, buffer)
        return moved[..., None, :]


def quasi_global(
    m: FloatVector, before: FloatVector, after: FloatVector, lr: float, steps: int, mu: float
) -> FloatVector:
    """The buffer after a round: mu m + (1 - mu) (before - after) / (lr steps), all (..., P).

    ``before`` is the model that the round's ``steps`` local steps of size ``lr`` began from,
    ``after`` the mixed model that the next round begins from. The paper sets mu = beta.
    """
    if steps < 1 or lr <= 0:
        raise ValueError("a round without training has no momentum: keep the buffer as it is")
    moved = before - after
    moved /= np.float32(lr * steps)
    moved *= np.float32(1 - mu)
    moved += np.float32(mu) * m
    return moved
