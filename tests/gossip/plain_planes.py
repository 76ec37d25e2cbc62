"""Planes of bytes, written and read as the docstring of ``gossip.planes`` has them."""

from __future__ import annotations

import struct
import sys

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def read_planes(code: bytes, size: int) -> list[int]:
    """The values of a code, digit by digit."""
    values, at = [0] * size, 1
    for place in range(code[0]):
        (length,) = struct.unpack_from("<I", code, at)
        digits = zstd.decompress(code[at + 4 : at + 4 + length])
        assert len(digits) == size
        at += 4 + length
        values = [
            value + (digit - 256 * (digit > 127)) * 256**place
            for value, digit in zip(values, digits, strict=True)
        ]
    assert at == len(code)
    return [(value + 2**31) % 2**32 - 2**31 for value in values]


def write_planes(*frames: bytes) -> bytes:
    """A code of these frames, whatever they hold."""
    lengths = (struct.pack("<I", len(frame)) + frame for frame in frames)
    return bytes([len(frames)]) + b"".join(lengths)
