"""Few factors that carry most of a delta: the matrices of its layers are near to low rank.

After PowerSGD (Vogels, Karimireddy, Jaggi 2019), without its memory of the round before: a few
steps of subspace iteration find the directions that carry the most. They are then taken one after
the other, each rounded to a few levels, and what rounding lost is left for those that follow
(ATOMO, Wang et al. 2018, sends such atoms too). So every factor lessens what is lost.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .compression import quantized
from .factors import LEVELS, Layout, factors_of, matrices_of, numbers_of, values_of
from .grid import ALL_ZERO, GridVector, lowest_bits

_STEPS = 3  # of subspace iteration; with fewer, less is captured, with more no more
_FARTHEST = 2.0**29  # half of what a parameter may come to: so no sum with a public copy overflows

Matrices = NDArray[np.float64]


def factored(delta: GridVector, layout: Layout) -> GridVector:
    """The factors (..., F), as ``factors.product`` takes them, of ``delta`` (..., P) or near it.

    Each row for itself: equal rows give equal bits, whatever stands beside them. Raises ValueError
    when the layout is that of another size.
    """
    if values_of(layout) != delta.shape[-1]:
        raise ValueError(f"matrices of {values_of(layout)} values for {delta.shape[-1]} parameters")
    numbers = np.zeros((*delta.shape[:-1], numbers_of(layout)), dtype=np.int32)
    parts = zip(layout, factors_of(numbers, layout), matrices_of(delta, layout), strict=True)
    for matrix, (exponents, left, right), part in parts:
        if matrix.columns == 1:
            rounded = quantized(part[..., 0], LEVELS)
            exponents[..., 0] = lowest_bits(rounded) % ALL_ZERO
            left[..., 0, :] = rounded >> exponents[..., :1]
            right[...] = 1
            continue
        rest = np.array(part, dtype=np.float64, order="C").clip(-_FARTHEST, _FARTHEST)
        for r, direction in enumerate(np.moveaxis(_dominant(rest, matrix.rank), -2, 0)):
            u = _levels(direction, rest)
            v = quantized(_matching(u, rest), LEVELS)
            after = rest - u[..., :, None] * v[..., None, :]
            fits = np.abs(after).max(axis=(-1, -2)) <= _FARTHEST
            rest = np.where(fits[..., None, None], after, rest)
            v = np.where(fits[..., None], v, np.int32(0))
            exponents[..., r] = lowest_bits(v) % ALL_ZERO
            left[..., r, :] = u
            right[..., r, :] = v >> exponents[..., r, None]
    return numbers


def _dominant(a: Matrices, rank: int) -> Matrices:
    """Orthonormal rows (..., rank, rows) that most of ``a`` (..., rows, columns) lies in."""
    across = a.swapaxes(-1, -2)
    left = _orthonormal(_anything(rank, a.shape[-1]) @ across)
    for _ in range(_STEPS - 1):
        left = _orthonormal((left @ a) @ across)
    return left


@lru_cache(maxsize=64)
def _anything(rank: int, columns: int) -> Matrices:
    """Where the iteration starts, (rank, columns): the same in every round and for everybody."""
    return np.random.Generator(np.random.PCG64(columns)).standard_normal((rank, columns))


def _orthonormal(rows: Matrices) -> Matrices:
    """The ``rows`` (..., R, n) made orthonormal, in place: Gram-Schmidt, twice is enough."""
    for r in range(rows.shape[-2]):
        row = rows[..., r, :]
        for before in [*range(r), *range(r)]:
            other = rows[..., before, :]
            row -= (row * other).sum(axis=-1, keepdims=True) * other
        norm = np.sqrt(np.square(row).sum(axis=-1, keepdims=True))
        row /= np.where(norm > 0, norm, 1.0)
    return rows


def _levels(direction: Matrices, rest: Matrices) -> Matrices:
    """``direction`` (..., rows) in whole numbers.

    Small deltas get fewer levels: their product with those of the other factor can be no finer
    than the grid.
    """
    most = np.sqrt(np.abs(rest).max(axis=(-1, -2)))[..., None]
    most = np.clip(np.floor(most), 1, LEVELS)
    peak = np.abs(direction).max(axis=-1, keepdims=True)
    levels: Matrices = np.rint(direction * (most / np.where(peak > 0, peak, 1.0)))
    return levels


def _matching(u: Matrices, rest: Matrices) -> Matrices:
    """The v (..., columns) for which u v^T is nearest to ``rest`` (..., rows, columns)."""
    norm = np.square(u).sum(axis=-1, keepdims=True)
    pulled = (u[..., None, :] @ rest)[..., 0, :] / np.where(norm > 0, norm, 1.0)
    matching: Matrices = np.clip(pulled, -2 * _FARTHEST, 2 * _FARTHEST)
    return matching
