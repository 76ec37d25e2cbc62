"""The mixing step of ``mixing.mix`` for all N peers of a simulation at once, in place.

The N x P arrays are worked on in blocks of columns that fit a core's cache. Within a block every
coordinate sees the float32 operations of ``mix`` in the same order, so the bits are the same as
those of N peers that mix by themselves, whatever the block size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .grid import FloatVector

BLOCK_BYTES = 2 * 1024 * 1024


def padded_neighbours(
    neighbours: Sequence[Sequence[int]], weights: Sequence[Sequence[float]]
) -> tuple[NDArray[np.intp], FloatVector]:
    """Neighbours and weights of N peers as (N, K) arrays, K the largest degree.

    A peer with fewer neighbours is its own neighbour of weight 0, which adds nothing: not even
    to the bits, for a pull that begins at +0 never becomes -0.
    """
    k = max((len(row) for row in neighbours), default=0)
    index = np.repeat(np.arange(len(neighbours), dtype=np.intp)[:, None], k, axis=1)
    w = np.zeros((len(neighbours), k), dtype=np.float32)
    for i, (row, row_weights) in enumerate(zip(neighbours, weights, strict=True)):
        if len(row) != len(row_weights):
            raise ValueError(f"peer {i} has {len(row)} neighbours and {len(row_weights)} weights")
        index[i, : len(row)] = row
        w[i, : len(row)] = row_weights
    return index, w


def mix_in_place(
    base: FloatVector,
    copies: FloatVector,
    neighbours: NDArray[np.intp],
    weights: FloatVector,
    gamma: ArrayLike = 1.0,
    block_bytes: int = BLOCK_BYTES,
) -> None:
    """Write the mixed models into ``base`` (N, P); it may be ``copies`` itself.

    ``copies`` (N, P) are the public copies, all finite; ``neighbours`` and ``weights`` (N, K) come
    from ``padded_neighbours``; ``gamma`` is (N,) or one number. ``base`` and ``copies`` must be the
    same array or share no memory.
    """
    if base.shape != copies.shape or neighbours.shape != weights.shape:
        raise ValueError(f"{base.shape}, {copies.shape}: not N models and their N public copies")
    n, p = copies.shape
    w = weights.astype(np.float32, copy=False)
    step = np.broadcast_to(np.asarray(gamma, dtype=np.float32), (n,))[:, None]
    width = max(1, block_bytes // (4 * max(n, 1)))
    for begin in range(0, p, width):
        block = slice(begin, min(begin + width, p))
        own = np.ascontiguousarray(copies[:, block])
        pull = np.zeros_like(own)
        apart = np.empty_like(own)
        for k in range(w.shape[1]):
            # mode="clip" lets NumPy write into `out` without a buffer; no index is out of range
            np.take(own, neighbours[:, k], axis=0, out=apart, mode="clip")
            apart -= own
            apart *= w[:, k, None]
            pull += apart
        pull *= step
        pull += base[:, block]
        base[:, block] = pull
