"""Peers on libp2p for tests: ours, bare hosts that misbehave, and one in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio
from nacl.signing import SigningKey

from tidings.peer.transports.addresses import parse
from tidings.peer.transports.base import Delivery, Frame, LinkDown, LinkUp
from tidings.peer.transports.libp2p.host import open_host, peer_id
from tidings.peer.transports.libp2p.imports import Multiaddr, MultiselectCommunicator
from tidings.peer.transports.libp2p.tcp import bind
from tidings.peer.transports.libp2p.transport import PROTOCOL, Libp2pTransport
from tidings.peer.transports.limits import Limits

LOOPBACK = "/ip4/127.0.0.1/tcp/0"
QUICK = Limits(
    heartbeat_s=0.2, silence_s=1.0, backoff_min_s=0.05, backoff_max_s=0.2, handshake_s=2, dial_s=2
)


def key_of(seed: bytes) -> bytes:
    return bytes(SigningKey(seed).verify_key)


# In the order of their keys: of any two, the earlier one dials.
SEEDS = sorted((bytes([n]) * 32 for n in range(1, 11)), key=key_of)
SMALL, LARGE = SEEDS[0], SEEDS[-1]


def everybody(key: bytes) -> bool:
    return True


def nobody(key: bytes) -> bool:
    return False


@dataclass
class Peer:
    transport: Libp2pTransport
    key: bytes
    addresses: list[str] = field(default_factory=list)
    seen: list[Delivery] = field(default_factory=list)
    gate: trio.Event | None = None

    async def deliver(self, delivery: Delivery) -> None:
        if self.gate is not None and isinstance(delivery, Frame):
            await self.gate.wait()
        self.seen.append(delivery)

    async def until(self, condition: Callable[[list[Delivery]], bool], within_s: float = 8) -> None:
        with trio.fail_after(within_s):
            while not condition(self.seen):
                await trio.sleep(0.005)

    async def linked(self, within_s: float = 8) -> None:
        """Wait until the last that was said of links is that one is up."""
        await self.until(lambda seen: bool(self.links()) and self.links()[-1] == "up", within_s)

    def links(self) -> list[str]:
        names = {LinkUp: "up", LinkDown: "down"}
        return [names[type(d)] for d in self.seen if not isinstance(d, Frame)]

    def frames(self) -> list[bytes]:
        return [d.data for d in self.seen if isinstance(d, Frame)]

    def why(self) -> list[str]:
        return [d.why for d in self.seen if isinstance(d, LinkDown)]

    @property
    def host(self):
        return self.transport._host

    def connections(self) -> int:
        return self.host.get_network().get_total_connections()

    async def connected(self, number: int, within_s: float = 3) -> None:
        with trio.fail_after(within_s):
            while self.connections() != number:
                await trio.sleep(0.01)


@asynccontextmanager
async def running(
    *seeds: bytes, limits: Limits = QUICK, accept=everybody
) -> AsyncIterator[list[Peer]]:
    """Peers with these seeds, all seeking each other."""
    peers = [Peer(Libp2pTransport(seed, LOOPBACK, accept, limits), key_of(seed)) for seed in seeds]
    async with trio.open_nursery() as nursery:
        for peer in peers:
            peer.addresses = await nursery.start(peer.transport.run, peer.deliver)
        for peer in peers:
            peer.transport.seek({o.key: o.addresses for o in peers if o is not peer})
        yield peers
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def bare_host(seed: bytes, limits: Limits = QUICK, handlers=None):
    """A libp2p host that may do what a ``Libp2pTransport`` does not."""
    bound = await bind(parse(LOOPBACK))
    async with open_host(seed, bound, everybody, nobody, limits, handlers or {}) as host:
        yield host


async def dial(host, peer: Peer):
    return await host.get_network().dial_addr(Multiaddr(peer.addresses[0]), peer_id(peer.key))


async def open_frames(host, connection):
    stream = await connection.new_stream()
    await host.multiselect_client.select_one_of([PROTOCOL], MultiselectCommunicator(stream), 2)
    return stream


@contextmanager
def lone_peer(seed: bytes, listen: str, other: Peer, limits: Limits = QUICK):
    command = [sys.executable, str(Path(__file__).with_name("lone_peer.py")), seed.hex(), listen]
    given = {name: getattr(limits, name) for name in limits.__slots__}
    command += [json.dumps(given), other.key.hex(), *other.addresses]
    source = str(Path(__file__).parents[2] / "src")
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": source},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
