"""The memory transport keeps the promises of ``Transport``, and its hub breaks links on demand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.crypto.errors import ConfigError, TransportError
from tidings.peer.transports.base import Delivery, Frame, LinkDown, LinkUp, Transport
from tidings.peer.transports.limits import Limits
from tidings.peer.transports.memory import MemoryHub, MemoryTransport

A, B = (bytes([n]) * 32 for n in (1, 2))


def ALL(key: bytes) -> bool:
    return True


@pytest.fixture(params=["trio", "asyncio"])
def anyio_backend(request):
    return request.param


@dataclass
class Peer:
    transport: Transport
    seen: list[Delivery] = field(default_factory=list)
    gate: anyio.Event | None = None

    async def deliver(self, delivery: Delivery) -> None:
        if self.gate is not None:
            await self.gate.wait()
        self.seen.append(delivery)

    async def until(self, condition: Callable[[list[Delivery]], bool]) -> None:
        with anyio.fail_after(5):
            while not condition(self.seen):
                await anyio.sleep(0.002)

    def frames(self) -> list[bytes]:
        return [d.data for d in self.seen if isinstance(d, Frame)]


@asynccontextmanager
async def running(*transports: Transport) -> AsyncIterator[list[Peer]]:
    peers = [Peer(transport) for transport in transports]
    async with anyio.create_task_group() as tasks:
        for peer in peers:
            await tasks.start(peer.transport.run, peer.deliver)
        yield peers
        tasks.cancel_scope.cancel()


def linked(hub: MemoryHub, **options) -> tuple[MemoryTransport, MemoryTransport]:
    a, b = MemoryTransport(hub, A, ALL, **options), MemoryTransport(hub, B, ALL, **options)
    a.seek({B: ()})
    b.seek({A: ()})
    return a, b


STEPS = st.one_of(st.binary(min_size=1, max_size=20), st.sampled_from(["cut", "heal"]))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    plan=st.lists(st.one_of(st.binary(min_size=1, max_size=20), st.sampled_from(["cut", "heal"])))
)
def test_whatever_is_cut_frames_come_whole_in_order_and_only_within_a_link(plan):
    async def scenario() -> None:
        hub = MemoryHub()
        expected: list[bytes | str] = ["up"]
        up = True
        async with running(*linked(hub)) as (a, b):
            for step in plan:
                if step == "cut":
                    hub.cut(A, B)
                    expected += ["down"] if up else []
                    up = False
                elif step == "heal":
                    hub.heal(A, B)
                    expected += [] if up else ["up"]
                    up = True
                elif up:
                    await a.transport.send(B, step)
                    expected.append(step)
                else:
                    with pytest.raises(TransportError):
                        await a.transport.send(B, step)
            await b.until(lambda seen: len(seen) >= len(expected))
            told = [
                d.data if isinstance(d, Frame) else {LinkUp: "up", LinkDown: "down"}[type(d)]
                for d in b.seen
            ]
            assert told == expected
            assert all(d.peer == A for d in b.seen)

    anyio.run(scenario)


@pytest.mark.anyio
async def test_both_ends_are_told_and_frames_go_both_ways():
    async with running(*linked(MemoryHub())) as (a, b):
        await a.transport.send(B, b"to b")
        await b.transport.send(A, b"to a")
        await a.until(lambda seen: len(seen) == 2)
        await b.until(lambda seen: len(seen) == 2)
        assert a.seen == [LinkUp(peer=B), Frame(peer=B, data=b"to a")]
        assert b.seen == [LinkUp(peer=A), Frame(peer=A, data=b"to b")]


@pytest.mark.anyio
@pytest.mark.parametrize("refuser", [A, B])
async def test_a_key_that_either_end_refuses_gets_no_link(refuser):
    hub = MemoryHub()
    other = {A: B, B: A}[refuser]
    transports = {key: MemoryTransport(hub, key, ALL) for key in (A, B)}
    transports[refuser] = MemoryTransport(hub, refuser, lambda key: key != other)
    for key, transport in transports.items():
        transport.seek({{A: B, B: A}[key]: ()})
    async with running(*transports.values()) as peers:
        await anyio.sleep(0.05)
        assert [peer.seen for peer in peers] == [[], []]
        with pytest.raises(TransportError):
            await transports[A].send(B, b"x")


@pytest.mark.anyio
async def test_links_appear_when_the_smaller_key_seeks_and_not_before():
    hub = MemoryHub()
    a, b = MemoryTransport(hub, A, ALL), MemoryTransport(hub, B, ALL)
    b.seek({A: ()})
    async with running(a, b) as (peer_a, peer_b):
        await anyio.sleep(0.02)
        assert peer_b.seen == []
        a.seek({B: ()})
        await peer_a.until(lambda seen: seen == [LinkUp(peer=B)])
        await peer_b.until(lambda seen: seen == [LinkUp(peer=A)])


@pytest.mark.anyio
async def test_a_peer_that_stops_is_noticed_and_found_again():
    hub = MemoryHub()
    a, b = linked(hub)
    async with running(a) as (peer_a,):
        async with running(b):
            await peer_a.until(lambda seen: seen == [LinkUp(peer=B)])
        await peer_a.until(lambda seen: isinstance(seen[-1], LinkDown))
        again = MemoryTransport(hub, B, ALL)
        async with running(again):
            await peer_a.until(lambda seen: seen[-1] == LinkUp(peer=B))


@pytest.mark.anyio
async def test_disconnect_says_why_and_the_sought_link_comes_back():
    a, b = linked(MemoryHub())
    async with running(a, b) as (peer_a, peer_b):
        await b.disconnect(A, "revoked")
        await peer_a.until(lambda seen: len(seen) == 3)
        assert peer_a.seen == [
            LinkUp(peer=B),
            LinkDown(peer=B, why="revoked"),
            LinkUp(peer=B),
        ]
        await peer_b.until(lambda seen: len(seen) == 3)


@pytest.mark.anyio
async def test_the_hub_can_change_and_lose_frames():
    hub = MemoryHub()
    hub.tamper = lambda sender, receiver, frame: None if frame == b"lose" else frame[::-1]
    async with running(*linked(hub)) as (a, b):
        await a.transport.send(B, b"lose")
        await a.transport.send(B, b"abc")
        await b.until(lambda seen: len(seen) == 2)
        assert b.frames() == [b"cba"]


@pytest.mark.anyio
async def test_a_receiver_that_takes_nothing_loses_the_link_not_the_memory():
    limits = Limits(max_frame_bytes=1000, max_buffered_bytes=1000)
    async with running(*linked(MemoryHub(relink_s=60), limits=limits)) as (a, b):
        await b.until(lambda seen: seen == [LinkUp(peer=A)])
        b.gate = anyio.Event()
        await a.transport.send(B, bytes(600))
        await a.transport.send(B, bytes(600))
        await a.until(lambda seen: isinstance(seen[-1], LinkDown))
        with pytest.raises(TransportError, match="1 to 1000"):
            await a.transport.send(B, bytes(1001))
        with pytest.raises(TransportError, match="1 to 1000"):
            await a.transport.send(B, b"")
        b.gate.set()
        await b.until(lambda seen: isinstance(seen[-1], LinkDown))
        assert b.frames() == [bytes(600)]


@pytest.mark.anyio
async def test_one_key_runs_once():
    hub = MemoryHub()
    async with running(MemoryTransport(hub, A, ALL)):
        with pytest.raises(TransportError):
            await MemoryTransport(hub, A, ALL).run(lambda delivery: anyio.sleep(0))


@pytest.mark.parametrize(
    "bad",
    [
        {"max_buffered_bytes": 10, "max_frame_bytes": 11},
        {"heartbeat_s": 1.0, "silence_s": 1.5},
    ],
)
def test_limits_that_contradict_each_other_are_refused(bad):
    with pytest.raises(ConfigError):
        Limits(**bad)


def test_the_base_and_the_memory_transport_work_without_libp2p():
    code = (
        "import sys, tidings.peer.transports.base, tidings.peer.transports.memory;"
        "sys.exit('libp2p' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": "src"})
