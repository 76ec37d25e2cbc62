"""One step of gossip averaging: x_i = b_i + gamma * sum_j w_ij (p_j - p_i).

p are public copies, b_i is the base that ``base_of`` chooses. *restart* (b_i = p_i, gamma = 1)
goes on from what was published; without noise and compression it is decentralized SGD (Lian et
al. 2017). *feedback* (b_i = z_i, gamma = the share of the delta that was captured) keeps what
compression dropped and sends it later, as CHOCO-gossip does (Koloskova, Stich, Jaggi 2019); a
fixed gamma would diverge under strong compression.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .grid import FloatVector

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
    (..., K), ``gamma`` (...) or one number. Neighbours are added in the order given, one after
    the other: equal order gives equal bits, for one peer and for a matrix of peers.
    """
    w = np.asarray(weights, dtype=np.float32)
    if copies.shape[:-1] != w.shape or copies.shape[-1:] != own_copy.shape[-1:]:
        raise ValueError(f"{w.shape} weights do not fit copies of shape {copies.shape}")
    pull = np.zeros_like(own_copy, dtype=np.float32)
    for k in range(w.shape[-1]):
        apart = copies[..., k, :] - own_copy
        apart *= w[..., k, None]
        pull += apart
    pull *= np.asarray(gamma, dtype=np.float32)[..., None]
    pull += base
    return pull


def base_of(form: Form, own_copy: FloatVector, z: FloatVector) -> FloatVector:
    """What the neighbours' pull is added to: the own public copy or the private release z."""
    return own_copy if form == "restart" else z


def gamma_of(form: Form, captured: ArrayLike) -> NDArray[np.float64]:
    """The step size (...) that is stable with the form, from the captured shares (...)."""
    share = np.asarray(captured, dtype=np.float64)
    return np.ones_like(share) if form == "restart" else share


def consensus_distance(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """How far N models ``x`` (..., N, P) are from agreement: sqrt(mean_i |x_i - mean|^2)."""
    exact = x.astype(np.float64)
    apart = np.square(exact - exact.mean(axis=-2, keepdims=True)).sum(axis=-1)
    distance: NDArray[np.float64] = np.sqrt(apart.mean(axis=-1))
    return distance
