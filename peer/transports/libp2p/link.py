"""One link: frames and heartbeats on one long-lived libp2p stream.

Four tasks share it. The reader always reads, because a libp2p sender gives up on a receiver that
does not read for five seconds. The writer is the only one that writes, and when a write takes too
long it cuts the connection, because a cancelled write leaves a torn message behind. The watch
counts heartbeats: a connection to a frozen peer looks open for minutes. The fourth delivers.
Whatever goes wrong ends in ``cut``, which closes the socket at once.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from typing import Any

import trio

from ....crypto.errors import OverLong, TransportError
from ..base import Deliver, Frame, LinkDown, LinkUp
from ..framing import HEADER_BYTES, FrameParser, header
from ..limits import MIB, Limits
from .imports import DEFAULT_WINDOW_SIZE, TYPE_DATA, YAMUX_HEADER_FORMAT

_CHUNK_BYTES = 256 * 1024  # the most that one read takes, and that small frames are joined up to
_WINDOW_BYTES = MIB  # what may be under way on a link; yamux begins with a quarter of it
_CREDIT_BYTES = _WINDOW_BYTES // 4
_PIECE_BYTES = 65_535 - 16 - 12  # of a message of Noise without its tag and the header of yamux


class _Inflow:
    """Reads a yamux stream and returns the sender's credit in large steps.

    ``YamuxStream.read`` writes a message for each read, credits more than it took, and without a
    size does not return while a fast sender keeps it busy.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._owed_bytes = _WINDOW_BYTES - DEFAULT_WINDOW_SIZE

    async def read(self) -> bytes:
        """The next bytes; b"" or an exception at the end."""
        if self._owed_bytes >= _CREDIT_BYTES:
            credit, self._owed_bytes = self._owed_bytes, 0
            self._stream.recv_window += credit
            await self._stream.send_window_update(credit)
        data: bytes = await self._stream.conn.read_stream(self._stream.stream_id, _CHUNK_BYTES)
        self._owed_bytes += len(data)
        return data


