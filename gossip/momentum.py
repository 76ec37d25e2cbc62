"""Quasi-global momentum, QG-DSGDm (Lin, Karimireddy, Stich, Jaggi 2021, algorithm 1).

On uneven data a local momentum buffer pulls each node towards its own data. Here the buffer
follows what the model really did in a round, mixing included, which is nearly the same at all
nodes. It is held fixed while a node trains: each local step adds beta times the buffer to its
gradient (peer/learners/descent.py) but nothing to the buffer itself, and the round's end brings
it up to date. Its unit is that of one gradient, so the number of local steps may change from
round to round.
"""

from __future__ import annotations

import numpy as np

from .grid import FloatVector


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
