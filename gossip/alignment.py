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
    """The cosines (K,) between each neighbour's step and the sum of all other steps.

    A step leads from ``before`` (P,), the model that this peer had when the round began, to a
    public copy: its ``own`` (P,) or one of ``copies`` (K, P). 0 where a step has no length.
    """
    products = np.zeros((len(copies) + 1, len(copies) + 1))
    for start in range(0, len(before), BLOCK):
        block = slice(start, start + BLOCK)
        steps = np.vstack([own[None, block], copies[:, block]])
        steps -= before[block]
        products += steps @ steps.copy().T  # of one array NumPy calls syrk, slow for few rows
    squares = np.diag(products)
    with_rest = products.sum(axis=1) - squares
    rest = products.sum() - 2 * with_rest - squares  # squared length of the sum of the others
    lengths = np.sqrt(np.maximum(squares, 0.0) * np.maximum(rest, 0.0))
    cosines = np.divide(with_rest, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    bounded: NDArray[np.float64] = np.clip(cosines[1:], -1.0, 1.0)
    return bounded
