"""What all gossip rules have in common.

A round of a peer that begins with the model x, with V vectors in a release and M remembered:

    train     z = Train(x), each local step x -= lr (beta * drift + gradient); privatized
    outgoing  the turn, z -> the V vectors to publish, memory
    publish   clipped, put on the grid, compressed; the public copy holds V vectors
    mix       each vector by itself: b + gamma * sum_j w_ij (p_j - p_i)
    settle    the turn, the mixed vectors -> memory

The first of the vectors is the model: that which is published, and, mixed, that which the next
round begins with.

A peer that missed rounds goes on from what its neighbours have (gossip/rejoining.py):

    rejoin    the turn, the mean of their models -> the model to begin with, memory

z is a release: it has been through the privacy gate. All that follows is made of it and of what
others published, so it is post-processing, whatever a rule derives from it.

Shapes: x and z (..., P), memory (..., M, P), vectors (..., V, P).
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..grid import FloatVector

Flags = NDArray[np.bool_]


class Turn(NamedTuple):
    """What a rule knows of a peer in a round: the model ``before`` (..., P) that it began with, the
    ``memory`` (..., M, P), and whether it has ``trained`` (...); where it has not (the budget is
    spent), the release is that model and holds no news. ``step_size`` is the learning rate times
    the number of local steps; ``gamma`` (..., V) are the step sizes of mixing, known once the round
    is published.
    """

    before: FloatVector
    memory: FloatVector
    step_size: float
    trained: Flags
    gamma: NDArray[np.float64]


class Algorithm(Protocol):
    """One gossip rule."""

    vectors: ClassVar[int]
    slots: ClassVar[int]
    beta: float

    def drift(self, memory: FloatVector) -> FloatVector | None:
        """What is added, times ``beta``, to each gradient of the round, (..., P); None: nothing."""
        ...

    def outgoing(self, turn: Turn, z: FloatVector) -> tuple[FloatVector, FloatVector]:
        """The vectors to publish (..., V, P) for the release ``z``, and the memory then.

        The arguments are left alone.
        """
        ...

    def news(self, turn: Turn, model: FloatVector) -> FloatVector:
        """What there is in the ``model`` (..., P) to publish that nobody will say again, (..., P).

        Momentum is no news: next round's steps have it as well.
        """
        ...

    def settle(self, turn: Turn, base: FloatVector, mixed: FloatVector) -> FloatVector:
        """The memory that the next round begins with; the arguments are left alone.

        ``base`` and ``mixed`` (..., V, P) are what was published and what mixing made of it.
        """
        ...

    def rejoin(self, turn: Turn, found: FloatVector) -> tuple[FloatVector, FloatVector]:
        """The model (..., P) and the memory to go on with after missed rounds; the arguments are
        left alone.

        ``found`` (..., P) is the mean of the neighbours' models. A jump is no gradient: what a rule
        remembers of its way must not take it for one.
        """
        ...


def gradient_of(turn: Turn, z: FloatVector) -> FloatVector:
    """The mean of the steps' directions in a round, (x - z) / (lr steps); 0 without training.

    Raises ValueError for a step size of 0: nothing can be told from a round that goes nowhere.
    """
    if turn.step_size <= 0:
        raise ValueError("a round of no steps has no direction")
    direction = turn.before - z
    direction /= np.float32(turn.step_size)
    return np.where(turn.trained[..., None], direction, np.float32(0))


def remembered(turn: Turn, vector: int) -> NDArray[np.float32]:
    """The share (..., 1) of a correction that lasts, by the vector that it is mixed from: gamma.

    All of it where all was said. Else the copies lag behind, and a sum of what they say swings ever
    wider, unless it forgets as much as was not said: what is added to it then comes to at most
    gamma / (1 - gamma) of what it is from, and where the gain of a loop is below 1, no lag makes it
    unstable (small-gain theorem, Zames 1966). Copies that were told more than half hardly lag.
    """
    return turn.gamma[..., vector, None].astype(np.float32)
