"""How long the codes of ``integers`` would be, for many vectors at once, without making them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import planes
from .grid import ALL_ZERO, GridVector, lowest_bits
from .integers import HEADER_BYTES, LEAST_FOR_PLANES
from .rice import BLOCK, NUMBERS_BYTES, SPARSE_BYTES, Naturals, zigzag

Sizes = NDArray[np.int64]


def encoded_sizes(v: GridVector) -> Sizes:
    """``len(integers.encode(row))`` for each row of ``v`` (n, P): int64 (n,)."""
    sizes = np.full(len(v), HEADER_BYTES, dtype=np.int64)
    shifts = lowest_bits(v)
    filled = np.flatnonzero(shifts < ALL_ZERO)
    values = v[filled] >> shifts[filled, None]
    codes = np.zeros(len(filled), dtype=np.int64)
    for start in range(0, v.shape[1], BLOCK):
        codes += _block_sizes(values[:, start : start + BLOCK])
    if v.shape[1] >= LEAST_FOR_PLANES:
        codes = np.minimum(codes, planes.sizes(values))
    sizes[filled] += codes
    return sizes


def _block_sizes(values: GridVector) -> Sizes:
    """The bytes of the rows of one block (n, B)."""
    sizes = np.ones(len(values), dtype=np.int64)  # the tag, which is all where nothing is
    width = values.shape[1]
    naturals = zigzag(values)
    counts = np.count_nonzero(naturals, axis=1)
    filled = np.flatnonzero(counts)
    if not len(filled):
        return sizes
    sizes[filled] += _numbers_sizes(_Rows(naturals[filled]))
    signs = (counts == width) & (naturals.max(axis=1, initial=0) <= 2)
    thin = np.flatnonzero((counts > 0) & ((2 * counts < width) | signs))
    if len(thin):
        rows = naturals[thin]
        row, place = np.nonzero(rows)
        starts = np.concatenate([[0], np.cumsum(counts[thin])[:-1]])
        gaps = np.diff(place, prepend=-1)
        gaps[starts] = place[starts] + 1
        gaps -= 1
        sparse = _numbers_sizes(_Lists(gaps.astype(np.uint32), starts, counts[thin]))
        sparse += _numbers_sizes(_Lists(rows[row, place] - np.uint32(1), starts, counts[thin]))
        sparse += 1 + SPARSE_BYTES
        sizes[thin] = np.minimum(sizes[thin], sparse)
    return sizes


class _Rows:
    """Lists of equal length: the rows of ``numbers`` (n, B)."""

    def __init__(self, numbers: Naturals) -> None:
        self._numbers = numbers
        self.counts = np.full(len(numbers), numbers.shape[1])

    def largest(self) -> Naturals:
        """The largest number (n,) of each."""
        largest: Naturals = self._numbers.max(axis=1)
        return largest

    def sums(self, k: Sizes | None = None) -> Sizes:
        """The sum (n,) of each, of all numbers over 2^k (n,)."""
        over = self._numbers if k is None else self._numbers >> k[:, None].astype(np.uint32)
        sums: Sizes = over.sum(axis=1, dtype=np.int64)
        return sums


class _Lists:
    """Lists of any length: list i begins at ``starts[i]``."""

    def __init__(self, numbers: Naturals, starts: Sizes, counts: Sizes) -> None:
        self._numbers = numbers
        self._starts = starts
        self.counts = counts

    def largest(self) -> Naturals:
        """See ``_Rows``."""
        return np.maximum.reduceat(self._numbers, self._starts)

    def sums(self, k: Sizes | None = None) -> Sizes:
        """See ``_Rows``."""
        over = self._numbers
        if k is not None:
            over = over >> np.repeat(k, self.counts).astype(np.uint32)
        return np.add.reduceat(over, self._starts, dtype=np.int64)


def _numbers_sizes(lists: _Rows | _Lists) -> Sizes:
    """The bytes (n,) of several lists of Golomb-Rice coded numbers."""
    counts = lists.counts
    limit = np.frexp(lists.largest().astype(np.float64))[1].astype(np.int64)
    best: Sizes = -(-counts * limit // 8)
    mean = lists.sums() // counts
    middle = np.frexp(mean.astype(np.float64))[1].astype(np.int64) - 1
    for k in (middle - 1, middle, middle + 1):
        unary = counts + lists.sums(np.maximum(k, 0))
        size = -(-unary // 8) + -(-counts * k // 8)
        best = np.where((k >= 0) & (k < limit), np.minimum(best, size), best)
    return NUMBERS_BYTES + best
