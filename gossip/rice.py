"""Integers in blocks of Golomb-Rice coded numbers (Rice 1979).

    block    tag u8 | ...                one for each 16384 coordinates
      ZERO     nothing follows
      DENSE    numbers of the zigzagged values
      SPARSE   count u16 | numbers of the gaps | numbers of the zigzagged values - 1
    numbers  k u8 | length u16 | unary bytes | remainders

Each number is split into quotient and remainder of 2^k; the quotients lie together in unary (q
zeros and a one), the remainders together with k bits each. Without unary bytes all quotients are
0. The better k and the better form are found for each block, so flat and sparse blocks come close
to their entropy, and a random one costs 32 bits a coordinate and a few bytes. Bits lowest first.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..crypto.errors import Malformed
from .grid import GridVector
from .reader import Reader

BLOCK = 16384

_NUMBERS = struct.Struct("<BH")
_COUNT = struct.Struct("<H")
NUMBERS_BYTES, SPARSE_BYTES = _NUMBERS.size, _COUNT.size
_ZERO, _DENSE, _SPARSE = 0, 1, 2

Naturals = NDArray[np.uint32]


class _Numbers(NamedTuple):
    """Numbers, and how to split them; ``unary_bits`` are 0 where all quotients are."""

    numbers: Naturals
    k: int
    unary_bits: int

    @property
    def size_bytes(self) -> int:
        return NUMBERS_BYTES + -(-self.unary_bits // 8) + -(-len(self.numbers) * self.k // 8)


class _Form(NamedTuple):
    """A form of one block; of the sparse one the lists are the gaps and the values."""

    tag: int
    lists: tuple[_Numbers, ...] = ()

    @property
    def size_bytes(self) -> int:
        count_bytes = SPARSE_BYTES if self.tag == _SPARSE else 0
        return 1 + count_bytes + sum(each.size_bytes for each in self.lists)


def encode(v: GridVector, shift: int) -> bytes:
    """The code of ``v`` (P,) over 2^shift, which divides all its values."""
    return b"".join(_coded(_best_form(block >> shift)) for block in _blocks(v))


def encoded_size(v: GridVector, shift: int) -> int:
    """``len(encode(v, shift))``, in less time."""
    return sum(_best_form(block >> shift).size_bytes for block in _blocks(v))


def decode(reader: Reader, out: GridVector, shift: int) -> None:
    """Fill ``out`` (P,) with the values of a code, times 2^shift.

    Raises Malformed when there is no code of so many values in the int32 range.
    """
    for block in _blocks(out):  # zigzagged values take the room of the values
        if _decode_block(reader, block.view(np.uint32), (1 << (32 - shift)) - 1):
            _unzigzag(block, shift)


def _blocks(v: GridVector) -> list[GridVector]:
    return [v[start : start + BLOCK] for start in range(0, v.size, BLOCK)]


def _best_form(values: GridVector) -> _Form:
    places = np.flatnonzero(values)
    if not len(places):
        return _Form(_ZERO)
    naturals = zigzag(values)
    best = _Form(_DENSE, (_split(naturals),))
    is_full = len(places) == len(values)  # then a zero needs no number
    if 2 * len(places) < len(values) or (is_full and naturals.max() <= 2):
        gaps = np.diff(places, prepend=-1).astype(np.uint32) - np.uint32(1)
        sparse = _Form(_SPARSE, (_split(gaps), _split(naturals[places] - np.uint32(1))))
        best = min(best, sparse, key=lambda form: form.size_bytes)
    return best


def _coded(form: _Form) -> bytes:
    parts = [bytes([form.tag])]
    if form.tag == _SPARSE:
        parts.append(_COUNT.pack(len(form.lists[0].numbers)))
    parts += map(_encode_numbers, form.lists)
    return b"".join(parts)


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


def _encode_numbers(split: _Numbers) -> bytes:
    numbers, k, unary_bits = split
    unary = b""
    if unary_bits:
        ends = np.cumsum((numbers >> k) + np.uint32(1), dtype=np.int64) - 1
        bits = np.zeros(unary_bits, dtype=np.uint8)
        bits[ends] = 1
        unary = np.packbits(bits, bitorder="little").tobytes()
    octets = np.ascontiguousarray(numbers, dtype="<u4").view(np.uint8)
    # no axis: along one of 4 bytes NumPy begins anew for each number
    remainders = np.unpackbits(octets, bitorder="little").reshape(-1, 32)[:, :k]
    packed = np.packbits(remainders, bitorder="little").tobytes()
    return _NUMBERS.pack(k, len(unary)) + unary + packed


def _split(numbers: Naturals) -> _Numbers:
    """The k that costs the fewest bytes."""
    best = _Numbers(numbers, int(numbers.max()).bit_length(), 0)
    # The best k is near the logarithm of the mean; there the quotients sum to at most 4 a number.
    middle = int(numbers.mean()).bit_length() - 1
    for k in range(max(0, middle - 1), min(best.k, middle + 2)):
        unary_bits = len(numbers) + int((numbers >> k).sum(dtype=np.int64))
        best = min(best, _Numbers(numbers, k, unary_bits), key=lambda split: split.size_bytes)
    return best


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


def zigzag(values: GridVector) -> Naturals:
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
