"""A lossless code for int32 vectors: one delta, a sum of deltas or a whole public copy.

    size u32 | form u8 | code

    form 0 to 31     blocks of numbers, as ``rice`` has them
         32          all values are 0, and nothing follows
         64 to 95    planes of bytes, as ``planes`` has them

All values are multiples of 2^shift, which is taken out first: compression rounds to such steps.
The shift is the form, or the form less 64. The shorter of the two codes is taken; a short vector
has no planes, for what a Zstandard frame says about itself takes more than it saves there. Integers
are little-endian.

Two different codes may give the same vector; what is signed is the hash of the state.
"""

from __future__ import annotations

import struct

import numpy as np

from ..crypto.errors import Malformed, WrongShape
from . import planes, rice
from .grid import ALL_ZERO, GridVector
from .reader import Reader

_HEADER = struct.Struct("<IB")
HEADER_BYTES = _HEADER.size
_PLANES = 64
LEAST_FOR_PLANES = 1024  # values; 650 parameters of digits were never shorter as planes


def encode(v: GridVector) -> bytes:
    """The code of an int32 vector ``v`` (P,)."""
    if v.ndim != 1 or v.dtype != np.int32:
        raise ValueError(f"only a flat int32 vector has a code, not {v.dtype} {v.shape}")
    present = int(np.bitwise_or.reduce(v)) if v.size else 0
    if present == 0:
        return _HEADER.pack(v.size, ALL_ZERO)
    shift = (present & -present).bit_length() - 1
    if v.size >= LEAST_FOR_PLANES:
        code = planes.encode(v, shift)
        if len(code) < rice.encoded_size(v, shift):
            return _HEADER.pack(v.size, _PLANES + shift) + code
    return _HEADER.pack(v.size, shift) + rice.encode(v, shift)


def decode(data: bytes | bytearray | memoryview, size: int) -> GridVector:
    """The vector (size,) that ``data`` is a code of.

    Takes 4 * size bytes and a fixed amount of scratch memory, whatever ``data`` says. Raises
    WrongShape when it is the code of a vector of another size, and Malformed when it is no code.
    """
    reader = Reader(data)
    coded_size, form = reader.unpack(_HEADER)
    if coded_size != size:
        raise WrongShape(f"a vector of {coded_size} values where {size} are expected")
    if form == ALL_ZERO:
        reader.finish()
        return np.zeros(size, dtype=np.int32)
    v: GridVector = np.empty(size, dtype=np.int32)
    if form < ALL_ZERO:
        rice.decode(reader, v, form)
    elif _PLANES <= form < _PLANES + ALL_ZERO:
        planes.decode(reader, v, form - _PLANES)
    else:
        raise Malformed(f"a vector of unknown form {form}")
    reader.finish()
    return v
