"""One step of gossip averaging: x_i = b_i + gamma * sum_j w_ij (p_j - p_i).

p are public copies, b_i is the base that ``base_after`` makes. For models gamma is 1. *restart*
(b_i = p_i) goes on from what was published; without noise and compression it is decentralized SGD
(Lian et al. 2017). *feedback* goes on from what was published and what the peer has learnt and not
said yet, and says that later.

CHOCO-gossip (Koloskova, Stich, Jaggi 2019) keeps all that compression dropped, z_i - p_i, so the
pull of earlier rounds as well: a sum of answers to old copies, which grows while it cannot be said.
That is windup of an integrator, and what is done about it here is anti-windup (Astrom, Hagglund
1995, section 3.5): the pull is not added up. Nothing is lost by it, for the next pull says it anew,
from newer copies. So no gamma has to fit the compression. *choco* is the paper's form, to compare
with: b_i = z_i, and gamma is the share of the delta's squared norm that was captured.

What gradient tracking sums up beside the model must add up to the same over all peers: nothing of
it may be dropped, it always goes on from z_i, with the share that was captured for its gamma.

Where all of a peer's neighbours have one weight w, as in every regular graph, the pull is taken as
w (sum_j p_j - d p_i). The numbers of the grid are multiples of one unit, so below 2^24 units the
sums are exact: nothing is rounded but the last product, and a large network mixes in half the time.
d p_i is taken off in multiples by powers of two. Such a product is exact whatever the number, so
whether a processor adds it in the same step, as some do, shows in no bit.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .algorithms.base import Algorithm, Turn
from .grid import FloatVector, GridVector, from_grid
from .publishing import Step
from .rules import Rules

Form = Literal["restart", "feedback", "choco"]


def mix(
    base: FloatVector,
    own_copy: FloatVector,
    copies: FloatVector,
    weights: ArrayLike,
    gamma: ArrayLike = 1.0,
) -> FloatVector:
    """The mixed models (..., P), float32.

    ``base`` and ``own_copy`` (..., P), the neighbours' ``copies`` (..., K, P), their ``weights``
    (..., K), ``gamma`` (...) or one number.
    """
    pull = plain_pull(own_copy, copies, np.asarray(weights, dtype=np.float32))
    steps = np.asarray(gamma, dtype=np.float32)[..., None]
    if (steps != 1).any():
        pull *= steps
    pull += base
    return pull


def plain_pull(
    own_copy: FloatVector, copies: FloatVector, weights: NDArray[np.float32]
) -> FloatVector:
    """What neighbours add to a peer's own copy: sum_j w_ij (p_j - p_i), float32 (..., P).

    ``own_copy`` (..., P), ``copies`` (..., K, P), ``weights`` (..., K). Neighbours are added in the
    order given, one after the other: equal order gives equal bits, for one peer and for a matrix of
    peers. A neighbour of weight 0 is not there, whatever its copy holds.

    Raises ValueError when shapes do not fit.
    """
    w = weights
    if copies.shape[:-1] != w.shape or copies.shape[-1:] != own_copy.shape[-1:]:
        raise ValueError(f"{w.shape} weights do not fit copies of shape {copies.shape}")
    own = own_copy.astype(np.float32, copy=False)
    if w.size == w.shape[-1]:  # one peer: nothing to ask of arrays
        weight, *others = w.ravel().tolist() or [0.0]
        if weight > 0 and all(each == weight for each in others):
            return _of_one_weight(own, copies, w[..., :1])
    there = w != 0
    if not there.all():
        copies = np.where(there[..., None], copies, np.float32(0))
    largest = w.max(axis=-1, initial=0.0)[..., None]
    alike = (there <= (w == largest)).all(axis=-1)
    if alike.all():
        return _alike(own, copies, largest, there)
    if not alike.any():
        return _unlike(own, copies, w)
    return np.where(alike[..., None], _alike(own, copies, largest, there), _unlike(own, copies, w))


def _alike(
    own: FloatVector,
    copies: FloatVector,
    weight: NDArray[np.float32],
    there: NDArray[np.bool_],
) -> FloatVector:
    """The pull of neighbours of one ``weight`` (..., 1); who is not ``there`` (..., K) is zeros."""
    if not there.shape[-1]:
        return np.zeros_like(own)
    total = copies[..., 0, :].copy()
    for k in range(1, there.shape[-1]):
        total += copies[..., k, :]
    for power in np.moveaxis(powers_of_two(there.sum(axis=-1, dtype=np.int64)), -1, 0):
        if power.any():
            once = (power == 1).all()
            total -= own if once else power[..., None].astype(np.float32) * own
    total *= weight
    return total


def _of_one_weight(
    own: FloatVector, copies: FloatVector, weight: NDArray[np.float32]
) -> FloatVector:
    """``_alike`` where all neighbours are there."""
    count = copies.shape[-2]
    total: FloatVector = copies[..., 0, :].copy()
    for k in range(1, count):
        total += copies[..., k, :]
    for bit in range(count.bit_length()):
        power = count & (1 << bit)
        if power:
            total -= own if power == 1 else np.float32(power) * own
    total *= weight
    return total


def powers_of_two(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The powers of two that add up to each of the ``counts`` (...), from 1 up to the largest that
    one of them needs: (..., B), 0 where a count does without.
    """
    most = int(counts.max(initial=0)).bit_length()
    return counts[..., None] & (1 << np.arange(most))


