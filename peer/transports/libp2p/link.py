"""One link: frames and heartbeats on one long-lived libp2p stream.

What arrives is taken at once, because a libp2p sender gives up on a receiver that does not read
for five seconds; a task returns the credit for it. The writer is the only one that writes frames,
and when a write takes too long it cuts the connection, because a cancelled write leaves a torn
message behind. The watch counts heartbeats: a connection to a frozen peer looks open for minutes.
One more task delivers.
Whatever goes wrong ends in ``cut``, which closes the socket at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from ....crypto.errors import OverLong, TransportError
from ..base import Deliver, Frame, LinkDown, LinkUp, PromptDeliver
from ..framing import HEADER_BYTES, FrameParser, header
from ..limits import Limits
from .flows import Inflow, Outflow

_JOINED_BYTES = 256 * 1024  # that small frames are joined up to


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
        self._parser = FrameParser(limits.max_frame_bytes)
        self._stream = stream
        self._outflow = Outflow(stream)
        self._abort = abort
        self._deliver = deliver
        self._prompt = deliver if isinstance(deliver, PromptDeliver) else None
        self._all_delivered = False  # and the task that delivers waits for more
        self._limits = limits
        self._why: str | None = None
        self._broken = trio.Event()
        self._inbox: deque[bytearray] = deque()
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
        self._limits.check_frame(len(frame))
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self.send_now(frame):
            if self._why is not None:
                await trio.lowlevel.checkpoint()  # who tries again and again must let others run
                raise TransportError(f"the link broke: {self._why}", where=self.peer.hex()[:16])
            if self._room.is_set():
                self._room = trio.Event()
            await self._room.wait()
        await trio.lowlevel.cancel_shielded_checkpoint()  # the writer takes the same turn

    def send_now(self, frame: bytes) -> bool:
        """Queue a frame within the limit, unless the link is broken or its queue full."""
        size = len(frame)
        is_full = self._outbox_bytes + size > self._limits.max_queued_bytes
        if self._why is not None or (self._outbox and is_full):
            return False
        self._outbox.append(frame)
        self._outbox_bytes += size
        self._to_send.set()
        return True

    async def run(self) -> None:
        """Deliver ``LinkUp``, frames and ``LinkDown``; returns after the last."""
        inflow = Inflow(self._stream, self._take)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._deliver_all)
                async with trio.open_nursery() as inner:
                    for task in (inflow.run, inflow.return_credit, self._write):
                        inner.start_soon(self._guard, task)
                    inner.start_soon(self._watch)
                    await self._broken.wait()
                    inner.cancel_scope.cancel()
        finally:
            self.cut("this peer stopped")
            inflow.close()
            self.gone.set()

    async def _deliver_all(self) -> None:
        await self._deliver(LinkUp(peer=self.peer))
        while self._inbox or self._why is None:
            if not self._inbox:
                self._arrived = trio.Event()
                self._all_delivered = True
                await self._arrived.wait()
                self._all_delivered = False
                continue
            frame = self._inbox.popleft()
            await self._deliver(Frame(peer=self.peer, data=frame))
            self._inbox_bytes -= len(frame)
        await self._deliver(LinkDown(peer=self.peer, why=self._why or ""))

    def _take(self, chunk: bytes | memoryview) -> None:
        """Cut what arrived into frames; all of it is kept, or the link cut."""
        if self._why is not None:
            return
        self._silent_beats = 0
        try:
            for frame in self._parser.feed(chunk):
                if self._delivers_now(frame):
                    continue
                self._inbox.append(frame)
                self._inbox_bytes += len(frame)
                self._arrived.set()
        except OverLong as error:
            self.cut(error.what)
        if self._inbox_bytes > self._limits.max_buffered_bytes:
            self.cut("more was sent than this peer could take")

    def _delivers_now(self, frame: bytearray) -> bool:
        return (
            self._prompt is not None
            and self._all_delivered
            and not self._inbox
            and self._prompt.now(Frame(peer=self.peer, data=frame))
        )

    async def _guard(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run a task of the stream's; the link ends with it."""
        try:
            await task()
            self.cut("the other side closed the connection")
        except Exception as error:  # libp2p raises many kinds
            self.cut(f"the connection broke ({type(error).__name__})")

    async def _write(self) -> None:
        while True:
            if not self._outbox:
                self._to_send = trio.Event()
                await self._to_send.wait()
                continue
            parts, frame_bytes = self._next_write()
            with trio.move_on_after(self._limits.send_deadline_s(frame_bytes)) as scope:
                await self._outflow.write(parts)
            if scope.cancelled_caught:
                self.cut(f"sending {frame_bytes} bytes took too long")
            self._idle = False
            self._outbox_bytes -= frame_bytes
            self._room.set()

    def _next_write(self) -> tuple[list[bytes], int]:
        """Take what is queued, small frames together; with the number of bytes in frames."""
        parts: list[bytes] = []
        joined = frame_bytes = 0
        while self._outbox and (not parts or joined + len(self._outbox[0]) < _JOINED_BYTES):
            frame = self._outbox.popleft()
            parts += (header(len(frame)), frame)
            joined += HEADER_BYTES + len(frame)
            frame_bytes += len(frame)
        return parts, frame_bytes

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
