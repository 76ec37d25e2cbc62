"""A lossless code for int32 vectors: one delta, a sum of deltas or a whole public copy.

    header   size u32 | shift u8
    block    tag u8 | ...                one for each 16384 coordinates; none when shift is 32
      ZERO     nothing follows
      DENSE    numbers of the zigzagged values
      SPARSE   count u16 | numbers of the gaps | numbers of the zigzagged values - 1
    numbers  k u8 | length u16 | unary bytes | remainders

All values are multiples of 2^shift, which is taken out first: compression rounds to such steps.
Numbers are Golomb-Rice coded (Rice 1979): each is split into quotient and remainder of 2^k; the
quotients lie together in unary (q zeros and a one), the remainders together with k bits each.
Without unary bytes all quotients are 0. The better k and the better form are found for each
block, so flat, peaked and sparse blocks all come close to their entropy, and a random one
costs 32 bits a coordinate and a few bytes. Integers are little-endian, bits lowest first.

Two different codes may give the same vector; what is signed is the hash of the state.
"""

from __future__ import annotations

import struct
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..crypto.errors import Malformed, WrongShape
from .grid import ALL_ZERO, GridVector

BLOCK = 16384

_HEADER = struct.Struct("<IB")
_NUMBERS = struct.Struct("<BH")
_COUNT = struct.Struct("<H")
HEADER_BYTES, NUMBERS_BYTES, SPARSE_BYTES = _HEADER.size, _NUMBERS.size, _COUNT.size
_ZERO, _DENSE, _SPARSE = 0, 1, 2

Naturals = NDArray[np.uint32]


def encode(v: GridVector) -> bytes:
    """The code of an int32 vector ``v`` (P,)."""
    if v.ndim != 1 or v.dtype != np.int32:
        raise ValueError(f"only a flat int32 vector has a code, not {v.dtype} {v.shape}")
    present = int(np.bitwise_or.reduce(v)) if v.size else 0
    if present == 0:
        return _HEADER.pack(v.size, ALL_ZERO)
    shift = (present & -present).bit_length() - 1
    starts = range(0, v.size, BLOCK)
    blocks = (_encode_block(v[start : start + BLOCK] >> shift) for start in starts)
    return _HEADER.pack(v.size, shift) + b"".join(blocks)


def decode(data: bytes | bytearray | memoryview, size: int) -> GridVector:
    """The vector (size,) that ``data`` is a code of.

    Takes 4 * size bytes and a fixed amount of scratch memory, whatever ``data`` says. Raises
    WrongShape when it is the code of a vector of another size, and Malformed when it is no code.
    """
    reader = Reader(data)
    coded_size, shift = reader.unpack(_HEADER)
    if coded_size != size:
        raise WrongShape(f"a vector of {coded_size} values where {size} are expected")
    if shift > ALL_ZERO:
        raise Malformed(f"a shift by {shift} bits")
    v: GridVector = np.empty(size, dtype=np.int32)
    for start in range(0, size, BLOCK):
        block = v[start : start + BLOCK]  # zigzagged values take the room of the values
        if shift == ALL_ZERO:
            block.fill(0)
        elif _decode_block(reader, block.view(np.uint32), (1 << (32 - shift)) - 1):
            _unzigzag(block, shift)
    reader.finish()
    return v


def _encode_block(values: GridVector) -> bytes:
    places = np.flatnonzero(values)
    if not len(places):
        return bytes([_ZERO])
    naturals = _zigzag(values)
    best = bytes([_DENSE]) + _encode_numbers(naturals)
    is_full = len(places) == len(values)  # then a zero needs no number
    if 2 * len(places) < len(values) or (is_full and naturals.max() <= 2):
        gaps = np.diff(places, prepend=-1).astype(np.uint32) - np.uint32(1)
        sparse = (
            bytes([_SPARSE])
            + _COUNT.pack(len(places))
            + _encode_numbers(gaps)
            + _encode_numbers(naturals[places] - np.uint32(1))
        )
        best = min(best, sparse, key=len)
    return best


def _decode_block(reader: Reader, out: Naturals, largest: int) -> bool:
    """Fill ``out`` with the zigzagged values of a block, each at most ``largest``.

    Whether there is anything but zeros.
    """
    tag = reader.take(1)[0]
    if tag == _DENSE:
        _decode_numbers(reader, out, largest)
    elif tag == _SPARSE:
        (count,) = reader.unpack(_COUNT)
        if count > len(out):
            raise Malformed(f"{count} values in a block of {len(out)}")
        numbers: Naturals = np.zeros(count, dtype=np.uint32)
        _decode_numbers(reader, numbers, 2**32)
        places = np.cumsum(numbers + np.int64(1)) - 1
        if count and places[-1] >= len(out):
            raise Malformed("a value beyond the end of its block")
        _decode_numbers(reader, numbers, largest - 1)
        out.fill(0)
        out[places] = numbers + np.uint32(1)
    elif tag == _ZERO:
        out.fill(0)
    else:
        raise Malformed(f"a block of unknown form {tag}")
    return tag != _ZERO


