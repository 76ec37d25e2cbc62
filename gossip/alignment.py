"""Do the neighbours pull where the others pull? What a peer notes of each when it mixes.

A peer that publishes the opposite of what it learnt signs it properly, so no check of the wire can
refuse it; but its steps point away from those of everybody else, in the eyes of all who hear it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .grid import FloatVector

BLOCK = 1 << 14  # columns at once, so that steps stay in the processor's cache


def alignment(before: FloatVector, own: FloatVector, copies: FloatVector) -> NDArray[np.float64]:
    """The cosines (..., K) between each neighbour's step and the sum of all other steps.

    A step leads from ``before`` (..., P), the model that a peer had when the round began, to a
    public copy: its ``own`` (..., P) or one of ``copies`` (..., K, P). 0 where a step has no
    length. Each peer's cosines have the same bits whoever else there is.
    """
    steps_of = copies.shape[-2] + 1
    products = np.zeros((*before.shape[:-1], steps_of, steps_of))
    for start in range(0, before.shape[-1], BLOCK):
        block = slice(start, start + BLOCK)
        steps = np.concatenate([own[..., None, block], copies[..., block]], axis=-2)
        steps -= before[..., None, block]
        # of one array NumPy calls syrk, slow for few rows
        products += steps @ steps.copy().swapaxes(-1, -2)
    squares = np.diagonal(products, axis1=-2, axis2=-1)
    with_rest = products.sum(axis=-1) - squares
    total = products.reshape(*before.shape[:-1], -1).sum(axis=-1, keepdims=True)
    rest = total - 2 * with_rest - squares  # squared length of the sum of the others
    lengths = np.sqrt(np.maximum(squares, 0.0) * np.maximum(rest, 0.0))
    cosines = np.divide(with_rest, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    bounded: NDArray[np.float64] = np.clip(cosines[..., 1:], -1.0, 1.0)
    return bounded
