"""Fewer bits a delta: quantization and sparsification of grid vectors.

A compressed delta is a grid vector again, a row of few levels times one step. Steps are powers
of two, for two reasons: the codec (``integers``) takes them out of a vector for nothing, and a
sum of deltas is a vector on the finest of their steps, so that catching up with a sum stays
cheap.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .grid import LARGEST, GridVector

Rule = Literal["none", "int8", "int4", "sign", "top-k", "top-k-int8", "random-k", "random-k-int8"]
Compression = Literal[Rule, "low-rank"]  # the latter makes factors: low_rank.py

_LEVELS = {"int8": 127, "int4": 7, "top-k-int8": 127, "random-k-int8": 127}
_MIXER = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio, as in SplitMix64 (Steele et al. 2014)


def compress(delta: GridVector, rule: Rule, keep: float = 1.0, rounds: ArrayLike = 0) -> GridVector:
    """The compressed form, in grid units, of ``delta`` (..., P); each row for itself.

    ``int8`` and ``int4`` leave levels from -127 to 127 and -7 to 7 times the power of two that
    loses the least of the squared norm, values beyond the last level cut to it. ``sign`` leaves a
    bit a coordinate: one power of two, up or down (Bernstein et al. 2018, with a scale). ``top-k``
    keeps the ``ceil(keep * P)`` coordinates that are largest in magnitude, the first of equals.
    ``random-k`` keeps as many in a row, wherever the round has them begin (around the end, the
    first follows the last): so no place has to be sent, every coordinate's turn comes, and all
    who are in one round publish the same ones. With ``-int8`` the values that are kept are rounded
    as ``int8`` does.

    ``rounds`` (...) are those of the rows.
    """
    if rule == "none" or delta.shape[-1] == 0:
        return delta
    if rule == "sign":
        return _signs(delta)
    if rule.startswith("top-k"):
        delta = _largest(delta, math.ceil(keep * delta.shape[-1]))
    elif rule.startswith("random-k"):
        delta = _in_a_row(delta, math.ceil(keep * delta.shape[-1]), rounds)
    levels = _LEVELS.get(rule)
    return delta if levels is None else quantized(delta, levels)


def captured(delta: GridVector, q: GridVector) -> NDArray[np.float64]:
    """The share (...) from 0 to 1 of the squared norm of ``delta`` (..., P) that ``q`` carries.

    1 - |delta - q|^2 / |delta|^2, and 1 for a delta of zeros.
    """
    exact = delta.astype(np.float64)
    norm = np.square(exact).sum(axis=-1)
    lost = np.square(exact - q).sum(axis=-1)
    share: NDArray[np.float64] = 1.0 - lost / np.where(norm > 0, norm, 1.0)
    return np.clip(share, 0.0, 1.0)


def _largest(delta: GridVector, count: int) -> GridVector:
    """``delta`` with all but the ``count`` largest magnitudes of each row set to 0."""
    size = delta.shape[-1]
    magnitude = np.abs(delta.astype(np.int64))  # int32 has no magnitude for its smallest value
    limit = np.partition(magnitude, size - count, axis=-1)[..., size - count, None]
    kept = magnitude > limit
    equal = magnitude == limit
    room = count - kept.sum(axis=-1, keepdims=True)
    kept |= equal & (np.cumsum(equal, axis=-1) <= room)
    return np.where(kept, delta, np.int32(0))


def _in_a_row(delta: GridVector, count: int, rounds: ArrayLike) -> GridVector:
    """``delta`` with all but ``count`` coordinates in a row set to 0, by the rows' ``rounds``."""
    size = delta.shape[-1]
    with np.errstate(over="ignore"):  # the product is meant modulo 2^64
        mixed = np.asarray(rounds, dtype=np.uint64) * np.uint64(_MIXER)
        mixed ^= mixed >> np.uint64(29)
        mixed *= np.uint64(_MIXER)
    begins = ((mixed >> np.uint64(32)) % np.uint64(size)).astype(np.int64)
    behind = (np.arange(size) - begins[..., None]) % size
    return np.where(behind < count, delta, np.int32(0))


def _signs(delta: GridVector) -> GridVector:
    """Each coordinate as plus or minus one power of two, that which loses the least of its row.

    The best step is the mean magnitude; of the powers of two around it, one loses less. A
    coordinate of 0 goes up, but stays in a row so near to zeros that this would lose more.
    """
    magnitude = np.abs(delta.astype(np.float64))
    mean = magnitude.mean(axis=-1, keepdims=True)
    below = np.maximum(np.frexp(mean)[1] - 1, 0)
    # |delta - s sign|^2 = |delta|^2 - 2 s sum |delta| + P s^2: 2 s serves where 3 s < 2 mean
    exponent = np.where(3 * np.ldexp(1.0, below) < 2 * mean, below + 1, below)
    step = np.minimum(np.ldexp(1.0, exponent), 2.0**30)
    signs: GridVector = np.where(delta < 0, -step, step).astype(np.int32)
    return np.where((delta == 0) & (step >= 2 * mean), np.int32(0), signs)


def quantized(delta: NDArray[np.integer | np.floating], levels: int) -> GridVector:
    """Each row on the power-of-two step that loses the least, in at most ``levels`` either way.

    ``delta`` (..., P) lies in the int32 range.
    """
    exact = delta.astype(np.float64)  # products and quotients by powers of two are exact in it
    peak = np.abs(exact).max(axis=-1, keepdims=True)
    # frexp: peak / levels = fraction * 2^exponent with fraction < 1, so 2^exponent reaches it
    coarsest = np.maximum(np.frexp(peak / levels)[1], 0)
    best = np.zeros_like(exact)
    least = np.full(peak.shape, np.inf)
    better = np.full(peak.shape, True)
    # Heavy tails are better cut than followed: try finer steps as long as a row gains by it.
    for finer in range(int(coarsest.max()) + 1):
        candidate = _rounded(exact, np.maximum(coarsest - finer, 0), levels)
        lost = np.square(exact - candidate).sum(axis=-1, keepdims=True)
        better &= lost < least
        if not better.any():
            break
        best = np.where(better, candidate, best)
        least = np.where(better, lost, least)
    found: GridVector = best.astype(np.int32)
    return found


def _rounded(
    exact: NDArray[np.float64], exponent: NDArray[np.int32], levels: int
) -> NDArray[np.float64]:
    step = np.ldexp(1.0, exponent)
    last = np.minimum(levels, LARGEST // step)  # what comes out fits int32
    rounded: NDArray[np.float64] = np.clip(np.rint(exact / step), -last, last) * step
    return rounded
