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

NOBODY = -1  # in ``sources``: this place is empty

Sources = NDArray[np.int64]
RowSums = Callable[[FloatVector], FloatVector]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """Whom M peers hear, and how much each counts; made by :func:`hearing`.

    Their own rows are the first M of R public copies. ``sources`` (M, K + 1) are the rows of those
    whom they hear, R where a place is empty, and last the row R + 1 + i of a peer's own copy with
    the sign turned, times its ``count`` of neighbours. ``weight`` (M, 1) and ``count`` (M, 1) are
    those of peers whose neighbours all weigh the same, or single numbers where all peers have the
    same; ``unlike`` are the numbers 0..M-1 of the others, and ``weights`` (U, K) what theirs weigh.
    """

    sources: Sources
    weight: FloatVector | np.float32
    count: FloatVector | np.float32
    unlike: NDArray[np.int64]
    weights: FloatVector


def hearing(sources: Sources, weights: FloatVector, copies: int) -> Hearing:
    """Prepare the first M peers of R = ``copies``; each hears the rows ``sources`` (M, K).

    ``weights`` (M, K) float32; a place that holds NOBODY, or weighs 0, is empty.
    """
    there = (sources != NOBODY) & (weights != 0)
    w = np.where(there, weights, np.float32(0))
    largest = w.max(axis=1, initial=0.0)[:, None].astype(np.float32)
    unlike = np.flatnonzero((there & (w != largest)).any(axis=1))
    count = there.sum(axis=1, keepdims=True).astype(np.float32)
    alike = len(w) and (largest == largest[0]).all() and (count == count[0]).all()
    back = np.arange(copies + 1, copies + 1 + len(w))
    return Hearing(
        sources=np.column_stack([np.where(there, sources, copies), back]),
        # a product with one number is twice as fast
        weight=np.float32(largest[0, 0]) if alike else largest,
        count=np.float32(count[0, 0]) if alike else count,
        unlike=unlike,
        weights=w[unlike],
    )


def row_sums(sources: Sources) -> RowSums:
    """What makes of a block (R, P) the sums (M, P) of the rows that ``sources`` (M, K) names, added
    in their order.
    """

    def sums(block: FloatVector) -> FloatVector:
        total = np.zeros((len(sources), block.shape[1]), dtype=np.float32)
        row = np.empty_like(total)
        for k in range(sources.shape[1]):
            # mode="clip" lets NumPy write into `out` without a buffer; no index is out of range
            np.take(block, sources[:, k], axis=0, out=row, mode="clip")
            total += row
        return total

    return sums


def empty_block(copies: int, peers: int, width: int) -> FloatVector:
    """A block (R + 1 + M, width) of R = ``copies`` for M = ``peers`` that mix.

    One is filled again and again: it stays in the processor's cache.
    """
    return np.zeros((copies + 1 + peers, width), dtype=np.float32)


def fill(block: FloatVector, public: GridVector, grid_bits: int) -> None:
    """Put some columns of R public copies, int32 (R, width), into the first R rows of a block, with
    the values of ``grid.from_grid``. A row of zeros stands behind them.
    """
    copies = block[: len(public)]
    np.copyto(copies, public, casting="unsafe")
    copies *= np.float32(2.0**-grid_bits)


def block_pull(block: FloatVector, heard: Hearing, sums: RowSums) -> FloatVector:
    """The pull (M, width) on each peer, in the columns that ``block`` was filled with.

    ``sums`` adds up what is heard: ``row_sums(heard.sources)``, or what does the same.
    """
    own = block[: len(heard.sources)]
    np.multiply(own, -heard.count, out=block[len(block) - len(own) :])
    pull = sums(block)
    pull *= heard.weight
    if len(heard.unlike):
        mine, sources = own[heard.unlike], heard.sources[heard.unlike]
        total = np.zeros_like(mine)
        for k in range(heard.weights.shape[1]):
            apart = block[sources[:, k]]
            apart -= mine
            apart *= heard.weights[:, k, None]
            total += apart
        pull[heard.unlike] = total
    return pull
