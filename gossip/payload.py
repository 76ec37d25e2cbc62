"""What a payload holds: the code of a vector, or of the factors that it is the product of.

    factored   size u32 | 33 u8 | matrices u32 | (rows u32 | columns u32 | rank u8) each | code

The code is that of the factors as ``integers`` has it, and they lie as ``factors`` says. Anything
else is a code by ``integers``, whose fifth byte is never 33. A sum of deltas is a plain vector
again: factors are only what an author sends of one delta, and what others pass on.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from ..crypto.errors import Malformed, WrongShape
from . import encoded_size, integers
from .factors import (
    LEVELS,
    MOST_MATRICES,
    MOST_RANK,
    MOST_SHIFT,
    Layout,
    Matrix,
    factors_of,
    numbers_of,
    product,
    values_of,
)
from .grid import GridOverflow, GridVector
from .reader import Reader

_HEADER = struct.Struct("<IBI")
_MATRIX = struct.Struct("<IIB")
_FACTORED = 33


def encode(numbers: GridVector, layout: Layout | None) -> bytes:
    """The payload of the factors ``numbers`` (F,), or of a vector (P,) where there is no layout."""
    code = integers.encode(numbers)
    if layout is None:
        return code
    header = _HEADER.pack(values_of(layout), _FACTORED, len(layout))
    return b"".join([header, *(_MATRIX.pack(*matrix) for matrix in layout), code])


def encoded_sizes(numbers: GridVector, layout: Layout | None) -> NDArray[np.int64]:
    """``len(encode(row, layout))`` for each row of ``numbers`` (n, F): int64 (n,)."""
    sizes = encoded_size.encoded_sizes(numbers)
    if layout is not None:
        sizes += _HEADER.size + _MATRIX.size * len(layout)
    return sizes


def decode(data: bytes | bytearray | memoryview, size: int) -> GridVector:
    """The vector (size,) that a payload leads by.

    Takes 16 * size bytes, 64 multiplications a coordinate and a fixed amount of scratch memory at
    most, whatever ``data`` says. Raises WrongShape when it is that of a vector of another size, and
    Malformed when it is no payload.
    """
    if len(data) <= 4 or data[4] != _FACTORED:
        return integers.decode(data, size)
    reader = Reader(data)
    coded_size, _, matrices = reader.unpack(_HEADER)
    if coded_size != size:
        raise WrongShape(f"a vector of {coded_size} values where {size} are expected")
    if matrices > MOST_MATRICES:
        raise Malformed(f"{matrices} matrices")
    places = reader.take(_MATRIX.size * matrices)
    layout = tuple(Matrix(*fields) for fields in _MATRIX.iter_unpack(places))
    for matrix in layout:  # so there are at most three factors a value
        if not 1 <= matrix.rank <= min(MOST_RANK, matrix.rows, matrix.columns):
            raise Malformed(f"rank {matrix.rank} of a {matrix.rows} x {matrix.columns} matrix")
    if values_of(layout) != size:
        raise Malformed(f"matrices of {values_of(layout)} values in a vector of {size}")
    numbers = integers.decode(reader.rest, numbers_of(layout))
    for factors in factors_of(numbers, layout):
        if int(factors.exponents.min()) < 0 or int(factors.exponents.max()) > MOST_SHIFT:
            raise Malformed("a factor with an exponent outside 0..31")
        for levels in (factors.left, factors.right):
            if int(levels.min()) < -LEVELS or int(levels.max()) > LEVELS:
                raise Malformed(f"a factor with a level beyond {LEVELS}")
    try:
        return product(numbers, layout)
    except GridOverflow:
        raise Malformed("a product of factors outside the int32 range") from None
