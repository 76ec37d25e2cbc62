"""What all gossip rules have in common.

A round of a peer that begins with the model x, with V vectors in a release and M remembered:

    train     z = Train(x), each local step x -= lr (beta * drift + gradient); privatized
    outgoing  x, z, memory -> the V vectors to publish, memory
    publish   clipped, put on the grid, compressed; the public copy holds V vectors
    mix       each vector by itself: b + gamma * sum_j w_ij (p_j - p_i)
    settle    the mixed vectors, memory -> the model that the next round begins with, memory

z is a release: it has been through the privacy gate. All that follows is made of it and of what
others published, so it is post-processing, whatever a rule derives from it.

Shapes: x and z (..., P), memory (..., M, P), vectors (..., V, P). ``trained`` (...) tells whether z
came from training; where it did not (the budget is spent), z is x and holds no news. ``step_size``
is the learning rate times the number of local steps.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from ..grid import FloatVector

Flags = NDArray[np.bool_]


class Algorithm(Protocol):
    """One gossip rule."""

    vectors: ClassVar[int]
    slots: ClassVar[int]
    beta: float

    def drift(self, memory: FloatVector) -> FloatVector | None:
        """What is added, times ``beta``, to each gradient of the round, (..., P); None: nothing."""
        ...

    def outgoing(
        self,
        before: FloatVector,
        z: FloatVector,
        memory: FloatVector,
        step_size: float,
        trained: Flags,
    ) -> tuple[FloatVector, FloatVector]:
        """The vectors to publish (..., V, P), and the memory then; the arguments are left alone."""
        ...

    def settle(
        self,
        before: FloatVector,
        base: FloatVector,
        mixed: FloatVector,
        memory: FloatVector,
        step_size: float,
        trained: Flags,
    ) -> tuple[FloatVector, FloatVector]:
        """The next model (..., P) and the memory; the arguments are left alone.

        ``before`` is the model that the round began with, ``base`` and ``mixed`` (..., V, P) are
        what was published and what mixing made of it.
        """
        ...


def gradient_of(
    before: FloatVector, z: FloatVector, step_size: float, trained: Flags
) -> FloatVector:
    """The mean of the steps' directions in a round, (x - z) / (lr steps); 0 without training.

    Raises ValueError for a step size of 0: nothing can be told from a round that goes nowhere.
    """
    if step_size <= 0:
        raise ValueError("a round of no steps has no direction")
    direction = before - z
    direction /= np.float32(step_size)
    return np.where(trained[..., None], direction, np.float32(0))
