"""A short linear image of a model, from which distances of models can be told.

The count sketch of Charikar, Chen and Farach-Colton (2002): each coordinate is added, with a
random sign, to one of ``size`` numbers. It is linear, and the squared length of a sketch is an
unbiased estimate of the squared length of the vector, with relative standard deviation at most
sqrt(2 / size) (Weinberger et al. 2009). Peers that use one seed can so measure their consensus
distance from their event logs, 64 numbers instead of all parameters.

Signs are drawn for each coordinate, places for each class of coordinates that are a multiple of
``CLASSES`` apart: a large model is then folded in long rows, several times faster. A prime, so no
row or column of a layer lies in few classes, which alone would make the estimate worse.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..crypto.digest import stream
from .grid import FloatVector

CLASSES = 4093
_PLACES = 6


def sketch(x: FloatVector, seed: int | bytes, size: int = 64) -> FloatVector:
    """The sketch (..., size) of ``x`` (..., P); equal seeds and P give comparable sketches."""
    number = int.from_bytes(seed, "little") if isinstance(seed, bytes) else seed
    places, signs = _plan(number, x.shape[-1], size)
    rows = x.reshape(-1, x.shape[-1])
    sums = [np.bincount(places, weights=_folded(signs, row), minlength=size) for row in rows]
    return np.array(sums, dtype=np.float32).reshape(*x.shape[:-1], size)


def noted(x: FloatVector, seed: int | bytes) -> tuple[float, ...]:
    """The sketch of one model ``x`` (P,) as an event log tells it: to the unit of a usual grid."""
    return tuple(sketch(x, seed).astype(np.float64).round(_PLACES).tolist())


def _folded(signs: FloatVector, row: FloatVector) -> FloatVector:
    """The sum of ``signs * row`` over each class of coordinates, added in their order."""
    whole, rest = divmod(len(row), CLASSES)
    if not whole:
        return signs * row
    rows = signs[: -rest or None], row[: -rest or None]
    sums: FloatVector = np.einsum("ij,ij->j", *(each.reshape(whole, CLASSES) for each in rows))
    sums[:rest] += signs[len(row) - rest :] * row[len(row) - rest :]
    return sums


@lru_cache(maxsize=4)
def _plan(seed: int, parameters: int, size: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    # NumPy's own generators would do, but take 6 MB of a board that needs them for nothing else
    number = seed.to_bytes((seed.bit_length() + 7) // 8, "little")
    raw = np.frombuffer(stream("sketch", number, 8 * parameters), dtype="<u8")
    signs = np.where(raw >> np.uint64(63), np.float32(-1), np.float32(1))
    return (raw[:CLASSES] % np.uint64(size)).astype(np.intp), signs
