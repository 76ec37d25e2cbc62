"""Bad lines between peers that share a process: any transport, with a scenario's faults in between.

What `Switch` decides for packets between hosts it decides here for whole frames, for there is no
stream below them: a lost frame is lost, as in the simulator, and the peers repair it. The links
of the transport below stay up; during a cut they are hidden from the peers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import anyio
from anyio.abc import TaskGroup, TaskStatus
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from ...crypto.errors import TransportError
from ...peer.clock import monotonic_time
from ...peer.transports.base import Backend, Deliver, Delivery, Frame, LinkDown, LinkUp, Transport
from ..faults import SILENCE_S, Cut
from .switch import Switch


class Lines:
    """The lines between all peers: what ``switch`` does to them, on one clock.

    ``node_of`` gives the node number of each verify key.
    """

    def __init__(self, switch: Switch, node_of: Mapping[bytes, int]) -> None:
        self.switch = switch
        self.node_of = node_of
        self._began = monotonic_time()
        self._begun = anyio.Event()

    def now(self) -> float:
        """Seconds since the lines' clock began."""
        return monotonic_time() - self._began

    def begin(self) -> None:
        """Start the clock: cuts are timed by it, and there is none before."""
        self._began = monotonic_time()
        self._begun.set()

    async def until(self, at_s: float) -> None:
        """Wait for that moment of the clock."""
        await self._begun.wait()
        await anyio.sleep(max(0.0, at_s - self.now()))

    def separated(self, one: bytes, other: bytes) -> bool:
        """Whether a cut lies between two peers now."""
        nodes = self.node_of[one], self.node_of[other]
        return self._begun.is_set() and self.switch.is_cut(*nodes, self.now())


@dataclass(slots=True)
class _Line:
    """What is on its way to one peer: frames, each with the time at which it arrives."""

    send: MemoryObjectSendStream[tuple[float, bytes]]
    frames: MemoryObjectReceiveStream[tuple[float, bytes]]
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class FaultyTransport:
    """``inner`` with bad ``lines``, for the peer with ``own_key``; see ``Transport``.

    A frame that ``inner`` refuses is lost. Each follower gets its own frame: a line to a broker
    that carries one for all is not what a scenario describes.
    """

    def __init__(self, inner: Transport, lines: Lines, own_key: bytes) -> None:
        self._inner = inner
        self._lines = lines
        self._own_key = own_key
        self._linked: set[bytes] = set()  # by the transport below
        self._shown: dict[bytes, _Line] = {}  # what the peer sees of it
        self._turn: defaultdict[bytes, anyio.Lock] = defaultdict(anyio.Lock)
        self._tasks: TaskGroup

    @property
    def backend(self) -> Backend:
        """That of the transport below."""
        return self._inner.backend

    async def run(
        self,
        deliver: Deliver,
        *,
        task_status: TaskStatus[list[str]] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run the transport below until cancelled; see ``Transport.run``."""
        async with anyio.create_task_group() as self._tasks:
            for cut in self._lines.switch.cuts:
                self._tasks.start_soon(self._suffer, cut, deliver)
            await self._inner.run(partial(self._pass_on, deliver), task_status=task_status)

    async def send(self, peer: bytes, frame: bytes) -> None:
        """Put a frame on the line, waiting while it is full; see ``Transport.send``."""
        await anyio.lowlevel.checkpoint()
        nodes = self._lines.node_of[self._own_key], self._lines.node_of[peer]
        line = self._shown.get(peer)
        while line is not None and (wait_s := self._lines.switch.wait_s(*nodes, self._lines.now())):
            await anyio.sleep(wait_s)
            line = line if self._shown.get(peer) is line else None
        if line is None:
            raise TransportError("there is no link to this peer", where=peer.hex()[:16])
        at = self._lines.switch.delivery(*nodes, len(frame), self._lines.now())
        if at is not None:
            line.send.send_nowait((at, bytes(frame)))

    def seek(self, peers: Mapping[bytes, Sequence[str]]) -> None:
        """See ``Transport.seek``."""
        self._inner.seek(peers)

    async def disconnect(self, peer: bytes, why: str) -> None:
        """See ``Transport.disconnect``."""
        await self._inner.disconnect(peer, why)

    async def _pass_on(self, deliver: Deliver, delivery: Delivery) -> None:
        peer = delivery.peer
        async with self._turn[peer]:  # a cut may begin or end meanwhile
            match delivery:
                case LinkUp():
                    self._linked.add(peer)
                    await self._show(peer, deliver)
                case LinkDown(why=why):
                    self._linked.discard(peer)
                    await self._hide(peer, why, deliver)
                case Frame():
                    if peer in self._shown and not self._lines.separated(self._own_key, peer):
                        await deliver(delivery)

    async def _suffer(self, cut: Cut, deliver: Deliver) -> None:
        """Break the links that the cut goes through once they have been silent; then heal."""
        for at_s in (cut.from_s + SILENCE_S, cut.to_s):
            await self._lines.until(at_s)
            for peer in sorted(self._linked):
                async with self._turn[peer]:
                    if self._lines.separated(self._own_key, peer):
                        await self._hide(peer, "silent", deliver)
                    elif peer in self._linked:
                        await self._show(peer, deliver)

    async def _show(self, peer: bytes, deliver: Deliver) -> None:
        if peer in self._shown or self._lines.separated(self._own_key, peer):
            return
        line = _Line(*anyio.create_memory_object_stream[tuple[float, bytes]](float("inf")))
        self._shown[peer] = line
        self._tasks.start_soon(self._carry, peer, line)
        await deliver(LinkUp(peer=peer))

    async def _hide(self, peer: bytes, why: str, deliver: Deliver) -> None:
        line = self._shown.pop(peer, None)
        if line is not None:
            line.scope.cancel()  # what is under way is lost with the link
            await deliver(LinkDown(peer=peer, why=why))

    async def _carry(self, peer: bytes, line: _Line) -> None:
        with line.scope, line.send, line.frames:
            async for at, frame in line.frames:
                await anyio.sleep(max(0.0, at - self._lines.now()))
                with suppress(TransportError):
                    await self._inner.send(peer, frame)
