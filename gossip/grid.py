"""The fixed-point grid that public copies and deltas live on (design: the wire speaks integers).

A grid vector holds int32 counts of one unit, 2^-grid_bits. Integer addition is exact and
associative, so every honest follower of a peer holds the same bytes, whatever its machine and
whatever way the deltas came.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..crypto.digest import digest

GridVector = NDArray[np.int32]
FloatVector = NDArray[np.float32]

LARGEST = 2**31 - 1
SMALLEST = -(2**31)
ALL_ZERO = 32  # how many low bits are 0 where all are
_ADDED = 2**16  # coordinates that are added and tested at once


class GridOverflow(OverflowError):
    """A sum does not fit the int32 range of the grid."""


def to_grid(x: NDArray[np.floating], grid_bits: int) -> GridVector:
    """Round ``x`` (..., P) to the grid: half to even, saturating at the int32 range.

    Raises ValueError when a value is not a finite number: training diverged.
    """
    # float64 holds every int32 and every float32 multiple exactly, so only rint rounds
    scaled = np.ldexp(np.asarray(x, dtype=np.float64), grid_bits)
    if not np.isfinite(scaled).all():
        raise ValueError("a vector with NaN or infinite values has no place on the grid")
    np.rint(scaled, out=scaled)
    np.clip(scaled, SMALLEST, LARGEST, out=scaled)
    return scaled.astype(np.int32)


def from_grid(p: GridVector, grid_bits: int) -> FloatVector:
    """The float32 values (..., P) of grid units; exact for values below 2^24 units."""
    scaled: FloatVector = p.astype(np.float32)
    scaled *= np.float32(2.0**-grid_bits)  # a power of two, so it is exact
    return scaled


def add(p: GridVector, q: GridVector, out: GridVector | None = None) -> GridVector:
    """The exact sum p + q (..., P); raises GridOverflow rather than wrap around.

    It is put into ``out``, which may be ``q``, where that is given.
    """
    total: GridVector = np.empty_like(q) if out is None else out
    for at in range(0, q.shape[-1], _ADDED):  # what is tested stays in the processor's cache
        block = (..., slice(at, at + _ADDED))
        _add(p[block], q[block], total[block])
    return total


def _add(p: GridVector, q: GridVector, out: GridVector) -> None:
    if not q.size:
        return
    # the ends of both are known sooner than where each sum comes to lie
    highest = int(p.max()) + int(q.max())
    lowest = int(p.min()) + int(q.min())
    if lowest >= SMALLEST and highest <= LARGEST:
        np.add(p, q, out=out)
        return
    falls = q < 0
    np.add(p, q, out=out)
    if ((out < p) != falls).any():
        raise GridOverflow("the sum of a public copy and a delta leaves the grid's int32 range")


def difference(to: GridVector, start: GridVector) -> GridVector:
    """``to - start`` (..., P), saturating: added to ``start`` it never passes ``to``."""
    exact = to.astype(np.int64) - start
    saturated: GridVector = np.clip(exact, SMALLEST, LARGEST).astype(np.int32)
    return saturated


def lowest_bits(v: GridVector) -> NDArray[np.int32]:
    """How many low bits are 0 in all values of each row of ``v`` (..., P): int32 (...)."""
    present = np.bitwise_or.reduce(v, axis=-1)
    lowest = (present & -present).astype(np.int64) & 0xFFFFFFFF  # a power of two, or 0
    places = np.frexp(lowest.astype(np.float64))[1] - 1
    return np.where(present == 0, ALL_ZERO, places).astype(np.int32)


def state_hash(p: GridVector) -> bytes:
    """The 32-byte hash that names the public copy ``p`` (P,): over its little-endian bytes."""
    little = np.ascontiguousarray(p, dtype="<i4")
    return digest("state", little.data)
