"""Frames on a stream of bytes: a length of four bytes, big-endian, then the frame.

A frame is never empty: a length of zero is a heartbeat, which only says that the sender lives.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...crypto.errors import OverLong

HEADER_BYTES = 4


def header(size_bytes: int) -> bytes:
    """The bytes that go before a frame of this size."""
    return size_bytes.to_bytes(HEADER_BYTES, "big")


class FrameParser:
    """Cuts a stream of bytes into frames, however the bytes arrive."""

    def __init__(self, max_frame_bytes: int) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Take the next bytes and give the frames that they complete.

        Raises ``OverLong`` after the frames before it, as soon as a length above the limit is
        announced and before any byte of that frame is kept. Nothing can be fed after that.
        """
        self._buffer += chunk
        while len(self._buffer) >= HEADER_BYTES:
            size = int.from_bytes(self._buffer[:HEADER_BYTES], "big")
            if size > self._max_frame_bytes:
                self._buffer.clear()
                raise OverLong(
                    f"a frame of {size} bytes was announced; the limit is {self._max_frame_bytes}"
                )
            end = HEADER_BYTES + size
            if len(self._buffer) < end:
                break
            with memoryview(self._buffer) as view:
                frame = bytes(view[HEADER_BYTES:end])
            del self._buffer[:end]
            if frame:
                yield frame
