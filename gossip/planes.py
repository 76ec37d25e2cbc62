"""Integers as planes of bytes, each coded by Zstandard (RFC 8878).

    code     count u8 | length u32 and that many bytes, for each plane

A value is the sum of its digits times powers of 256, each digit from -128 to 127; where four do
not reach it, modulo 2^32. All lowest digits together are the first plane. Small values of either
sign have zeros in all planes but that one, and there Huffman's code comes close to the entropy of
whatever distribution it is, peaked or with heavy tails. It takes a third of the time of Golomb and
Rice's (``rice``), which is better for values that mostly are 0 or 1 in magnitude, and for few.

A plane is a Zstandard frame with a window of 128 KiB, so what a frame makes the reader keep is
bounded. The encoder looks for matches of seven bytes and more with a small table: what really
repeats is found, and what only looks like it, as among few different digits, costs no bits.
"""

from __future__ import annotations

import struct
import sys
from collections import deque
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ..crypto.errors import Malformed
from .grid import GridVector
from .reader import Reader

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_COUNT = struct.Struct("<B")
_LENGTH = struct.Struct("<I")
_MOST_PLANES = 4
_WINDOW_LOG = 17
AT_ONCE = 2**_WINDOW_LOG  # values, so that a usual model is one piece
_COMPRESSION: dict[int, int] = {
    zstd.CompressionParameter.window_log: _WINDOW_LOG,
    zstd.CompressionParameter.hash_log: 10,
    zstd.CompressionParameter.chain_log: 6,
    zstd.CompressionParameter.min_match: 7,
    zstd.CompressionParameter.strategy: zstd.Strategy.fast,
}
_DECOMPRESSION: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
# what one digit reaches, what two do, ...
_LIMITS = [sum(256**n for n in range(count)) for count in range(1, _MOST_PLANES + 1)]


# To make a compressor takes longer than a small vector, so they are used again, by one thread at a
# time each. A decompressor is good for one frame, and made in the time that a small one is read in:
# some are kept ready, made where a vector is encoded, for then nobody waits for news.
_idle: deque[zstd.ZstdCompressor] = deque(maxlen=8)
_ready: deque[zstd.ZstdDecompressor] = deque(maxlen=_MOST_PLANES)


def _frames(planes: Iterable[NDArray[np.int8]]) -> list[bytes]:
    try:
        compressor = _idle.pop()
    except IndexError:
        compressor = zstd.ZstdCompressor(options=_COMPRESSION)
    frames = [compressor.compress(plane.data, compressor.FLUSH_FRAME) for plane in planes]
    _idle.append(compressor)
    return frames


def _decompressor() -> zstd.ZstdDecompressor:
    try:
        return _ready.pop()
    except IndexError:
        return zstd.ZstdDecompressor(options=_DECOMPRESSION)


def encode(v: GridVector, shift: int) -> bytes:
    """The code of ``v`` (P,) over 2^shift, which divides all its values."""
    lowest, highest = int(v.min()) >> shift, int(v.max()) >> shift
    planes = np.empty((_planes_for(lowest, highest), v.size), dtype=np.int8)
    for start in range(0, v.size, AT_ONCE):
        rest = v[start : start + AT_ONCE] >> shift
        for plane in planes:
            digits = plane[start : start + AT_ONCE]
            _take_digits(rest, digits)
    frames = _frames(planes)
    while len(_ready) < len(frames):
        _ready.append(zstd.ZstdDecompressor(options=_DECOMPRESSION))
    parts = [_COUNT.pack(len(frames))]
    for frame in frames:
        parts += (_LENGTH.pack(len(frame)), frame)
    return b"".join(parts)


def sizes(values: GridVector) -> NDArray[np.int64]:
    """``len(encode(row, 0))`` for each row of ``values`` (n, P), none of them empty: int64 (n,)."""
    if not values.size:
        return np.zeros(len(values), dtype=np.int64)
    ends = zip(values.min(axis=1).tolist(), values.max(axis=1).tolist(), strict=True)
    counts = np.array([_planes_for(*each) for each in ends], dtype=np.int64)
    found = _COUNT.size + _LENGTH.size * counts
    rest = values.copy()
    digits = np.empty(values.shape, dtype=np.int8)
    for place in range(int(counts.max(initial=0))):
        _take_digits(rest, digits)
        rows = np.flatnonzero(counts > place)
        found[rows] += [len(frame) for frame in _frames(digits[rows])]
    return found


def decode(reader: Reader, out: GridVector, shift: int) -> None:
    """Fill ``out`` (P,) with the values of a code, times 2^shift.

    Raises Malformed when there is no code of so many values in the int32 range.
    """
    (count,) = reader.unpack(_COUNT)
    if not 1 <= count <= _MOST_PLANES:
        raise Malformed(f"{count} planes of bytes")
    planes = [_Plane(reader.take(*reader.unpack(_LENGTH))) for _ in range(count)]
    planes.reverse()
    may_overflow = 8 * count + shift >= 32
    for start in range(0, out.size, AT_ONCE):
        values = out[start : start + AT_ONCE]
        values[:] = planes[0].take(values.size)
        for plane in planes[1:]:
            values <<= 8
            values += plane.take(values.size)
        if may_overflow and ((values << shift) >> shift != values).any():
            raise Malformed("a value outside the int32 range")
        if shift:
            values <<= shift
    for plane in planes:
        plane.finish()


def _planes_for(lowest: int, highest: int) -> int:
    """How many digits the values between the two need."""
    fits = (highest <= 127 * limit and lowest >= -128 * limit for limit in _LIMITS)
    return next((count for count, does in enumerate(fits, 1) if does), _MOST_PLANES)


def _take_digits(rest: GridVector, out: NDArray[np.int8]) -> None:
    """Put the lowest digits of ``rest`` (...) into ``out`` and take them off."""
    np.copyto(out, rest, casting="unsafe")  # the low byte, as a number with a sign
    rest -= out
    rest >>= 8


class _Plane:
    """The digits of a frame, in the order of the values."""

    def __init__(self, frame: memoryview) -> None:
        self._unread: memoryview | bytes = frame
        self._zstd = _decompressor()

    def take(self, count: int) -> NDArray[np.int8]:
        """The next ``count`` digits (count,)."""
        digits = self._read(count)
        while len(digits) < count:
            more = self._read(count - len(digits))
            if not more:
                raise Malformed(f"a plane of bytes ends {count - len(digits)} values early")
            digits += more
        return np.frombuffer(digits, dtype=np.int8)

    def finish(self) -> None:
        """Raises Malformed when digits are left, or anything behind the frame."""
        if self._read(1) or not self._zstd.eof or self._zstd.unused_data:
            raise Malformed("more follows the values of a plane of bytes")

    def _read(self, most: int) -> bytes:
        if self._zstd.eof:
            return b""
        unread, self._unread = self._unread, b""
        try:
            return self._zstd.decompress(unread, max_length=most)
        except zstd.ZstdError as error:
            raise Malformed(f"a plane of bytes is no Zstandard frame: {error}") from None
