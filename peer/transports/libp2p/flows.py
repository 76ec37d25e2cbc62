"""Bytes to and from a link's yamux stream, without yamux's pauses on the way."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import trio

from ....crypto.errors import TransportError
from ..limits import MIB
from .imports import (
    DEFAULT_WINDOW_SIZE,
    HEADER_SIZE,
    MAX_PLAINTEXT_LENGTH,
    TYPE_DATA,
    YAMUX_HEADER_FORMAT,
)

_CHUNK_BYTES = 256 * 1024  # the most that one read takes
_WINDOW_BYTES = MIB  # what may be under way on a link; yamux begins with a quarter of it
_CREDIT_BYTES = _WINDOW_BYTES // 4
_PIECE_BYTES = MAX_PLAINTEXT_LENGTH - HEADER_SIZE  # so that each frame of yamux fills a message
_PIECES = 4  # that are sealed before they are written


class Inflow:
    """Takes what comes on a yamux stream and returns the sender's credit in large steps.

    ``YamuxStream.read`` writes a message for each read, credits more than it took, and without a
    size does not return while a fast sender keeps it busy.
    """

    def __init__(self, stream: Any, take: Callable[[bytes | memoryview], None]) -> None:
        self._stream = stream
        self._take = take
        self._owed_bytes = _WINDOW_BYTES - DEFAULT_WINDOW_SIZE
        self._due = trio.Event()
        self._count(b"")
        stream.conn.open_lane(stream, self._count_and_take)

    async def run(self) -> None:
        """Take what does not come over the lane, until the stream ends with an exception."""
        stream = self._stream
        while data := await stream.conn.read_stream(stream.stream_id, _CHUNK_BYTES):
            self._count_and_take(data)

    async def return_credit(self) -> None:
        """Let the sender send more, for ever; a task of its own, for it may have to wait."""
        while True:
            await self._due.wait()
            self._due = trio.Event()
            credit, self._owed_bytes = self._owed_bytes, 0
            self._stream.recv_window += credit
            await self._stream.send_window_update(credit)

    def close(self) -> None:
        """Take nothing more, and be forgotten by the connection with all that was taken."""
        self._stream.conn.close_lane()

    def _count_and_take(self, data: bytes | memoryview) -> None:
        self._count(data)
        self._take(data)

    def _count(self, data: bytes | memoryview) -> None:
        self._owed_bytes += len(data)
        if self._owed_bytes >= _CREDIT_BYTES:
            self._due.set()


class Outflow:
    """Writes to a yamux stream, in pieces that fill one message of Noise each.

    ``YamuxStream.write`` looks only every 10 ms whether there is credit again, which is most of
    the time that a transfer on a fast line takes, and fills a message and a bit.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def write(self, parts: Iterable[bytes]) -> None:
        """Write it all; ``TransportError`` when the stream was closed. There is one writer."""
        rest = deque(memoryview(part) for part in parts)
        while rest:
            frames = list(islice(self._frames(rest), _PIECES))
            if frames:
                await self._stream.conn.write_frames(frames)
            else:
                await self._credit()

    def _frames(self, rest: deque[memoryview]) -> Iterator[bytes]:
        """Frames of yamux made of ``rest``, for as long as there is credit."""
        stream = self._stream
        while rest and stream.send_window > 0:
            taken: list[memoryview] = []
            left = most = min(stream.send_window, _PIECE_BYTES)
            while rest and left:
                taken.append(rest[0][:left])
                left -= len(taken[-1])
                if len(taken[-1]) == len(rest[0]):
                    rest.popleft()
                else:
                    rest[0] = rest[0][len(taken[-1]) :]
            size = most - left
            stream.send_window -= size
            head = struct.pack(YAMUX_HEADER_FORMAT, 0, TYPE_DATA, 0, stream.stream_id, size)
            yield b"".join((head, *taken))

    async def _credit(self) -> None:
        """Wait until the other side lets more be sent; the caller has a deadline."""
        wait_s = 0.0002
        while self._stream.send_window <= 0:
            if self._stream.closed:
                raise TransportError("the stream was closed")
            await trio.sleep(wait_s)
            wait_s = min(2 * wait_s, 0.01)
