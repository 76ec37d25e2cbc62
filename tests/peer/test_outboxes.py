"""Outboxes: order on each link, one publish for several, and nobody waits for a slow one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from tidings.crypto.errors import TransportError
from tidings.peer.outboxes import OUTBOX_LENGTH, Outboxes

pytestmark = pytest.mark.anyio
A, B, C = (bytes([n]) * 32 for n in range(3))


class OnPaper:
    """A transport that broadcasts; a test opens its gates."""

    backend = "any"

    def __init__(self) -> None:
        self.sent: dict[bytes, list[bytes]] = {A: [], B: [], C: []}
        self.published: list[tuple[list[bytes], bytes]] = []
        self.cut: list[tuple[bytes, str]] = []
        self.gates: dict[bytes | None, anyio.Event] = {}  # None: of the broadcasts
        self.error: TransportError | None = None

    async def run(self, deliver, *, task_status) -> None: ...

    def seek(self, peers) -> None: ...

    async def send(self, peer: bytes, frame: bytes) -> None:
        if peer in self.gates:
            await self.gates[peer].wait()
        self.sent[peer].append(frame)

    def reached_together(self, peers) -> list[bytes]:
        return list(peers)

    async def broadcast(self, peers, frame: bytes) -> None:
        if None in self.gates:
            await self.gates[None].wait()
        if self.error is not None:
            raise self.error
        self.published.append((list(peers), frame))
        for peer in peers:
            self.sent[peer].append(frame)

    async def disconnect(self, peer: bytes, why: str) -> None:
        self.cut.append((peer, why))


@asynccontextmanager
async def posting(paper: OnPaper) -> AsyncIterator[Outboxes]:
    async with anyio.create_task_group() as tasks:
        outboxes = Outboxes(tasks, lambda: paper)
        for link in (A, B, C):
            outboxes.open(link)
        yield outboxes
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()


async def test_one_publish_for_all_that_wait_for_nothing() -> None:
    paper = OnPaper()
    async with posting(paper) as outboxes:
        await outboxes.broadcast((A, B, C), b"news")
    assert paper.published == [([A, B, C], b"news")]


async def test_a_link_that_lags_gets_its_own_copy_in_turn_and_holds_up_nobody() -> None:
    paper = OnPaper()
    gate = paper.gates[C] = anyio.Event()
    async with posting(paper) as outboxes:
        await outboxes.post((C,), b"before")
        await outboxes.broadcast((A, B, C), b"news")
        await anyio.wait_all_tasks_blocked()
        assert paper.published == [([A, B], b"news")]
        gate.set()
    assert paper.sent[C] == [b"before", b"news"]


async def test_what_comes_after_a_broadcast_waits_until_it_is_taken() -> None:
    paper = OnPaper()
    gate = paper.gates[None] = anyio.Event()
    async with posting(paper) as outboxes:
        await outboxes.broadcast((A, B), b"1")
        await outboxes.post((A,), b"2")
        await outboxes.broadcast((A, B, C), b"3")  # a second one would overtake the first
        await anyio.wait_all_tasks_blocked()
        assert paper.sent == {A: [], B: [], C: [b"3"]}
        gate.set()
    assert paper.sent == {A: [b"1", b"2", b"3"], B: [b"1", b"3"], C: [b"3"]}


async def test_a_link_that_broke_and_came_back_gets_nothing_of_before() -> None:
    paper = OnPaper()
    gate = paper.gates[None] = anyio.Event()
    async with posting(paper) as outboxes:
        await outboxes.broadcast((A, B, C), b"old")
        outboxes.close(C)  # before the broadcast has begun
        outboxes.open(C)
        await outboxes.post((C,), b"new")
        gate.set()
    assert paper.sent == {A: [b"old"], B: [b"old"], C: [b"new"]}


async def test_a_full_outbox_and_a_refused_broadcast_cut_the_link() -> None:
    paper = OnPaper()
    paper.gates[A] = anyio.Event()
    paper.error = TransportError("over the limit")
    async with posting(paper) as outboxes:
        for _ in range(OUTBOX_LENGTH + 1):
            await outboxes.post((A,), b"x")
        assert paper.cut == [(A, "too slow: its outbox is full")]
        await outboxes.broadcast((B, C), b"news")
    assert [link for link, _ in paper.cut[1:]] == [B, C]
    assert all("over the limit" in why for _, why in paper.cut[1:])
