"""Links over libp2p and over an MQTT broker at once, so that both kinds of peers form one network.

Each peer is linked over one of the two. Whoever names an address is sought over libp2p alone;
who names none, over both. When a peer is reached over both, libp2p wins: it asks no third
party, and both ends decide alike. To the driver it looks as one link that broke and came again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import anyio
from anyio.abc import TaskStatus

from ...crypto.errors import TransportError
from .base import (
    Accept,
    Backend,
    Broadcasting,
    Deliver,
    Delivery,
    Frame,
    Left,
    LinkDown,
    LinkUp,
    Retaining,
    Transport,
)

Make = Callable[[Accept], Transport]


class GatewayTransport:
    """Two transports for asyncio as one: ``direct`` (libp2p) and ``brokered`` (MQTT).

    Each is made with what it may accept: ``accept``, and over the broker none that is linked
    directly.
    """

    def __init__(self, direct: Make, brokered: Make, accept: Accept) -> None:
        self._direct = direct(accept)
        self._brokered = brokered(
            lambda key: accept(key) and self._used.get(key) is not self._direct
        )
        self._used: dict[bytes, Transport] = {}  # over which a peer is linked
        self._turns: dict[bytes, anyio.Lock] = {}  # deliveries of a peer, one at a time
        self._sought: dict[bytes, tuple[str, ...]] = {}
        self._deliver: Deliver

    @property
    def backend(self) -> Backend:
        """asyncio, as MQTT needs it."""
        return "asyncio"

    async def run(
        self,
        deliver: Deliver,
        *,
        task_status: TaskStatus[list[str]] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """See ``Transport.run``; the addresses are those of libp2p first, then the broker's."""
        self._deliver = deliver
        async with anyio.create_task_group() as tasks:
            addresses: list[str] = []
            for transport in (self._direct, self._brokered):
                arrived = self._arrivals(transport)
                addresses += await tasks.start(lambda t=transport, a=arrived, **k: t.run(a, **k))
            task_status.started(addresses)

    async def send(self, peer: bytes, frame: bytes) -> None:
        """See ``Transport.send``."""
        transport = self._used.get(peer)
        if transport is None:
            raise TransportError("there is no link to this peer", where=peer.hex()[:16])
        await transport.send(peer, frame)

    def reached_together(self, peers: Sequence[bytes]) -> list[bytes]:
        """Those that are linked over the broker; see ``Broadcasting``."""
        brokered = self._brokered
        if not isinstance(brokered, Broadcasting):
            return []
        return brokered.reached_together([p for p in peers if self._used.get(p) is brokered])

    async def broadcast(self, peers: Sequence[bytes], frame: bytes) -> None:
        """See ``Broadcasting``; for peers that ``reached_together`` named."""
        assert isinstance(self._brokered, Broadcasting)
        await self._brokered.broadcast(peers, frame)

    def leave(self, notice: bytes) -> None:
        """See ``Retaining``: it is kept at the broker."""
        if isinstance(self._brokered, Retaining):
            self._brokered.leave(notice)

    def seek(self, peers: Mapping[bytes, Sequence[str]]) -> None:
        """See ``Transport.seek``."""
        self._direct.seek(peers)
        self._sought = {peer: tuple(addresses) for peer, addresses in peers.items()}
        self._seek_over_broker()

    async def disconnect(self, peer: bytes, why: str) -> None:
        """See ``Transport.disconnect``."""
        for transport in (self._direct, self._brokered):
            await transport.disconnect(peer, why)

    def _seek_over_broker(self) -> None:
        self._brokered.seek(
            {
                peer: ()
                for peer, addresses in self._sought.items()
                if not addresses and self._used.get(peer) is not self._direct
            }
        )

    def _arrivals(self, transport: Transport) -> Deliver:
        async def arrived(delivery: Delivery) -> None:
            async with self._turns.setdefault(delivery.peer, anyio.Lock()):
                await self._arrived(transport, delivery)

        return arrived

    async def _arrived(self, transport: Transport, delivery: Delivery) -> None:
        peer, used = delivery.peer, self._used.get(delivery.peer)
        match delivery:
            case LinkUp():
                await self._link_up(transport, peer)
            case LinkDown() if used is transport:
                del self._used[peer]
                await self._deliver(delivery)
                self._seek_over_broker()
            case Frame() if used is transport:
                await self._deliver(delivery)
            case Left():
                await self._deliver(delivery)

    async def _link_up(self, transport: Transport, peer: bytes) -> None:
        used = self._used.get(peer)
        if used is self._direct:  # and this came over the broker
            await transport.disconnect(peer, "it is linked directly")
            return
        self._used[peer] = transport
        if used is not None:
            await self._deliver(LinkDown(peer=peer, why="it is linked directly from now on"))
            await used.disconnect(peer, "it is linked directly")
        await self._deliver(LinkUp(peer=peer))
        if transport is self._direct:
            self._seek_over_broker()
