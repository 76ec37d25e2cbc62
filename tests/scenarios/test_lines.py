"""Bad lines between peers in one process: what arrives, when, and what a cut does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.crypto.errors import TransportError
from tidings.peer.transports.base import Delivery, Frame, LinkDown, LinkUp
from tidings.peer.transports.memory import MemoryHub, MemoryTransport
from tidings.scenarios.faults import SILENCE_S, Cut, Faults
from tidings.scenarios.network.lines import FaultyTransport, Lines
from tidings.scenarios.network.switch import QUEUE_S, Switch

A, B = b"a" * 32, b"b" * 32
MS = 1e-3


@given(
    sizes=st.lists(st.integers(1, 10**6), min_size=1, max_size=30),
    rate=st.floats(1e4, 1e9),
    delay=st.floats(0, 1),
    jitter=st.floats(0, 1),
)
def test_a_sender_that_waits_for_room_loses_nothing_and_keeps_the_rate(
    sizes: list[int], rate: float, delay: float, jitter: float
) -> None:
    faults = Faults(rate_bit_s=rate, delay_s=delay, jitter_s=jitter)
    switch = Switch(faults, np.random.default_rng(0).random)
    now, arrivals = 0.0, []
    for size in sizes:
        now += switch.wait_s(0, 1, now) * (1 + 1e-9)
        at = switch.delivery(0, 1, size, now)
        assert at is not None
        assert at >= now + delay
        arrivals.append(at)
    assert arrivals == sorted(arrivals)
    assert arrivals[-1] >= 8 * sum(sizes) / rate + delay - 1e-6
    assert switch.wait_s(1, 0, now) == 0  # the other direction is another line


class End:
    """One end of a line, and what its peer saw, each with the time."""

    def __init__(self, hub: MemoryHub, lines: Lines, key: bytes) -> None:
        inner = MemoryTransport(hub, key, lambda other: True)
        self.transport = FaultyTransport(inner, lines, key)
        self.lines = lines
        self.seen: list[tuple[float, Delivery]] = []

    async def deliver(self, delivery: Delivery) -> None:
        self.seen.append((self.lines.now(), delivery))

    def frames(self) -> list[bytes]:
        return [bytes(d.data) for _, d in self.seen if isinstance(d, Frame)]

    def links(self) -> list[type[Delivery]]:
        return [type(d) for _, d in self.seen if not isinstance(d, Frame)]


@asynccontextmanager
async def two_ends(faults: Faults) -> AsyncIterator[tuple[End, End]]:
    lines = Lines(Switch(faults, np.random.default_rng(1).random), {A: 0, B: 1})
    hub = MemoryHub()
    ends = End(hub, lines, A), End(hub, lines, B)
    async with anyio.create_task_group() as tasks:
        for end, other in zip(ends, (B, A), strict=True):
            end.transport.seek({other: ()})
            await tasks.start(end.transport.run, end.deliver)
        await anyio.sleep(0.01)
        lines.begin()
        yield ends
        tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_frames_take_their_time_and_keep_their_order() -> None:
    frames = [bytes([n]) * 10_000 for n in range(20)]
    async with two_ends(Faults(delay_s=0.1, jitter_s=0.05, rate_bit_s=8e6)) as (a, b):
        for frame in frames:
            await a.transport.send(B, frame)
        await anyio.sleep(0.5)
        assert b.frames() == frames
        arrived = [at for at, d in b.seen if isinstance(d, Frame)]
        assert arrived[0] >= 0.1
        assert arrived[-1] >= 0.3 - MS  # 200 kB at 1 MB/s, and the way


@pytest.mark.anyio
async def test_a_full_line_makes_its_sender_wait() -> None:
    async with two_ends(Faults(rate_bit_s=8e5, delay_s=0)) as (a, b):
        began = a.lines.now()
        for number in range(14):  # 0.1 s each
            await a.transport.send(B, bytes([number]) * 10_000)
        assert a.lines.now() - began >= 13 * 0.1 - QUEUE_S - MS
        await anyio.sleep(1.5)
        assert len(b.frames()) == 14


@pytest.mark.anyio
async def test_some_frames_are_lost_and_the_link_is_not() -> None:
    async with two_ends(Faults(loss=0.25, delay_s=0)) as (a, b):
        for number in range(400):
            await a.transport.send(B, b"%d" % number)
        await anyio.sleep(0.1)
        assert 240 <= len(b.frames()) <= 360
        assert b.frames() == sorted(b.frames(), key=int)
        assert b.links() == [LinkUp]


@pytest.mark.anyio
async def test_a_cut_is_silent_at_first_then_breaks_the_link_and_heals() -> None:
    cut = Cut(from_s=0.3, to_s=1.3, groups=((0,), (1,)))
    async with two_ends(Faults(delay_s=0.05, cuts=(cut,))) as (a, b):
        await a.transport.send(B, b"before")
        await a.lines.until(0.27)
        await a.transport.send(B, b"meets the cut")
        await a.lines.until(0.5)
        await a.transport.send(B, b"into the cut")  # it does not know yet
        assert a.links() == b.links() == [LinkUp]
        await a.lines.until(1.0)
        assert a.links() == b.links() == [LinkUp, LinkDown]
        with pytest.raises(TransportError, match="no link"):
            await a.transport.send(B, b"there is none")
        await a.lines.until(1.4)
        assert a.links() == b.links() == [LinkUp, LinkDown, LinkUp]
        times = [at for at, d in a.seen if not isinstance(d, Frame)]
        assert times[1] == pytest.approx(0.3 + SILENCE_S, abs=0.1)
        assert times[2] == pytest.approx(1.3, abs=0.1)
        await a.transport.send(B, b"after")
        await a.lines.until(1.6)
        assert b.frames() == [b"before", b"after"]


@pytest.mark.anyio
async def test_a_link_that_is_made_during_a_cut_is_hidden_until_it_heals() -> None:
    cut = Cut(from_s=0.0, to_s=1.2, groups=((0,), (1,)))
    async with two_ends(Faults(cuts=(cut,))) as (a, b):
        await a.lines.until(SILENCE_S + 0.2)
        down = [LinkUp, LinkDown]
        assert a.links() == b.links() == down
        await a.transport.disconnect(B, "anew")  # the transport below makes it again at once
        await a.lines.until(1.1)
        assert a.links() == b.links() == down
        await a.lines.until(1.4)
        assert a.links() == b.links() == [*down, LinkUp]