class _Outflow:
    """Writes to a yamux stream, in pieces that fill one message of Noise each.

    ``YamuxStream.write`` looks only every 10 ms whether there is credit again, which is most of
    the time that a transfer on a fast line takes, and fills a message and a bit.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def write(self, data: bytes) -> None:
        """Write it all; ``TransportError`` when the stream was closed. There is one writer."""
        stream, rest = self._stream, memoryview(data)
        while rest:
            size = min(stream.send_window, _PIECE_BYTES, len(rest))
            if size <= 0:
                await self._credit()
                continue
            stream.send_window -= size
            head = struct.pack(YAMUX_HEADER_FORMAT, 0, TYPE_DATA, 0, stream.stream_id, size)
            await stream.conn._write_frame(b"".join((head, rest[:size])))
            rest = rest[size:]

    async def _credit(self) -> None:
        """Wait until the other side lets more be sent; the caller has a deadline."""
        wait_s = 0.0002
        while self._stream.send_window <= 0:
            if self._stream.closed:
                raise TransportError("the stream was closed")
            await trio.sleep(wait_s)
            wait_s = min(2 * wait_s, 0.01)


class Link:
    """A yamux stream to ``peer``, until it breaks; ``abort`` closes the socket below it."""

    def __init__(
        self,
        peer: bytes,
        stream: Any,
        abort: Callable[[], None],
        deliver: Deliver,
        limits: Limits,
    ) -> None:
        self.peer = peer
        self.gone = trio.Event()  # LinkDown was delivered
        self._stream = stream
        self._outflow = _Outflow(stream)
        self._abort = abort
        self._deliver = deliver
        self._limits = limits
        self._why: str | None = None
        self._broken = trio.Event()
        self._inbox: deque[bytes] = deque()
        self._inbox_bytes = 0
        self._arrived = trio.Event()
        self._outbox: deque[bytes] = deque()
        self._outbox_bytes = 0
        self._to_send = trio.Event()
        self._room = trio.Event()
        self._silent_beats = 0
        self._idle = True  # nothing was written since the last beat

    def cut(self, why: str) -> None:
        """Break the link; the first reason given is the one that is told."""
        if self._why is None:
            self._why = why
            self._broken.set()
            self._arrived.set()
            self._room.set()
            self._abort()

    async def send(self, frame: bytes) -> None:
        """Queue a frame, waiting while the queue is full; raises ``TransportError`` when broken."""
        size = len(frame)
        self._limits.check_frame(size)
        await trio.lowlevel.checkpoint()
        while (
            self._why is None
            and self._outbox
            and self._outbox_bytes + size > self._limits.max_queued_bytes
        ):
            if self._room.is_set():
                self._room = trio.Event()
            await self._room.wait()
        if self._why is not None:
            raise TransportError(f"the link broke: {self._why}", where=self.peer.hex()[:16])
        self._outbox.append(frame)
        self._outbox_bytes += size
        self._to_send.set()

    async def run(self) -> None:
        """Deliver ``LinkUp``, frames and ``LinkDown``; returns after the last."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._deliver_all)
                async with trio.open_nursery() as inner:
                    inner.start_soon(self._read)
                    inner.start_soon(self._write)
                    inner.start_soon(self._watch)
                    await self._broken.wait()
                    inner.cancel_scope.cancel()
        finally:
            self.cut("this peer stopped")
            self.gone.set()

    async def _deliver_all(self) -> None:
        await self._deliver(LinkUp(peer=self.peer))
        while self._inbox or self._why is None:
            if not self._inbox:
                self._arrived = trio.Event()
                await self._arrived.wait()
                continue
            frame = self._inbox.popleft()
            await self._deliver(Frame(peer=self.peer, data=frame))
            self._inbox_bytes -= len(frame)
        await self._deliver(LinkDown(peer=self.peer, why=self._why or ""))

    async def _read(self) -> None:
        parser = FrameParser(self._limits.max_frame_bytes)
        inflow = _Inflow(self._stream)
        try:
            while chunk := await inflow.read():
                self._silent_beats = 0
                for frame in parser.feed(chunk):
                    self._inbox.append(frame)
                    self._inbox_bytes += len(frame)
                    self._arrived.set()
                if self._inbox_bytes > self._limits.max_buffered_bytes:
                    self.cut("more was sent than this peer could take")
            self.cut("the other side closed the connection")
        except OverLong as error:
            self.cut(error.what)
        except Exception as error:  # libp2p raises many kinds
            self.cut(f"the connection broke ({type(error).__name__})")

    async def _write(self) -> None:
        try:
            while True:
                if not self._outbox:
                    self._to_send = trio.Event()
                    await self._to_send.wait()
                    continue
                data, frame_bytes = self._next_write()
                with trio.move_on_after(self._limits.send_deadline_s(len(data))) as scope:
                    await self._outflow.write(data)
                if scope.cancelled_caught:
                    self.cut(f"sending {len(data)} bytes took too long")
                self._idle = False
                self._outbox_bytes -= frame_bytes
                self._room.set()
        except Exception as error:
            self.cut(f"the connection broke ({type(error).__name__})")

    def _next_write(self) -> tuple[bytes, int]:
        """Take what is queued, small frames together; with the number of bytes in frames."""
        parts: list[bytes] = []
        joined = frame_bytes = 0
        while self._outbox and (not parts or joined + len(self._outbox[0]) < _CHUNK_BYTES):
            frame = self._outbox.popleft()
            parts += (header(len(frame)), frame)
            joined += HEADER_BYTES + len(frame)
            frame_bytes += len(frame)
        return b"".join(parts), frame_bytes

    async def _watch(self) -> None:
        # Beats are counted, not seconds: after this program itself was held up (a suspended
        # laptop, a long computation) the other side gets its beats before it is given up.
        allowed = round(self._limits.silence_s / self._limits.heartbeat_s)
        while True:
            if self._idle and not self._outbox:
                self._outbox.append(b"")  # an empty frame is a heartbeat
                self._to_send.set()
            self._idle = True
            await trio.sleep(self._limits.heartbeat_s)
            self._silent_beats += 1
            if self._silent_beats >= allowed:
                self.cut(f"nothing was heard for {self._limits.silence_s:g} s")