def _unlike(own: FloatVector, copies: FloatVector, w: NDArray[np.float32]) -> FloatVector:
    """The pull of neighbours of different weights; of weight 0 and zeros where nobody is."""
    pull = np.zeros_like(own)
    for k in range(w.shape[-1]):
        apart = copies[..., k, :] - own
        apart *= w[..., k, None]
        pull += apart
    return pull


def is_own_copy(form: Form, vectors: int) -> bool:
    """Whether the base of a release of so many vectors is the public copy itself."""
    return form == "restart" and vectors == 1


def base_after(
    rules: Rules,
    rule: Algorithm,
    turn: Turn,
    last: FloatVector,
    copy: GridVector,
    step: Step,
) -> FloatVector:
    """What the neighbours' pull is added to after a ``step`` of the feed, (..., V, P).

    ``last`` (..., V, P) is that of the round before, ``copy`` (..., V, P) the public copy until the
    step.
    """
    published = from_grid(step.copy, rules.grid_bits)
    if is_own_copy(rules.mixing, step.z.shape[-2]):
        return published
    if rules.mixing == "choco":
        return step.z
    base = step.z.copy()
    base[..., 0, :] = published[..., 0, :]
    if rules.mixing == "feedback":
        news = last[..., 0, :] - from_grid(copy[..., 0, :], rules.grid_bits)
        news += rule.news(turn, step.z[..., 0, :])
        base[..., 0, :] += unsaid((step.z - published)[..., 0, :], news)
    return base


def unsaid(dropped: FloatVector, news: FloatVector) -> FloatVector:
    """What of the ``news`` (..., P) is in what compression ``dropped`` (..., P).

    In each coordinate no more than either, and nothing where they differ in sign.
    """
    least = np.copysign(np.minimum(np.abs(dropped), np.abs(news)), news)
    return np.where((dropped > 0) == (news > 0), least, np.float32(0))


def gamma_of(form: Form, captured: ArrayLike) -> NDArray[np.float64]:
    """The step sizes (..., V), from the ``captured`` shares (..., V) of the deltas' squared norms.

    For what goes on from z the share itself: the less was captured, the farther do the copies lag
    behind. Else 1.
    """
    gamma = np.array(captured, dtype=np.float64)
    if form != "choco":
        gamma[..., 0] = 1.0
    return gamma


def consensus_distance(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """How far N models ``x`` (..., N, P) are from agreement: sqrt(mean_i |x_i - mean|^2)."""
    exact = x.astype(np.float64)
    apart = np.square(exact - exact.mean(axis=-2, keepdims=True)).sum(axis=-1)
    distance: NDArray[np.float64] = np.sqrt(apart.mean(axis=-1))
    return distance
