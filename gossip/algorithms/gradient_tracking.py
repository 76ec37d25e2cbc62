"""Gradient tracking: each node corrects its own gradients by what the others' say.

K-GT (Liu, Lin, Koloskova, Stich 2023, algorithm 1) takes K local steps x -= lr (g + c) and
publishes two vectors: where they led, and their mean direction y = (x - z) / (lr K). With what
mixing does to y, the correction follows: c += (W y) - y. Where W is doubly stochastic, the
corrections of all nodes go on summing to 0, and uneven data no longer pulls the nodes apart.

BEER (Zhao et al. 2022, algorithm 1) tracks the gradient itself: v = W v + g - g_before, and steps
along v. Made for compression with feedback of what it dropped, one step a round.

With compression the copies that W works on lag behind, and of what is summed up from them only a
share is remembered (``base.remembered``).

Both take only what a release tells of the gradient, so no privacy is lost.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..grid import FloatVector
from .base import Turn, gradient_of, remembered


class Tracking:
    """What both have in common."""

    vectors: ClassVar[int] = 2

    def news(self, turn: Turn, model: FloatVector) -> FloatVector:
        """The way from where the round began: less the correction it would be a node's own bias."""
        return model - turn.before


class KGT(Tracking):
    """K-GT; memory: the correction c, which starts at 0."""

    slots: ClassVar[int] = 1
    beta = 1.0

    def drift(self, memory: FloatVector) -> FloatVector | None:
        """The correction."""
        return memory[..., 0, :]

    def outgoing(self, turn: Turn, z: FloatVector) -> tuple[FloatVector, FloatVector]:
        """Where the steps led, and their mean direction.

        A node that trains no more has none, and 0 would pull on the others' corrections: it says
        what leaves its own as it is.
        """
        direction = gradient_of(turn, z)
        direction = np.where(turn.trained[..., None], direction, turn.memory[..., 0, :])
        return np.stack([z, direction], axis=-2), turn.memory

    def settle(self, turn: Turn, base: FloatVector, mixed: FloatVector) -> FloatVector:
        """The correction takes up what mixing did to the direction."""
        pull = mixed[..., 1, :] - base[..., 1, :]
        pull += remembered(turn, 1) * turn.memory[..., 0, :]
        return pull[..., None, :]

    def rejoin(self, turn: Turn, found: FloatVector) -> tuple[FloatVector, FloatVector]:
        """The neighbours' model, and no correction, as in the first round.

        All corrections then no longer sum up to 0 exactly, as they do not where others were missing
        either; one from where the network was did more harm than that (decision 21).
        """
        return found, np.zeros_like(turn.memory)


class BEER(Tracking):
    """BEER; memory: the mixed tracker W v, and the gradient of the round before."""

    slots: ClassVar[int] = 2
    beta = 0.0

    def drift(self, memory: FloatVector) -> FloatVector | None:
        """Nothing: the step is taken along the tracker, after training has told the gradient."""
        return None

    def outgoing(self, turn: Turn, z: FloatVector) -> tuple[FloatVector, FloatVector]:
        """A step along the tracker, and the tracker; the memory's gradient is then this round's."""
        gradient = gradient_of(turn, z)
        gradient = np.where(turn.trained[..., None], gradient, turn.memory[..., 1, :])
        tracker = turn.memory[..., 0, :] + gradient
        tracker -= turn.memory[..., 1, :]
        stepped = turn.before - np.float32(turn.step_size) * tracker
        return np.stack([stepped, tracker], axis=-2), np.stack([tracker, gradient], axis=-2)

    def settle(self, turn: Turn, base: FloatVector, mixed: FloatVector) -> FloatVector:
        """The mixture of the trackers, and the gradient."""
        tracker, gradient = turn.memory[..., 0, :], turn.memory[..., 1, :]
        forgotten = (np.float32(1) - remembered(turn, 1)) * (tracker - gradient)
        return np.stack([mixed[..., 1, :] - forgotten, gradient], axis=-2)

    def rejoin(self, turn: Turn, found: FloatVector) -> tuple[FloatVector, FloatVector]:
        """The neighbours' model, and the memory as it was: trackers sum up to the gradients', and
        the way from the last gradient to the next is told then, however far the model went.
        """
        return found, turn.memory
