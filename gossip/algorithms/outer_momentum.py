"""Local steps with an outer momentum, for rounds of many local steps.

DiLoCo (Douillard et al. 2023) treats what a round of local steps achieved as one gradient of an
outer optimiser with Nesterov momentum. Here each node does so by itself before it publishes, and
gossip takes the place of the exact mean, as in NoLoCo (Kolehmainen et al. 2025), where nodes
average in pairs: use it with a topology of random matchings for that.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..grid import FloatVector
from .base import Turn
from .quasi_global import DPSGD


class OuterMomentum(DPSGD):
    """Nesterov's momentum ``mu`` on the rounds' progress; memory: the velocity.

    The progress d of a round enters the velocity u = mu u + (1 - mu) d, and what is published is
    x + mu u + (1 - mu) d, Nesterov's look ahead. On a steady course u is d, and so is the step:
    momentum smooths the course and does not lengthen the steps, so no outer learning rate is asked
    for.
    """

    slots: ClassVar[int] = 1

    def __init__(self, mu: float) -> None:
        self._mu = np.float32(mu)

    def outgoing(self, turn: Turn, z: FloatVector) -> tuple[FloatVector, FloatVector]:
        """The look ahead, and the new velocity; where there was no training, x and the old one."""
        progress: FloatVector = (np.float32(1) - self._mu) * (z - turn.before)
        velocity: FloatVector = self._mu * turn.memory[..., 0, :] + progress
        ahead = turn.before + self._mu * velocity
        ahead += progress
        there = turn.trained[..., None]
        ahead = np.where(there, ahead, z).astype(np.float32, copy=False)
        velocity = np.where(there, velocity, turn.memory[..., 0, :])
        return ahead[..., None, :], velocity[..., None, :]
