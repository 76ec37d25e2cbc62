"""Peers that go off the network between rounds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from tests.peer.peer_folders import small_network
from tests.peer.test_node import Street
from tidings.gossip.events import Event, LinkDown, Mixed, Published, Received
from tidings.peer.folder import PeerFolder
from tidings.peer.sleep import NEVER, SleepConfig
from tidings.peer.transports.memory import MemoryHub
from tidings.scenarios.run_log import parse_line


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


def mixed(round_: int) -> Mixed:
    return Mixed(round=round_, neighbours={}, missing=(), gamma=1.0)


@pytest.mark.parametrize(("round_", "due"), [(1, False), (3, True), (4, False), (6, True)])
def test_sleep_is_due_after_every_so_many_rounds(round_: int, due: bool) -> None:
    assert SleepConfig(after_rounds=3).is_due(mixed(round_)) is due
    assert not NEVER.is_due(mixed(round_))


def make_sleepy(folder: PeerFolder, after_rounds: int, for_s: float) -> None:
    text = folder.config_file.read_text()
    table = f"[sleep]\nafter_rounds = {after_rounds}\nfor_s = {for_s}\n\n"
    start = text.index("[sleep]")
    old = text[start : text.index("[", start + 1)]
    folder.config_file.write_text(text.replace(old, table))


E = TypeVar("E", bound=Event)


def events(folder: PeerFolder, kind: type[E]) -> list[E]:
    lines = [parse_line(raw) for raw in folder.events_file.read_bytes().splitlines(keepends=True)]
    return [line.event for line in lines if isinstance(line.event, kind)]


async def sleep_and_return(make: Callable[[], Street], folders: list[PeerFolder]) -> None:
    make_sleepy(folders[0], after_rounds=2, for_s=0.6)
    street = make()
    async with street.running():
        await street.until_finished()
        await street.until(street.same_copies)
    away = [
        e for e in events(folders[0], LinkDown) if isinstance(e, LinkDown) and e.why == "asleep"
    ]
    assert len(away) >= 2
    numbers = [event.sequence for event in events(folders[0], Published)]
    assert numbers == list(range(1, len(numbers) + 1))
    # what it missed came by one road, not entry by entry
    roads = [event.road for event in events(folders[0], Received)]
    assert {"sum", "snapshot"} & set(roads)
    tally = street.tally()
    verdict = tally.copies.verdict(tally.name_of, ())
    assert (verdict.agree, verdict.behind) == (True, 0)


SETS = ("rules.pace=asynchronous", "training.local_steps=1")


@pytest.mark.anyio
async def test_a_sleeper_is_brought_up_to_date_by_one_road(tmp_path: Path) -> None:
    folders = small_network(tmp_path, *SETS, peers=3, rounds=12)
    hub = MemoryHub()
    await sleep_and_return(lambda: Street(folders, hub), folders)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_a_sleeper_comes_back_over_libp2p(tmp_path: Path) -> None:
    folders = small_network(tmp_path, *SETS, peers=3, rounds=12)
    await sleep_and_return(lambda: Street(folders), folders)
