"""Watching from a terminal, and following logs while they are written and set aside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from rich.console import Console

from tests.scenarios.browser import browser, sheet
from tests.scenarios.log_factory import id_of, line_of, name_of
from tidings.crypto.errors import ConfigError
from tidings.gossip.events import Evaluated, PeerStarted, Sent
from tidings.peer.event_log import EventLog
from tidings.peer.upkeep import LogConfig
from tidings.scenarios.follow import FolderFollower, Follower
from tidings.scenarios.run_log import RunFinished, RunStarted
from tidings.scenarios.watching.server import LiveServer
from tidings.scenarios.watching.tui import sparkline, view, watch_in_terminal
from tidings.scenarios.watching.watched import Watched

MAX_HEAP_MB = 200


def evaluated(round_: int) -> Evaluated:
    return Evaluated(round=round_, accuracy=min(1.0, round_ / 100), loss=1.0, samples=10)


def begun(folder: Path, peers: int) -> Path:
    """A run's log with its first lines."""
    folder.mkdir(parents=True)
    log = folder / "events.jsonl"
    run = RunStarted(
        name="hour", engine="sim", transport="", seed=1, peers=peers, rounds=60, scenario=""
    )
    lines = [line_of(0.0, "", run)]
    for peer in range(peers):
        started = PeerStarted(
            id=id_of(peer), index=peer, round=1, sequence=0, network="00" * 16, parameters=1
        )
        lines.append(line_of(0.0, name_of(peer), started))
    log.write_text("".join(lines))
    return log


def minute(number: int, peers: int, degree: int) -> str:
    """What all peers of a large network write in one minute."""
    lines = []
    for peer in range(peers):
        time = 60.0 * number + peer / peers
        for hop in range(1, degree + 1):
            news = Sent(to=id_of((peer + hop) % peers), message="news", size_bytes=1000 + peer)
            lines.append(line_of(time, name_of(peer), news))
        lines.append(line_of(time, name_of(peer), evaluated(number)))
    return "".join(lines)


def test_a_log_that_is_set_aside_is_followed_without_a_gap(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    log = EventLog(file, LogConfig(part_mb=1, parts=3))
    follower = Follower([file])
    rounds: list[int] = []
    for number in range(40_000):
        log.write(evaluated(number), time=float(number), peer="a" * 40)
        if number % 500 == 0:
            rounds += [line.event.round for line in follower.fresh()]  # type: ignore[union-attr]
    rounds += [line.event.round for line in follower.fresh()]  # type: ignore[union-attr]
    log.close()
    assert len(list(tmp_path.glob("events-*"))) >= 2
    assert rounds == list(range(40_000))


def test_peers_that_join_are_found(tmp_path: Path) -> None:
    begun(tmp_path / "run", 1)
    follower = FolderFollower(tmp_path / "run")
    assert len(list(follower.fresh())) == 2
    later = tmp_path / "run/peers/late/events.jsonl"
    later.parent.mkdir(parents=True)
    later.write_text(line_of(1.0, "late", evaluated(1)))
    assert [line.peer for line in follower.fresh()] == ["late"]


def test_a_folder_without_a_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no event log here yet"):
        Watched(tmp_path)


def test_the_terminal_shows_the_run_until_it_ends(tmp_path: Path) -> None:
    log = begun(tmp_path / "run", 3)
    watched = Watched(tmp_path / "run")
    console = Console(record=True, width=100, height=60)
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        with log.open("a") as file:
            file.write(minute(len(waits), 3, 1))
            if len(waits) == 5:
                file.write(line_of(400.0, "", RunFinished(outcome="finished")))

    watch_in_terminal(watched, console, wait)
    assert len(waits) == 5
    shown = console.export_text()
    assert "accuracy ▁" in shown
    assert "finished" in shown
    assert name_of(2) in shown
    view(watched, 10, 3)  # a tiny screen is no reason to fail


def test_a_sparkline_ends_with_the_newest_and_fits() -> None:
    assert sparkline([0.0, 0.5, 1.0], 10) == "▁▅█"
    assert len(sparkline([i / 1000 for i in range(1000)], 40)) <= 40
    assert sparkline([0.3] * 5, 10) == "▁▁▁▁▁"
    assert sparkline([], 10) == ""


# -- an hour ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with browser() as one:
        yield one


def an_hour(chrome: Browser, folder: Path, peers: int, minutes: int, degree: int) -> None:
    """Show a network that grows by simulated minutes, and measure what the page holds."""
    log = begun(folder, peers)
    watched = Watched(folder)
    watched.look()
    server = LiveServer(watched)
    with (
        server.running(),
        sheet(chrome, server.url, viewport={"width": 1280, "height": 900}) as one,
    ):
        one.page.wait_for_selector("canvas")
        session = one.page.context.new_cdp_session(one.page)
        session.send("Performance.enable")
        heaps = []
        for number in range(1, minutes + 1):
            with log.open("a") as file:
                file.write(minute(number, peers, degree))
            one.page.wait_for_timeout(250)
            session.send("HeapProfiler.collectGarbage")
            metrics = session.send("Performance.getMetrics")["metrics"]
            heaps.append(next(m["value"] for m in metrics if m["name"] == "JSHeapUsedSize") / 1e6)
        one.page.wait_for_timeout(1000)
        frames = one.page.evaluate(
            """() => new Promise((done) => {
                const film = tidings.films()[0], begun = performance.now();
                let shown = 0;
                const tick = () => {
                    film.show(shown % film.data.frames);
                    shown += 1;
                    const since = performance.now() - begun;
                    since < 2000 ? requestAnimationFrame(tick) : done(1000 * shown / since);
                };
                tick();
            })"""
        )
        print(
            f"{peers} peers, {minutes} simulated minutes: heap {heaps[0]:.0f} to {max(heaps):.0f}"
            f" MB, {frames:.0f} frames a second"
        )
        assert one.complaints == []
        assert max(heaps) < MAX_HEAP_MB
        # the second half of the time costs no more than the first
        half = len(heaps) // 2
        assert max(heaps[half:]) < 1.5 * max(heaps[:half]) + 5
        assert frames >= 30


def test_a_page_that_is_open_for_long_does_not_grow(chrome: Browser, tmp_path: Path) -> None:
    an_hour(chrome, tmp_path / "run", peers=100, minutes=12, degree=2)


@pytest.mark.nightly
def test_an_hour_of_a_thousand_peers(chrome: Browser, tmp_path: Path) -> None:
    an_hour(chrome, tmp_path / "run", peers=1000, minutes=60, degree=4)
