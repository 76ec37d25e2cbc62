"""Links within one process: for tests, and for peers that share a program.

A hub stands for the network. It makes and breaks links as the libp2p transport does (the smaller
key dials, both ends must accept each other, a broken link is made again), and tests can cut, heal
and tamper with what it carries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import anyio
from anyio.abc import TaskGroup, TaskStatus
from anyio.lowlevel import checkpoint

from ...crypto.errors import TransportError
from .base import Accept, Backend, Deliver, Delivery, Frame, LinkDown, LinkUp
from .limits import Limits

Tamper = Callable[[bytes, bytes, bytes], bytes | None]
"""(from, to, frame) -> the frame to deliver, or None to lose it."""


def _pair(a: bytes, b: bytes) -> tuple[bytes, bytes]:
    return (a, b) if a < b else (b, a)


class MemoryHub:
    """The network that joins memory transports.

    ``tamper``, when set, sees each frame on its way and may change or lose it.
    """

    def __init__(self, *, relink_s: float = 0.05) -> None:
        self.tamper: Tamper | None = None
        self._relink_s = relink_s
        self._running: dict[bytes, MemoryTransport] = {}
        self._links: set[tuple[bytes, bytes]] = set()
        self._cuts: set[tuple[bytes, bytes]] = set()

    def cut(self, a: bytes, b: bytes) -> None:
        """Break the link between two peers and keep it broken until ``heal``."""
        self._cuts.add(_pair(a, b))
        self._unlink(a, b, "the network is cut")

    def heal(self, a: bytes, b: bytes) -> None:
        """Allow the link between two peers again; it is made at once when it is sought."""
        self._cuts.discard(_pair(a, b))
        self._link(*_pair(a, b))

    def _join(self, transport: MemoryTransport) -> None:
        if transport.verify_key in self._running:
            raise TransportError("a peer with this key is running on the hub already")
        self._running[transport.verify_key] = transport
        for other in list(self._running):
            self._link(*_pair(transport.verify_key, other))

    def _leave(self, transport: MemoryTransport) -> None:
        del self._running[transport.verify_key]
        for link in [link for link in self._links if transport.verify_key in link]:
            self._unlink(*link, "the other side closed the connection")

    def _link(self, small: bytes, large: bytes) -> None:
        dialer, answerer = self._running.get(small), self._running.get(large)
        if (
            dialer is None
            or answerer is None
            or large not in dialer.sought
            or (small, large) in self._links | self._cuts
            or not dialer.accept(large)
            or not answerer.accept(small)
        ):
            return
        self._links.add((small, large))
        dialer.push(LinkUp(peer=large))
        answerer.push(LinkUp(peer=small))

    def _unlink(self, a: bytes, b: bytes, why: str) -> None:
        if _pair(a, b) not in self._links:
            return
        self._links.discard(_pair(a, b))
        for end, other in ((a, b), (b, a)):
            if end in self._running:
                self._running[end].push(LinkDown(peer=other, why=why))

    async def _relink(self, a: bytes, b: bytes) -> None:
        await anyio.sleep(self._relink_s)
        self._link(*_pair(a, b))

    def _carry(self, sender: bytes, receiver: bytes, frame: bytes) -> bool:
        """Put a frame into the receiver's inbox; False when there is no link."""
        if _pair(sender, receiver) not in self._links:
            return False
        carried = frame if self.tamper is None else self.tamper(sender, receiver, frame)
        target = self._running[receiver]
        if carried is not None and not target.push(Frame(peer=sender, data=carried)):
            self._unlink(sender, receiver, "more was sent than the receiver could take")
            target.relink(sender)
        return True


class MemoryTransport:
    """A transport on a ``MemoryHub``; its address is of no meaning. Runs on any event loop."""

    def __init__(
        self, hub: MemoryHub, verify_key: bytes, accept: Accept, *, limits: Limits | None = None
    ) -> None:
        self.verify_key = verify_key
        self.accept = accept
        self.sought: frozenset[bytes] = frozenset()
        self._hub = hub
        self._limits = limits or Limits()
        self._tasks: TaskGroup | None = None
        self._send, self._inbox = anyio.create_memory_object_stream[Delivery](float("inf"))
        self._buffered_bytes = 0

    @property
    def backend(self) -> Backend:
        """Any event loop will do."""
        return "any"

    async def run(
        self,
        deliver: Deliver,
        *,
        task_status: TaskStatus[list[str]] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Deliver until cancelled; see ``Transport.run``."""
        self._hub._join(self)
        try:
            async with anyio.create_task_group() as self._tasks:
                task_status.started([f"/memory/{self.verify_key.hex()}"])
                async for delivery in self._inbox:
                    await deliver(delivery)
                    if isinstance(delivery, Frame):
                        self._buffered_bytes -= len(delivery.data)
        finally:
            self._tasks = None
            self._hub._leave(self)

    def push(self, delivery: Delivery) -> bool:
        """Take what the hub delivers; False when a frame is more than the inbox may hold."""
        if isinstance(delivery, Frame):
            if self._buffered_bytes + len(delivery.data) > self._limits.max_buffered_bytes:
                return False
            self._buffered_bytes += len(delivery.data)
        self._send.send_nowait(delivery)
        return True

    async def send(self, peer: bytes, frame: bytes) -> None:
        """Carry a frame to ``peer``; see ``Transport.send``."""
        await checkpoint()
        self._limits.check_frame(len(frame))
        if not self._hub._carry(self.verify_key, peer, bytes(frame)):
            raise TransportError("there is no link to this peer", where=peer.hex()[:16])

    def seek(self, peers: Mapping[bytes, Sequence[str]]) -> None:
        """Name the peers that links are wanted with; their addresses are not needed."""
        self.sought = frozenset(peers)
        for peer in peers:
            self._hub._link(*_pair(self.verify_key, peer))

    async def disconnect(self, peer: bytes, why: str) -> None:
        """Cut the link to ``peer``; it is made again soon when it is still sought and accepted."""
        self._hub._unlink(self.verify_key, peer, why)
        self.relink(peer)
        await checkpoint()

    def relink(self, peer: bytes) -> None:
        """Have a broken link made again after the hub's short delay."""
        if self._tasks is not None:
            self._tasks.start_soon(self._hub._relink, self.verify_key, peer)
