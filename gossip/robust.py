"""Mixing that a few lying neighbours cannot steer: what to make of the differences p_j - p_i.

Plain gossip adds sum_j w_ij (p_j - p_i), so one neighbour moves a peer as far as it likes. Each
rule here bounds that, knowing only ``b``, how many of a peer's neighbours may lie:

- ``clipped-gossip`` (He, Karimireddy, Jaggi 2022) shortens each difference to a radius tau_i that
  tunes itself: from the differences that remain when the farthest b neighbours are left out.
- ``clipped-sum`` is CS+-RG (Gaucher, Dieuleveut, Hendrikx 2025): every difference is shortened to
  the (2b+1)-th largest distance.
- ``nearest`` (nearest-neighbour averaging, Farhadkhani et al. 2023) leaves the b farthest out; what
  they weighed goes to those who stay, as far as it can without a step beyond 1.
- ``trimmed-mean`` and ``median`` (Yin et al. 2018) look at each coordinate for itself, the peer's
  own value among the others'. They take no weights.
- ``balance`` (Fang et al. 2024) hears whom it finds within a radius that shrinks as rounds go by.

All take vectors with free leading axes: one peer's or those of a whole network, to the same bits.
Distances are sums of squares in float64. A neighbour of weight 0 is not there.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .grid import FloatVector
from .mixing import mix
from .rules import Rules

Distances = NDArray[np.float64]
PLAIN = ("none",)
BY_COORDINATE = ("trimmed-mean", "median")
RELATIVE = ("balance",)  # to the length of a peer's own copy

# BALANCE: the radius is BALANCE_WIDE * exp(-BALANCE_NARROWS * share of the rounds done) * |p_i|.
BALANCE_WIDE = 0.3
BALANCE_NARROWS = 1.0


def robust_mix(
    rules: Rules,
    base: FloatVector,
    own: FloatVector,
    copies: FloatVector,
    weights: NDArray[np.float32],
    gamma: ArrayLike,
    rounds: ArrayLike,
) -> tuple[FloatVector, NDArray[np.float32]]:
    """``mixing.mix`` by the network's robust rule, and the weights (..., K) that it came to.

    Shapes are those of ``mix``; ``rounds`` (...) are the rounds. The rules that take no weights
    leave them as they are.
    """
    if rules.robust in BY_COORDINATE:
        pull = middle_pull(rules, own, copies, weights)
        pull *= np.asarray(gamma, dtype=np.float32)[..., None]
        pull += base
        return pull, weights
    trusted = trusted_weights(rules, own, copies, weights, rounds)
    return mix(base, own, copies, trusted, gamma), trusted


def trusted_weights(
    rules: Rules,
    own: FloatVector,
    copies: FloatVector,
    weights: NDArray[np.float32],
    rounds: ArrayLike,
) -> NDArray[np.float32]:
    """The weights (..., K) that are left when each difference is judged by its length."""
    if rules.robust in PLAIN or not weights.shape[-1]:
        return weights
    # one at a time to spare memory
    apart = [distance(copies[..., k, :], own) for k in range(weights.shape[-1])]
    length = distance(own, np.float32(0)) if rules.robust in RELATIVE else np.float64(0)
    return judged_weights(rules, np.stack(apart, axis=-1), length, weights, rounds)


def distance(one: FloatVector, other: FloatVector | np.float32) -> Distances:
    """|one - other| (...) of vectors (..., P): the same bits the other way round."""
    apart = (one - other).astype(np.float64)
    apart *= apart
    found: Distances = np.sqrt(apart.sum(axis=-1))
    return found


def judged_weights(
    rules: Rules,
    apart: Distances,
    length: Distances | np.float64,
    weights: NDArray[np.float32],
    rounds: ArrayLike,
) -> NDArray[np.float32]:
    """``trusted_weights`` for distances ``apart`` (..., K) that are known, of any rule that goes by
    them. ``length`` (...) is that of a peer's own copy; only rules in RELATIVE ask for it.
    """
    apart = np.where(weights > 0, apart, 0.0)
    match rules.robust:
        case "clipped-gossip":
            return weights * _shorten(apart, _tuned_radius(apart, weights, rules.byzantine))
        case "clipped-sum":
            return weights * _shorten(apart, _ranked_radius(apart, weights, rules.byzantine))
        case "nearest":
            return _without_farthest(apart, weights, rules.byzantine)
        case "balance":
            progress = (np.asarray(rounds, dtype=np.float64) - 1) / rules.rounds
            return _accepted(apart, length, weights, progress)
        case other:
            raise ValueError(f"'{other}' does not go by distances")


def middle_pull(
    rules: Rules, own: FloatVector, copies: FloatVector, weights: NDArray[np.float32]
) -> FloatVector:
    """What leads from ``own`` (..., P) to the middle of each coordinate, among those of weight > 0.

    ``copies`` (..., K, P), ``weights`` (..., K).
    """
    count = rules.byzantine if rules.robust == "trimmed-mean" else weights.shape[-1]
    pull = middle(own, copies, weights, count)
    pull -= own
    return pull


def _shorten(apart: Distances, radius: Distances) -> NDArray[np.float32]:
    """What makes each of the distances (..., K) at most the radius (..., 1)."""
    return (np.minimum(apart, radius) / np.where(apart > 0, apart, 1.0)).astype(np.float32)


def _without_farthest(apart: Distances, w: NDArray[np.float32], b: int) -> NDArray[np.float32]:
    """The weights with those of the ``b`` farthest neighbours shared out among the nearer ones."""
    kept = w * ~_farthest(apart, w, b)
    total, left = _sum(w), _sum(kept)
    return kept * (total / np.where(left > 0, left, 1.0)).astype(np.float32)


def _sum(values: NDArray[np.floating]) -> Distances:
    """The sums (..., 1) over neighbours, added one after the other: who is not there is 0 and
    changes no bit, while NumPy's own sum pairs eight or more by their places.
    """
    total: Distances = np.add.accumulate(values, axis=-1, dtype=np.float64)[..., -1:]
    return total


def _farthest(apart: Distances, w: NDArray[np.float32], b: int) -> NDArray[np.bool_]:
    """Which of the neighbours (..., K) are the ``b`` farthest; of equals those that come later."""
    present = np.where(w > 0, apart, -1.0)
    # from the farthest on; kind "stable" on the reversed row puts the later of equals first
    order = np.argsort(-present[..., ::-1], axis=-1, kind="stable")
    rank = np.argsort(order, axis=-1, kind="stable")[..., ::-1]
    return (rank < b) & (w > 0)


def _tuned_radius(apart: Distances, w: NDArray[np.float32], b: int) -> Distances:
    """tau_i of ClippedGossip: sqrt(sum of w_j |p_j - p_i|^2 over the near ones / delta), (..., 1).

    delta is the weight of those left out. Without b there is nobody to be afraid of.
    """
    far = _farthest(apart, w, b)
    doubted = _sum(np.where(far, w, np.float32(0)))
    near = _sum(np.where(far, 0.0, w * np.square(apart)))
    radius = np.sqrt(near / np.where(doubted > 0, doubted, 1.0))
    return np.where(doubted > 0, radius, np.inf)


def _ranked_radius(apart: Distances, w: NDArray[np.float32], b: int) -> Distances:
    """The (2b+1)-th largest distance (..., 1); 0 where there are no more than 2b neighbours."""
    ranked = -np.sort(np.where(w > 0, -apart, 0.0), axis=-1)
    if 2 * b >= ranked.shape[-1]:
        return np.zeros_like(apart[..., :1])
    return ranked[..., 2 * b, None] if b else np.full_like(apart[..., :1], np.inf)


def _accepted(
    apart: Distances,
    length: Distances | np.float64,
    w: NDArray[np.float32],
    progress: NDArray[np.float64],
) -> NDArray[np.float32]:
    """The weights of those near enough; the others' share returns to the peer itself."""
    radius = BALANCE_WIDE * np.exp(-BALANCE_NARROWS * progress) * length
    return np.where(apart <= radius[..., None], w, np.float32(0))


