"""Whole peers: the core, its driver, a real store and log, over memory and over libp2p."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from tests.peer.peer_folders import small_network
from tidings.crypto.errors import StorageError, TransportError
from tidings.crypto.identity import short_id
from tidings.gossip.checkpoint import Phase
from tidings.gossip.effects import Broadcast, Send
from tidings.gossip.events import Event, PeerFinished
from tidings.gossip.state import State
from tidings.peer import node as node_module
from tidings.peer.folder import PeerFolder
from tidings.peer.launch import opened
from tidings.peer.node import Node, root_cause
from tidings.peer.store import Store
from tidings.peer.training import Trainer
from tidings.peer.transports.base import Frame, LinkDown, LinkUp
from tidings.peer.transports.memory import MemoryHub, MemoryTransport
from tidings.scenarios.run_log import parse_line
from tidings.scenarios.tally import Tally


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


def on(hub: MemoryHub) -> Callable[[State], MemoryTransport]:
    return lambda state: MemoryTransport(hub, state.me.key, state.may_link)


class Street:
    """Nodes that run in this process."""

    def __init__(self, folders: list[PeerFolder], hub: MemoryHub | None = None) -> None:
        self.folders = folders
        self.finished = 0
        self._stack = ExitStack()
        self.nodes = [
            self._stack.enter_context(opened(each, transport=hub and on(hub), watch=self._look))
            for each in folders
        ]

    def _look(self, event: Event) -> None:
        self.finished += isinstance(event, PeerFinished)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        with self._stack:
            async with anyio.create_task_group() as tasks:
                for node in self.nodes:
                    await tasks.start(node.run)
                with anyio.fail_after(60):
                    yield
                tasks.cancel_scope.cancel()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await anyio.sleep(0.01)

    async def until_finished(self) -> None:
        await self.until(lambda: self.finished == len(self.nodes))

    def same_copies(self) -> bool:
        heads: dict[bytes, set[bytes]] = {}
        for node in self.nodes:
            for author, feed in node.state.feeds.items():
                heads.setdefault(author, set()).add(feed.head_hash + feed.copy.tobytes())
        return all(len(held) == 1 for held in heads.values())

    def tally(self) -> Tally:
        tally = Tally()
        for folder in self.folders:
            for line in folder.events_file.read_bytes().splitlines(keepends=True):
                tally.add(parse_line(line))
        return tally


async def learn_together(street: Street) -> None:
    async with street.running():
        await street.until_finished()
        await street.until(street.same_copies)
    tally = street.tally()
    verdict = tally.copies.verdict(tally.name_of, ())
    assert (verdict.agree, verdict.followers_agree, verdict.behind) == (True, True, 0)
    assert not verdict.reused
    assert {peer.refused for peer in tally.peers.values()} == {0}
    assert {peer.furthest for peer in tally.peers.values()} == {3}
    # they learnt from each other: each mixed with its neighbour in every round
    assert {peer.missing for peer in tally.peers.values()} == {0}
    accuracies = tally.accuracies()
    assert min(accuracies[3]) > min(accuracies[1])


@pytest.mark.anyio
async def test_two_peers_learn_together_in_memory(tmp_path: Path) -> None:
    await learn_together(Street(small_network(tmp_path), MemoryHub()))


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_two_peers_learn_together_over_libp2p(tmp_path: Path) -> None:
    await learn_together(Street(small_network(tmp_path)))


@pytest.mark.anyio
async def test_a_peer_that_is_stopped_and_run_again_carries_on(tmp_path: Path) -> None:
    folders = small_network(tmp_path, rounds=40)
    street = Street(folders, MemoryHub())
    async with street.running():
        # not "is 4": a round may be over before anybody looks
        await street.until(lambda: street.nodes[0].state.round >= 4)
    assert street.finished == 0
    again = Street(folders, MemoryHub())
    assert again.nodes[0].state.round >= 3  # round 4 had begun, and may not have been stored yet
    reached = [node.state.own.sequence for node in again.nodes]
    async with again.running():
        await again.until_finished()
        await again.until(again.same_copies)
    tally = again.tally()
    assert not tally.copies.verdict(tally.name_of, ()).reused
    for folder, before in zip(folders, reached, strict=True):
        lines = [json.loads(line) for line in folder.events_file.read_text().splitlines()]
        starts = [line["sequence"] for line in lines if line["event"] == "peer-started"]
        numbers = [line["sequence"] for line in lines if line["event"] == "published"]
        assert starts == [0, before]
        assert numbers == sorted(set(numbers))


@pytest.mark.anyio
async def test_a_flipped_bit_is_refused_and_repaired(tmp_path: Path) -> None:
    hub, flipped = MemoryHub(), []

    def flip(sender: bytes, receiver: bytes, frame: bytes) -> bytes:
        if len(frame) > 600 and len(flipped) < 3:  # news
            flipped.append(short_id(receiver))
            return frame[:-20] + bytes([frame[-20] ^ 1]) + frame[-19:]
        return frame

    hub.tamper = flip
    street = Street(small_network(tmp_path, "rules.deadline_s=1.0"), hub)
    async with street.running():
        await street.until_finished()
        await street.until(street.same_copies)
    tally = street.tally()
    assert sum(r.count for (_, _, reason), r in tally.refusals.items() if reason == "tampered") == 3
    assert tally.copies.verdict(tally.name_of, ()).agree


# -- what ends a node ------------------------------------------------------------------------------


async def run_alone(folder: PeerFolder, before: Callable[[Node], None]) -> None:
    """One node, run as a program would."""
    with opened(folder, transport=on(MemoryHub())) as node:
        before(node)
        with anyio.fail_after(30):
            await node.run()


@pytest.mark.anyio
async def test_a_disk_that_fails_is_raised_as_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder,) = small_network(tmp_path, peers=1)

    def full(self: Store, checkpoint: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(Store, "keep", full)
    with pytest.raises(StorageError, match="the disk is full"):
        await run_alone(folder, lambda node: None)


@pytest.mark.anyio
async def test_nothing_is_sent_that_could_not_be_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders, hub = small_network(tmp_path), MemoryHub()
    news: list[int] = []
    hub.tamper = lambda sender, receiver, frame: (news.append(len(frame)), frame)[1]

    def full(self: Store, checkpoint: object) -> None:
        news.clear()
        raise StorageError("the disk is full")

    monkeypatch.setattr(Store, "keep", full)
    with pytest.raises(BaseExceptionGroup) as caught:
        async with Street(folders, hub).running():
            await anyio.sleep_forever()
    assert isinstance(root_cause(caught.value), StorageError)
    assert not [size for size in news if size > 600]


@pytest.mark.anyio
async def test_an_address_in_use_is_raised_as_itself(tmp_path: Path) -> None:
    (folder,) = small_network(tmp_path, peers=1)

    def refuse(node: Node) -> None:
        async def run(deliver: object, *, task_status: object = None) -> None:
            raise TransportError("port 1 is in use")

        node.transport.run = run  # type: ignore[method-assign, assignment]

    with pytest.raises(TransportError, match="in use"):
        await run_alone(folder, refuse)


@pytest.mark.anyio
async def test_a_learner_that_breaks_is_raised_as_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder,) = small_network(tmp_path, peers=1)

    def broken(self: Trainer, job: object) -> None:
        raise ZeroDivisionError("a mistake in the learner")

    monkeypatch.setattr(Trainer, "train", broken)
    with pytest.raises(ZeroDivisionError):
        await run_alone(folder, lambda node: None)


def test_of_errors_in_groups_the_one_that_a_person_can_mend_is_told() -> None:
    mendable = StorageError("full")
    group = BaseExceptionGroup("", [ValueError(), BaseExceptionGroup("", [mendable, KeyError()])])
    assert root_cause(group) is mendable
    bug = ValueError("bug")
    assert root_cause(ExceptionGroup("", [ExceptionGroup("", [bug])])) is bug
    assert root_cause(bug) is bug


# -- what does not ---------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_learner_at_work_does_not_hold_up_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder,) = small_network(tmp_path, peers=1)
    begun, release = threading.Event(), threading.Event()
    train = Trainer.train

    def long(self: Trainer, job):
        begun.set()
        release.wait(20)
        return train(self, job)

    monkeypatch.setattr(Trainer, "train", long)
    monkeypatch.setattr("tidings.peer.launch.STOP_S", 0.05)
    try:
        with opened(folder, transport=on(MemoryHub())) as node:
            async with anyio.create_task_group() as tasks:
                await tasks.start(node.run)
                while not begun.is_set():
                    await anyio.sleep(0.01)
                assert not node.at_rest.is_set()
                with anyio.fail_after(2):
                    tasks.cancel_scope.cancel()
        assert not node.at_rest.is_set()
    finally:
        release.set()
    assert node.at_rest.wait(10)  # it found its ledger closed, and hurt nobody


@pytest.mark.anyio
async def test_the_network_goes_on_while_the_core_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder,) = small_network(tmp_path, peers=1)
    unfold = node_module.unfold

    def heavy(*arguments):
        time.sleep(0.3)
        yield from unfold(*arguments)

    monkeypatch.setattr(node_module, "unfold", heavy)
    with opened(folder, transport=on(MemoryHub())) as node:
        async with anyio.create_task_group() as tasks:
            await tasks.start(node.run)
            longest = 0.0
            for _ in range(40):
                began = anyio.current_time()
                await anyio.sleep(0.01)
                longest = max(longest, anyio.current_time() - began)
            tasks.cancel_scope.cancel()
    assert longest < 0.25


class Paper:
    """A transport on paper: a test hands over what arrives and reads what is sent."""

    backend = "any"

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, bytes]] = []
        self.cut: list[tuple[bytes, str]] = []
        self.gate: anyio.Event | None = None
        self.error: TransportError | None = None

    async def run(self, deliver, *, task_status) -> None:
        self.deliver = deliver
        task_status.started(["/paper"])
        await anyio.sleep_forever()

    async def send(self, peer: bytes, frame: bytes) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.sent.append((peer, frame))

    def seek(self, peers) -> None:
        self.sought = peers

    async def disconnect(self, peer: bytes, why: str) -> None:
        self.cut.append((peer, why))


@asynccontextmanager
async def on_paper(folder: PeerFolder) -> AsyncIterator[tuple[Node, Paper]]:
    paper = Paper()
    with opened(folder, transport=lambda state: paper) as node:  # type: ignore[arg-type,return-value]
        async with anyio.create_task_group() as tasks:
            await tasks.start(node.run)
            with anyio.fail_after(30):
                yield node, paper
            tasks.cancel_scope.cancel()


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await anyio.sleep(0.005)


@pytest.mark.anyio
async def test_a_neighbour_that_does_not_read_is_cut_and_nobody_waits_for_it(
    tmp_path: Path,
) -> None:
    folders = small_network(tmp_path)
    slow = folders[1].identity().verify_key
    async with on_paper(folders[0]) as (node, paper):
        paper.gate = anyio.Event()
        await paper.deliver(LinkUp(peer=slow))
        for number in range(200):
            await node._outboxes.post((slow,), bytes([number]))
        assert paper.cut
        assert paper.cut[0] == (slow, "too slow: its outbox is full")


@pytest.mark.anyio
async def test_frames_for_a_link_that_broke_do_not_go_out_on_the_next(tmp_path: Path) -> None:
    folders = small_network(tmp_path)
    other = folders[1].identity().verify_key
    async with on_paper(folders[0]) as (node, paper):
        paper.gate = anyio.Event()
        await paper.deliver(LinkUp(peer=other))
        for number in range(9):
            await node._outboxes.post((other,), b"old" + bytes([number]))
        await anyio.sleep(0.05)
        await paper.deliver(LinkDown(peer=other, why="test"))
        await paper.deliver(LinkUp(peer=other))
        await node._outboxes.post((other,), b"new")
        paper.gate.set()
        await until(lambda: (other, b"new") in paper.sent)
        await anyio.sleep(0.05)
    stale = [frame for _, frame in paper.sent if frame.startswith(b"old")]
    assert len(stale) <= 1  # the one that was on its way already


@pytest.mark.anyio
async def test_a_link_that_takes_no_frame_is_cut_with_the_reason(tmp_path: Path) -> None:
    folders = small_network(tmp_path)
    other = folders[1].identity().verify_key
    async with on_paper(folders[0]) as (_, paper):
        paper.error = TransportError("a frame of 9 bytes cannot be sent")
        await paper.deliver(LinkUp(peer=other))
        await until(lambda: paper.cut)
    assert paper.cut == [(other, "a frame of 9 bytes cannot be sent")]


@pytest.mark.anyio
async def test_garbage_from_a_link_is_noted_and_disturbs_nobody(tmp_path: Path) -> None:
    folders = small_network(tmp_path, "rules.deadline_s=0.5")
    other = folders[1].identity().verify_key
    async with on_paper(folders[0]) as (node, paper):
        await paper.deliver(LinkUp(peer=other))
        for number in range(300):
            await paper.deliver(Frame(peer=other, data=bytes([number % 256]) * number))
        await paper.deliver(LinkDown(peer=other, why="test"))
        await until(lambda: node.state.phase is Phase.FINISHED)
    log = folders[0].events_file.read_text()
    assert log.count('"refused"') == 300


@pytest.mark.anyio
async def test_equal_frames_for_many_links_are_one_object(tmp_path: Path) -> None:
    """A model of 50 MB for ten neighbours must not be 500 MB."""
    folders = small_network(tmp_path)
    other = folders[1].identity().verify_key
    async with on_paper(folders[0]) as (_, paper):
        links = [bytes([n]) * 32 for n in range(3)]
        for link in links:
            await paper.deliver(LinkUp(peer=link))
        await until(lambda: len(paper.sent) == 3)
        frame = bytearray(b"x" * 100)
        effects = [Broadcast(to=tuple(links), frame=frame), Send(to=other, frame=frame)]
        original = node_module.unfold
        node_module.unfold = lambda *arguments: iter(effects)  # type: ignore[assignment]
        try:
            await paper.deliver(LinkDown(peer=b"z" * 32, why="test"))
            await until(lambda: len(paper.sent) == 6)
        finally:
            node_module.unfold = original
    assert len({id(frame) for _, frame in paper.sent[3:]}) == 1
