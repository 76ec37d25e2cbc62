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
    """Cuts a stream of bytes into frames, however the bytes arrive; each is copied once."""

    def __init__(self, max_frame_bytes: int) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._header = bytearray()
        self._size = 0
        self._frame = bytearray()  # grows with what arrives, whatever was announced

    def feed(self, chunk: bytes | memoryview) -> Iterator[bytearray]:
        """Take the next bytes and give the frames that they complete; each is the caller's.

        Raises ``OverLong`` after the frames before it, as soon as a length above the limit is
        announced and before any byte of that frame is kept. Nothing can be fed after that.
        """
        rest = memoryview(chunk)
        while rest:
            if len(self._header) < HEADER_BYTES:
                rest = self._take_header(rest)
                if len(self._header) < HEADER_BYTES:
                    break
            missing = self._size - len(self._frame)
            self._frame += rest[:missing]
            rest = rest[missing:]
            if len(self._frame) == self._size:
                frame, self._frame = self._frame, bytearray()
                self._header.clear()
                if frame:
                    yield frame

    def _take_header(self, rest: memoryview) -> memoryview:
        missing = HEADER_BYTES - len(self._header)
        self._header += rest[:missing]
        self._size = int.from_bytes(self._header, "big")
        if len(self._header) == HEADER_BYTES and self._size > self._max_frame_bytes:
            raise OverLong(
                f"a frame of {self._size} bytes was announced; the limit is {self._max_frame_bytes}"
            )
        return rest[missing:]