def middle(own: FloatVector, copies: FloatVector, w: NDArray[np.float32], b: int) -> FloatVector:
    """Each coordinate's mean without its ``b`` lowest and highest values; the median at the most.

    The values of all who are there and the peer's own are brought into order by a sorting network:
    the same few vector operations for every coordinate.
    """
    there = (w > 0)[..., None]
    # who is not there stands at the upper end, where the mean does not reach
    rows = [own.astype(np.float32)]
    rows += [
        np.where(there[..., k, :], copies[..., k, :], np.float32(np.inf))
        for k in range(w.shape[-1])
    ]
    spare = np.empty_like(rows[0])
    for low, high in _comparisons(len(rows)):
        smaller = np.minimum(rows[low], rows[high], out=spare)
        np.maximum(rows[low], rows[high], out=rows[high])
        rows[low], spare = smaller, rows[low]
    count = 1 + there.sum(axis=-2)  # (..., 1)
    cut = np.minimum(b, (count - 1) // 2)
    total = np.zeros_like(rows[0])
    for position, row in enumerate(rows):
        counted = (position >= cut) & (position < count - cut)
        total += np.where(counted, row, np.float32(0))
    mean: FloatVector = total / (count - 2 * cut).astype(np.float32)
    return mean


def _comparisons(n: int) -> Iterator[tuple[int, int]]:
    """Which pairs of ``n`` places to compare, and exchange if need be, until all are in order.

    Batcher's merge exchange (Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M).
    """
    first = 1 << max(0, (n - 1).bit_length() - 1)
    p = first if n > 1 else 0
    while p:
        q, r, apart = first, 0, p
        while True:
            yield from ((low, low + apart) for low in range(n - apart) if low & p == r)
            if q == p:
                break
            apart, q, r = q - p, q // 2, p
        p //= 2
