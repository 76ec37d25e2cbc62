"""The pull of ``mixing.plain_pull`` for all peers of a simulation at once, block by block.

The copies of N peers are worked on in blocks of columns that fit a core's cache. Within a block
every coordinate sees the float32 operations of ``plain_pull`` in the same order, so the bits are
the same as those of N peers that mix by themselves, whatever the width of a block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .grid import FloatVector, GridVector
from .mixing import powers_of_two

NOBODY = -1  # in ``sources``: this place is empty
CACHE_LINE = 64  # bytes

Sources = NDArray[np.int64]
RowSums = Callable[[], FloatVector]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """Whom M peers hear, and how much each counts; made by :func:`hearing`.

    Their own rows are the first M of R public copies. ``sources`` (M, K + B) are the rows of those
    whom they hear, R where a place is empty, and then their own. Of these all the ``factors``
    (M, K + B) are added up: 1 for who is heard, and what takes off a peer's own copy as often as
    it hears somebody. ``weight`` (M, 1) is that of peers whose neighbours all weigh the same, or
    a single number where all peers have the same; ``unlike`` are the numbers 0..M-1 of the others,
    and ``weights`` (U, K) what theirs weigh.
    """

    sources: Sources
    factors: FloatVector
    weight: FloatVector | np.float32
    unlike: NDArray[np.int64]
    weights: FloatVector

    @property
    def neighbours(self) -> Sources:
        """The rows (M, K) of those whom they hear."""
        return self.sources[:, : self.weights.shape[1]]


def hearing(sources: Sources, weights: FloatVector, copies: int) -> Hearing:
    """Prepare the first M peers of R = ``copies``; each hears the rows ``sources`` (M, K).

    ``weights`` (M, K) float32; a place that holds NOBODY, or weighs 0, is empty.
    """
    there = (sources != NOBODY) & (weights != 0)
    w = np.where(there, weights, np.float32(0))
    largest = w.max(axis=1, initial=0.0)[:, None].astype(np.float32)
    unlike = np.flatnonzero((there & (w != largest)).any(axis=1))
    off = -powers_of_two(there.sum(axis=1, dtype=np.int64))
    own = np.repeat(np.arange(len(w))[:, None], off.shape[1], axis=1)
    alike = len(w) and (largest == largest[0]).all()
    return Hearing(
        sources=np.hstack([np.where(there, sources, copies), own]),
        factors=np.hstack([np.ones_like(w), off]).astype(np.float32),
        # a product with one number is twice as fast
        weight=np.float32(largest[0, 0]) if alike else largest,
        unlike=unlike,
        weights=w[unlike],
    )


class Block:
    """Some columns of R public copies, for M peers that mix; theirs are the first M.

    ``rows`` (R + 1, W) are the ``copies`` (R, W) and a row of zeros. The block is filled again and
    again, so that it stays in the processor's cache, and it begins with a line of that, so that no
    row touches one more than it must.
    """

    def __init__(self, copies: int, peers: int, width: int) -> None:
        self.rows = _aligned_zeros(copies + 1, width)
        self.copies = self.rows[:copies]
        self.own = self.rows[:peers]

    def fill(self, public: GridVector, grid_bits: int) -> None:
        """Put some columns of all public copies, int32 (R, W), into it, with the values of
        ``grid.from_grid``.
        """
        np.copyto(self.copies, public, casting="unsafe")
        self.copies *= np.float32(2.0**-grid_bits)

    def pull(self, heard: Hearing, sums: RowSums) -> FloatVector:
        """The pull (M, W) on each peer, in the columns that it was filled with.

        ``sums`` adds up what is heard: ``row_sums(self.rows, heard)``, or what does the same.
        """
        pull = sums()
        pull *= heard.weight
        if len(heard.unlike):
            pull[heard.unlike] = self._unlike_pull(heard)
        return pull

    def _unlike_pull(self, heard: Hearing) -> FloatVector:
        """The pull (U, W) on those whose neighbours weigh different amounts."""
        mine, sources = self.own[heard.unlike], heard.neighbours[heard.unlike]
        total = np.zeros_like(mine)
        for k in range(heard.weights.shape[1]):
            apart = self.rows[sources[:, k]]
            apart -= mine
            apart *= heard.weights[:, k, None]
            total += apart
        return total


def row_sums(rows: FloatVector, heard: Hearing) -> RowSums:
    """What adds up the ``rows`` (R, W) that each peer hears, as they are when it is called, in
    their order and times their factors: (M, W), beginning with 0.
    """

    def sums() -> FloatVector:
        total = np.zeros((len(heard.sources), rows.shape[1]), dtype=np.float32)
        row = np.empty_like(total)
        for sources, factors in zip(heard.sources.T, heard.factors.T, strict=True):
            # mode="clip" lets NumPy write into `out` without a buffer; no index is out of range
            np.take(rows, sources, axis=0, out=row, mode="clip")
            row *= factors[:, None]
            total += row
        return total

    return sums


def _aligned_zeros(rows: int, width: int) -> FloatVector:
    """Zeros (rows, width) that begin with a cache line."""
    size = rows * width
    spare = CACHE_LINE // np.dtype(np.float32).itemsize
    memory = np.zeros(size + spare, dtype=np.float32)
    begin = -memory.ctypes.data % CACHE_LINE // memory.itemsize
    return memory[begin : begin + size].reshape(rows, width)