def _encode_numbers(numbers: Naturals) -> bytes:
    k, is_flat = _best_split(numbers)
    unary = b""
    if not is_flat:
        ends = np.cumsum((numbers >> k) + np.uint32(1), dtype=np.int64) - 1
        bits = np.zeros(int(ends[-1]) + 1, dtype=np.uint8)
        bits[ends] = 1
        unary = np.packbits(bits, bitorder="little").tobytes()
    octets = np.ascontiguousarray(numbers, dtype="<u4").view(np.uint8)
    # no axis: along one of 4 bytes NumPy begins anew for each number
    remainders = np.unpackbits(octets, bitorder="little").reshape(-1, 32)[:, :k]
    packed = np.packbits(remainders, bitorder="little").tobytes()
    return _NUMBERS.pack(k, len(unary)) + unary + packed


def _best_split(numbers: Naturals) -> tuple[int, bool]:
    """The k that costs the fewest bits, and whether all quotients are then 0 and left out."""
    best, is_flat = int(numbers.max()).bit_length(), True
    cost = len(numbers) * best
    # The best k is near the logarithm of the mean; there the quotients sum to at most 4 a number.
    middle = int(numbers.mean()).bit_length() - 1
    for k in range(max(0, middle - 1), min(best, middle + 2)):
        bits = len(numbers) * (k + 1) + int((numbers >> k).sum(dtype=np.int64))
        if bits < cost:
            best, is_flat, cost = k, False, bits
    return best, is_flat


def _decode_numbers(reader: Reader, out: Naturals, largest: int) -> None:
    """Fill ``out`` with numbers, each from 0 to ``largest``, and below 2^32."""
    k, length = reader.unpack(_NUMBERS)
    if k > 32:
        raise Malformed(f"remainders of {k} bits")
    quotients, highest = None, 0  # no quotient is higher: only where it could be, all are looked at
    if length:
        unary = np.frombuffer(reader.take(length), dtype=np.uint8)
        (ends,) = np.unpackbits(unary, bitorder="little").view(np.bool_).nonzero()
        if len(ends) != len(out):
            raise Malformed(f"{len(ends)} quotients where {len(out)} are expected")
        quotients = _gaps(ends.astype(np.uint32))
        highest = 8 * length - len(out)  # so many zeros are there
    _remainders(reader.take((len(out) * k + 7) // 8), k, out)
    if quotients is not None:
        if highest >> (32 - k) and int(quotients.max(initial=0)) >> (32 - k):
            raise Malformed("a number of more than 32 bits")
        quotients <<= np.uint32(k % 32)  # where k is 32, all are 0
        out |= quotients
    if (highest + 1) << k > largest and int(out.max(initial=0)) > largest:
        raise Malformed("a value outside the int32 range")


def _remainders(packed: memoryview, k: int, out: Naturals) -> None:
    """Fill ``out`` with numbers of ``k`` bits, 0 to 32, that lie in ``packed`` without gaps."""
    padded = np.zeros(len(packed) + 8, dtype=np.uint8)
    padded[: len(packed)] = packed
    # the bytes from each byte on hold any number that begins in that byte
    width = 4 if k <= 25 else 8
    windows = np.ndarray(len(packed) + 1, dtype=f"<u{width}", buffer=padded, strides=(1,))
    octet, bit = _first_bits(k, width)
    numbers = windows.take(octet[: len(out)])
    numbers >>= bit[: len(out)]
    np.bitwise_and(numbers, (1 << k) - 1, out=out, casting="same_kind")


@lru_cache(maxsize=4)  # 192 KiB each; the blocks of a vector have much the same k
def _first_bits(k: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.unsignedinteger]]:
    """In which octet and at which bit of it each number of a block begins."""
    first = np.arange(BLOCK, dtype=np.int64) * k
    return first >> 3, (first & 7).astype(f"<u{width}")


def _gaps(ends: Naturals) -> Naturals:
    """How many places lie between each of the rising ``ends`` and the one before."""
    gaps = np.empty_like(ends)
    gaps[:1] = ends[:1]
    np.subtract(ends[1:], ends[:-1], out=gaps[1:])
    gaps[1:] -= np.uint32(1)
    return gaps


def _zigzag(values: GridVector) -> Naturals:
    """0, -1, 1, -2, ... as 0, 1, 2, 3, ...: small values of either sign are small numbers."""
    naturals: Naturals = ((values << 1) ^ (values >> 31)).view(np.uint32)
    return naturals


def _unzigzag(v: GridVector, shift: int) -> None:
    """Turn zigzagged values into what they stand for, times 2^shift, where they are."""
    signs = v & np.int32(1)
    np.negative(signs, out=signs)
    naturals = v.view(np.uint32)
    naturals >>= np.uint32(1)
    v ^= signs
    v <<= np.int32(shift)


class Reader:
    """Takes bytes off the front; raises Malformed at the end of them. ``rest`` are those left."""

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self.rest = memoryview(data).cast("B")

    def take(self, count: int) -> memoryview:
        """The next ``count`` bytes."""
        if count > len(self.rest):
            raise Malformed(f"the code of a vector ends {count - len(self.rest)} bytes early")
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def unpack(self, form: struct.Struct) -> tuple[int, ...]:
        """The next values, of that form."""
        return form.unpack(self.take(form.size))

    def finish(self) -> None:
        """Raises Malformed when bytes are left."""
        if len(self.rest):
            raise Malformed(f"{len(self.rest)} bytes follow the code of a vector")
