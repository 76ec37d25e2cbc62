"""The pull of ``mixing.plain_pull`` for all peers of a simulation at once, block by block.

The copies of N peers are worked on in blocks of columns that fit a core's cache. Within a block
every coordinate sees the float32 operations of ``plain_pull`` in the same order, so the bits are
the same as those of N peers that mix by themselves, whatever the width of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .grid import FloatVector, GridVector

NOBODY = -1  # in ``sources``: this place is empty

Sources = NDArray[np.int64]
RowSums = Callable[[FloatVector, Sources], FloatVector]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """Whom M peers hear, and how much each counts; made by :func:`hearing`.

    Their own rows are the first M of R public copies. ``sources`` (M, K) are the rows of those whom
    they hear, R where a place is empty. ``weight`` (M, 1) and ``count`` (M, 1) are those of peers
    whose neighbours all weigh the same; ``unlike`` are the numbers 0..M-1 of the others, and
    ``weights`` (U, K) what theirs weigh. Where all peers
    have the same, ``weight`` and ``count`` are single numbers (1, 1).
    """

    sources: Sources
    weight: FloatVector
    count: FloatVector
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
    if len(w) and (largest == largest[0]).all() and (count == count[0]).all():
        largest, count = largest[:1], count[:1]  # a product with one number is twice as fast
    return Hearing(
        sources=np.where(there, sources, copies),
        weight=largest,
        count=count,
        unlike=unlike,
        weights=w[unlike],
    )


def padded(
    neighbours: Sequence[Sequence[int]], weights: Sequence[Sequence[float]]
) -> tuple[Sources, FloatVector]:
    """Neighbours and weights of N peers as (N, K) arrays, K the largest degree."""
    k = max((len(row) for row in neighbours), default=0)
    sources = np.full((len(neighbours), k), NOBODY, dtype=np.int64)
    w = np.zeros((len(neighbours), k), dtype=np.float32)
    for i, (row, row_weights) in enumerate(zip(neighbours, weights, strict=True)):
        if len(row) != len(row_weights):
            raise ValueError(f"peer {i} has {len(row)} neighbours and {len(row_weights)} weights")
        sources[i, : len(row)] = row
        w[i, : len(row)] = row_weights
    return sources, w


def row_sums(copies: FloatVector, sources: Sources) -> FloatVector:
    """The sums (M, P) of the rows of ``copies`` (R, P) that ``sources`` (M, K) names, in order."""
    total = np.zeros((len(sources), copies.shape[1]), dtype=np.float32)
    row = np.empty_like(total)
    for k in range(sources.shape[1]):
        # mode="clip" lets NumPy write into `out` without a buffer; no index is out of range
        np.take(copies, sources[:, k], axis=0, out=row, mode="clip")
        total += row
    return total


def block_of(public: GridVector, grid_bits: int) -> FloatVector:
    """Some columns of R public copies, int32 (R, width), as float32 (R + 1, width).

    The values are those of ``grid.from_grid``; the row behind the last is zeros.
    """
    block = np.empty((len(public) + 1, public.shape[1]), dtype=np.float32)
    np.copyto(block[:-1], public, casting="unsafe")
    block[-1] = 0
    block *= np.float32(2.0**-grid_bits)
    return block


def block_pull(block: FloatVector, heard: Hearing, sums: RowSums = row_sums) -> FloatVector:
    """The pull (M, width) on each peer, in the columns that ``block`` (R + 1, width) holds.

    ``sums`` is what adds rows up, as ``row_sums`` does.
    """
    own = block[: len(heard.sources)]
    pull = sums(block, heard.sources)
    pull -= heard.count * own
    pull *= heard.weight
    if len(heard.unlike):
        mine, sources = own[heard.unlike], heard.sources[heard.unlike]
        total = np.zeros_like(mine)
        for k in range(sources.shape[1]):
            apart = block[sources[:, k]]
            apart -= mine
            apart *= heard.weights[:, k, None]
            total += apart
        pull[heard.unlike] = total
    return pull
