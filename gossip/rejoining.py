"""Where a peer begins again that has missed rounds: at the mean of its neighbours' public copies.

Its own model is as old as its absence. Trained and published once more, it would draw everybody
back to where the network was; the mean of what the neighbours have by now is where the network is.
They count as much as the network weighs them, the peer's own old copy counts nothing.

With a robust rule nothing of one's own is left to judge the others by, so they are judged from the
median of each coordinate: it lies among honest values while fewer than half of those heard lie
(Karimireddy, He, Jaggi 2021 clip around a centre in the same way). Where there are too few for
that, a peer goes on from its own model.

Public copies are released already: to begin from them costs no privacy. Pure functions with free
leading axes: one peer's arrays, or those of all that come back.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .grid import FloatVector
from .robust import PLAIN, middle, robust_mix
from .rules import Rules


def shares_of(rules: Rules, counts: ArrayLike) -> NDArray[np.float64]:
    """How much each neighbour weighs, (..., K); all 0 where a peer goes on from its own model.

    ``counts`` (..., K) are how many records the neighbours have, or 1 each where all weigh alike;
    0 where a place is empty. Where sums are averaged instead of public copies, the next sum brings
    all that a peer has missed, and a model put in between would break what sums conserve.
    """
    n = np.asarray(counts, dtype=np.float64)
    liars = 0 if rules.robust in PLAIN else rules.byzantine
    enough = np.count_nonzero(n, axis=-1)[..., None] > 2 * liars
    enough &= rules.averaging == "public-copies"
    total = n.sum(axis=-1, keepdims=True)
    shares: NDArray[np.float64] = np.where(enough, n / np.where(total > 0, total, 1.0), 0.0)
    return shares


def neighbours_mean(
    rules: Rules, copies: FloatVector, shares: NDArray[np.float64], rounds: ArrayLike
) -> tuple[FloatVector, NDArray[np.float64]]:
    """What the neighbours have in common, float32 (..., P), and the weights (..., K) it came to.

    ``copies`` (..., K, P); ``shares`` (..., K) as ``shares_of`` gives them, not all 0; ``rounds``
    (...). A neighbour of weight 0 is not there.
    """
    weights = shares.astype(np.float32)
    if rules.robust in PLAIN:
        centre = np.zeros_like(copies[..., 0, :])
    else:
        first = np.argmax(shares > 0, axis=-1)[..., None]
        one = np.take_along_axis(copies, first[..., None], axis=-2)[..., 0, :]
        others = np.where(np.arange(shares.shape[-1]) == first, np.float32(0), weights)
        centre = middle(one, copies, others, shares.shape[-1])
    gamma = np.ones(shares.shape[:-1])
    found, used = robust_mix(rules, centre, centre, copies, weights, gamma, rounds)
    return found, used.astype(np.float64)
