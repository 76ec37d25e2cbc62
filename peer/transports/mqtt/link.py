"""One link: a sealed channel to one peer over the broker, until it breaks.

Four tasks share it: one sends chunks, one says what was received, one watches, one delivers.
Packets come in by ``receive``, which never waits. Whatever goes wrong ends in ``cut``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import anyio

from ....crypto.errors import RemoteError, TransportError
from ..base import Deliver, Frame, LinkDown, LinkUp
from .delivery import DeliveryQueue
from .feed import Feed
from .handshake import Channel
from .limits import MqttLimits
from .packets import (
    MAX_REASON_BYTES,
    Announcement,
    Item,
    ItemKind,
    Kind,
    State,
    pack_chunk,
    unpack_chunk,
)
from .stream import Inflow, Outflow


class Road(Protocol):
    """How packets get to the other peer."""

    def post(self, peer: bytes, packet: bytes) -> None:
        """Send a small packet; it may be lost."""
        ...

    async def hand_over(self, peer: bytes, packet: bytes) -> None:
        """Send a large packet, after waiting for room; TransportError when the broker is gone."""
        ...


class Link:
    """A link to ``peer``; ``older`` is the one that it takes the place of."""

    def __init__(
        self,
        peer: bytes,
        channel: Channel,
        road: Road,
        feed: Feed,
        deliver: Deliver,
        limits: MqttLimits,
        *,
        older: Link | None,
        unheard: Callable[[], None],
    ) -> None:
        self.peer = peer
        self.gone = asyncio.Event()  # LinkDown was delivered
        self.up = False
        self._older = older
        self._unheard = unheard  # a broadcast had to be asked for
        self._channel = channel
        self._road = road
        self._feed = feed
        self._deliver = deliver
        self._limits = limits
        self._why: str | None = None
        self._broken = asyncio.Event()
        self._outflow = Outflow(limits)
        self._inflow = Inflow(limits)
        self._to_send = asyncio.Event()
        self._room = asyncio.Event()
        self._to_say = asyncio.Event()
        self._arrived = asyncio.Event()
        self._inbox = DeliveryQueue(feed)
        self._held: dict[int, bytes] = {}  # broadcasts that the other side has not taken
        self._held_bytes = 0
        self._filled: set[int] = set()
        self._newest_packet = 0
        self._silent_beats = 0

    def bye(self, why: str) -> bytes:
        """The packet that ends the link for the other side."""
        return self._channel.seal(Kind.BYE, why.encode()[:MAX_REASON_BYTES])

    def cut(self, why: str, *, tell: bool = True) -> None:
        """Break the link; the first reason given is the one that is told."""
        if self._why is not None:
            return
        self._why = why
        if tell:
            self._road.post(self.peer, self.bye(why))
        for event in (self._broken, self._room, self._to_send, self._to_say, self._arrived):
            event.set()

    # -- from the driver -------------------------------------------------------------------

    async def send(self, frame: bytes) -> None:
        """Queue a frame, waiting while the queue is full; raises ``TransportError`` when broken."""
        await anyio.lowlevel.checkpoint()
        most = self._limits.max_queued_bytes
        while (
            self._why is None
            and self._outflow.queued_bytes
            and self._outflow.queued_bytes + len(frame) > most
        ):
            self._room.clear()
            await self._room.wait()
        if self._why is not None:
            raise TransportError(f"the link broke: {self._why}", where=self.peer.hex()[:16])
        self._queue(Item(ItemKind.FRAME, 0, frame))

    def push(self, frame: bytes) -> None:
        """Queue a frame without waiting; a link whose queue is full is cut."""
        queued = self._outflow.queued_bytes
        if queued and queued + len(frame) > self._limits.max_queued_bytes:
            self.cut("too slow: its queue is full")
        if self._why is None:
            self._queue(Item(ItemKind.FRAME, 0, frame))

    def announce(self, number: int, announced: Announcement, frame: bytes) -> None:
        """Say that the broadcast ``number`` is the next frame; it is kept until it is taken."""
        if self._held and self._held_bytes + len(frame) > self._limits.max_queued_bytes:
            self.cut("too slow: it has not taken the broadcasts before")
        if self._why is None:
            self._held[number] = frame
            self._held_bytes += len(frame)
            self._queue(Item(ItemKind.ANNOUNCEMENT, number, announced.pack()))

    def _queue(self, item: Item, *, first: bool = False) -> None:
        self._outflow.queue(item, first=first)
        self._to_send.set()

    # -- from the broker -------------------------------------------------------------------

    def poke(self) -> None:
        """Look again for an announced broadcast: the feed has moved."""
        self._arrived.set()

    @property
    def wasted_bytes(self) -> int:
        """How much came that was there already, or too early to be kept."""
        return self._inflow.wasted_bytes

    def receive(self, packet: bytes) -> bool:
        """Take in a packet; False when it was changed, is of another session, or the link broke."""
        if self._why is not None:
            return False
        try:
            kind, number, body = self._channel.open(packet)
        except RemoteError:
            return False
        self._take(kind, number, body)
        return True

    def _take(self, kind: Kind, number: int, body: bytes) -> None:
        if number > self._newest_packet:  # the broker may repeat packets: no sign of life
            self._newest_packet = number
            self._silent_beats = 0
        try:
            if kind == Kind.DATA:
                self._take_chunk(*unpack_chunk(body))
            elif kind == Kind.STATE:
                self._take_state(State.unpack(body))
            else:
                self.cut(body[:MAX_REASON_BYTES].decode(errors="replace"), tell=False)
        except RemoteError as error:
            self.cut(error.what)

    def _take_chunk(self, sequence: int, data: bytes) -> None:
        for item in self._inflow.take(sequence, data):
            self._inbox.add(item, anyio.current_time())
        self._arrived.set()
        self._to_say.set()
        if self._inbox.held_bytes + self._inflow.held_bytes > self._limits.max_buffered_bytes:
            self.cut("more was sent than this peer could take")

    def _take_state(self, state: State) -> None:
        self._outflow.acknowledged(state, anyio.current_time())
        for number in [number for number in self._held if number <= state.taken]:
            self._held_bytes -= len(self._held.pop(number))
            self._filled.discard(number)
        if state.wanted in self._held and state.wanted not in self._filled:
            self._filled.add(state.wanted)
            self._queue(Item(ItemKind.FILL, state.wanted, self._held[state.wanted]), first=True)
        self._to_send.set()

    # -- tasks -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver ``LinkUp``, frames and ``LinkDown``; returns after the last."""
        try:
            if self._older is not None:
                self._older.cut("a newer connection took its place", tell=False)
                await self._older.gone.wait()
                self._older = None
            self._say()  # tells the dialler that the link is up, and brings no harm otherwise
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._deliver_all)
                async with anyio.create_task_group() as inner:
                    for work in (self._send_all, self._say_all, self._watch):
                        inner.start_soon(work)
                    await self._broken.wait()
                    inner.cancel_scope.cancel()
        finally:
            self.cut("the other side stopped")
            self._feed.clear()
            self.up = False
            self.gone.set()

    async def _send_all(self) -> None:
        try:
            while True:
                now = anyio.current_time()
                self._to_send.clear()
                chunk = self._outflow.next_chunk(now)
                self._room.set()
                if chunk is None:
                    with anyio.move_on_after(self._outflow.due_in(now)):
                        await self._to_send.wait()
                    continue
                packet = self._channel.seal(Kind.DATA, pack_chunk(*chunk))
                await self._road.hand_over(self.peer, packet)
        except TransportError as error:
            self.cut(error.what)

    async def _say_all(self) -> None:
        while True:
            await self._to_say.wait()
            self._say()
            await anyio.lowlevel.checkpoint()

    def _say(self) -> None:
        self._to_say.clear()
        state = State(
            next=self._inflow.next,
            later=self._inflow.later,
            taken=self._inbox.taken,
            wanted=self._inbox.wanted,
        )
        self._road.post(self.peer, self._channel.seal(Kind.STATE, state.pack()))

    async def _watch(self) -> None:
        # Beats are counted, not seconds: after this program itself was held up (a suspended
        # laptop, a long computation) the other side gets its beats before it is given up.
        allowed = round(self._limits.silence_s / self._limits.heartbeat_s)
        while True:
            await anyio.sleep(self._limits.heartbeat_s)
            self._silent_beats += 1
            now = anyio.current_time()
            if self._silent_beats >= allowed:
                self.cut(f"nothing was heard for {self._limits.silence_s:g} s")
            elif self._outflow.stalled_s(now) > self._limits.progress_s:
                self.cut(f"nothing was acknowledged for {self._limits.progress_s:g} s")
            if self._inbox.look(now, self._limits.broadcast_wait_s):
                self._unheard()
            self._say()

    async def _deliver_all(self) -> None:
        await self._deliver(LinkUp(peer=self.peer))
        self.up = self._why is None
        while True:
            self._arrived.clear()
            taken = self._inbox.taken
            frame = self._inbox.next(anyio.current_time())
            if self._inbox.taken != taken:
                self._to_say.set()
            if frame is not None:
                await self._deliver(Frame(peer=self.peer, data=frame))
                self._inbox.delivered(frame)
            elif self._why is None:
                await self._arrived.wait()
            else:
                break
        self.up = False
        await self._deliver(LinkDown(peer=self.peer, why=self._why))
