"""One step of gossip averaging: x_i = b_i + gamma * sum_j w_ij (p_j - p_i).

p are public copies, b_i is the base that ``base_of`` chooses. *restart* (b_i = p_i, gamma = 1)
goes on from what was published; without noise and compression it is decentralized SGD (Lian et
al. 2017). *feedback* (b_i = z_i, gamma from the share of the delta that was captured) keeps what
compression dropped and sends it later, as CHOCO-gossip does (Koloskova, Stich, Jaggi 2019); a
fixed gamma would diverge under strong compression.

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

from .compression import SPARSE
from .grid import FloatVector
from .rules import Rules

Form = Literal["restart", "feedback"]


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
    pull *= np.asarray(gamma, dtype=np.float32)[..., None]
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


def form_of(form: Form, vector: int) -> Form:
    """The form that one of the vectors of a release is mixed by, 0 being the model.

    What gradient tracking sums up beside the model must add up to the same over all peers, so
    nothing of it may be dropped: it is always mixed with feedback.
    """
    return form if vector == 0 else "feedback"


def is_own_copy(form: Form, vectors: int) -> bool:
    """Whether the base of a release of so many vectors is the public copy itself, and not z."""
    return form == "restart" and vectors == 1


def base_of(form: Form, own_copy: FloatVector, z: FloatVector) -> FloatVector:
    """What the neighbours' pull is added to, each vector by its form, (..., V, P): its public copy
    or what was to be published, z.
    """
    if is_own_copy(form, z.shape[-2]):
        return own_copy
    forms = (form_of(form, vector) for vector in range(z.shape[-2]))
    restarts = np.array([each == "restart" for each in forms])[:, None]
    return np.where(restarts, own_copy, z) if restarts.any() else z


def gamma_of(rules: Rules, captured: ArrayLike) -> NDArray[np.float64]:
    """The step sizes (..., V) that are stable with the forms, from the captured shares (..., V).

    The share s itself, but for two kinds of models. Where few coordinates are sent, the copies lag
    behind in all others, and momentum makes the pull on these several times as strong: with s a
    run seems to do well and is lost hundreds of rounds later. s^1.5 was stable from a share of a
    quarter on, and s / 8 below an eighth, with 8 s^3 between (decision 8). And what factors of low
    rank leave is ever harder to say: s^2, and for what is tracked, which must not lag, s / 2.
    """
    share = np.asarray(captured, dtype=np.float64)
    is_model = np.arange(share.shape[-1]) == 0
    if rules.compression == "low-rank":
        share = np.where(is_model, np.square(share), share / 2)
    elif rules.compression.startswith(SPARSE) and rules.has_momentum:
        # products, for the bits of powers may differ between one share and many
        part = np.minimum(np.sqrt(share), np.maximum(8 * share * share, 1 / 8))
        share = np.where(is_model, share * part, share)
    forms = (form_of(rules.mixing, vector) for vector in range(share.shape[-1]))
    restarts = np.array([each == "restart" for each in forms])
    return np.where(restarts, 1.0, share)


def consensus_distance(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """How far N models ``x`` (..., N, P) are from agreement: sqrt(mean_i |x_i - mean|^2)."""
    exact = x.astype(np.float64)
    apart = np.square(exact - exact.mean(axis=-2, keepdims=True)).sum(axis=-1)
    distance: NDArray[np.float64] = np.sqrt(apart.mean(axis=-1))
    return distance
