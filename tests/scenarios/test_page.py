"""Reports and live pages, in a real browser."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.scenarios.browser import Sheet, browser, sheet
from tests.scenarios.log_factory import HOSTILE_NAMES, line_of
from tidings.gossip.events import (
    Evaluated,
    Event,
    LinkUp,
    Mixed,
    PeerStarted,
    Refused,
    Sent,
    Sketched,
)
from tidings.scenarios.report import write_report, write_reports
from tidings.scenarios.runner import run_scenario
from tidings.scenarios.scenario import load_scenario
from tidings.scenarios.watching.server import LiveServer
from tidings.scenarios.watching.watched import Watched

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
SCRIPT = "</script><script>alert(1)</script>"
SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with browser() as one:
        yield one


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "partition"
    scenario = load_scenario(
        "partition", ("rules.rounds=20", "faults.cuts.0.from_s=1.0", "faults.cuts.0.to_s=2.5")
    )
    run_scenario(scenario, folder, lambda *_: None)
    return folder


def accessibility(page: Sheet) -> list[str]:
    found = Axe().run(page.page).response["violations"]
    return [f"{one['id']}: {one['help']}" for one in found if one["impact"] in SERIOUS]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_report_opens_without_a_fault(
    chrome: Browser, run: Path, scheme: str, viewport: dict[str, int]
) -> None:
    file = write_report(run)
    with sheet(chrome, file.as_uri(), viewport=viewport, color_scheme=scheme) as page:
        page.page.wait_for_selector("canvas")
        assert page.complaints == []
        assert page.requests == [file.as_uri()]  # nothing is loaded from anywhere
        assert accessibility(page) == []
        wide = page.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= viewport["width"]


def test_slider_filters_and_tables_work(chrome: Browser, run: Path) -> None:
    with sheet(chrome, write_report(run).as_uri(), viewport=DESKTOP) as one:
        page = one.page
        before = page.locator("#said").inner_text()
        image = page.locator("canvas").screenshot()
        page.locator("#time").focus()
        for _ in range(40):
            page.keyboard.press("ArrowLeft")
        assert page.locator("#said").inner_text() != before
        assert page.locator("canvas").screenshot() != image
        image = page.locator("canvas").screenshot()
        page.select_option("#colour", "distance")
        assert page.locator("canvas").screenshot() != image
        image = page.locator("canvas").screenshot()
        page.select_option("#peer", "3")
        assert "peer-3: accuracy" in page.locator("#said").inner_text()
        assert page.locator("canvas").screenshot() != image
        image = page.locator("canvas").screenshot()
        page.select_option("#links", "refused")
        assert page.locator("canvas").screenshot() != image
        page.fill("input[aria-label='Filter Peers']", "peer-7")
        rows = page.locator("section:has(h2:text-is('Peers')) tbody tr")
        assert rows.all_inner_texts()[0].startswith("peer-7")
        assert rows.count() == 1
        assert one.complaints == []


def test_play_goes_through_the_frames_and_stops_at_the_end(chrome: Browser, run: Path) -> None:
    with sheet(chrome, write_report(run).as_uri(), viewport=DESKTOP) as one:
        one.page.click("#play")
        assert one.page.locator("#play").inner_text() == "Pause"
        expect(one.page.locator("#play")).to_have_text("Play", timeout=60_000)
        last = one.page.get_attribute("#time", "max")
        assert one.page.input_value("#time") == last
        assert one.complaints == []


def test_a_broken_line_shows_in_the_frames_of_the_cut(chrome: Browser, run: Path) -> None:
    with sheet(chrome, write_report(run).as_uri(), viewport=DESKTOP) as one:
        said = [
            one.page.evaluate(
                "(n) => { const f = tidings.films()[0]; f.show(n); return f.said.textContent }", n
            )
            for n in range(int(one.page.get_attribute("#time", "max") or 0))
        ]
        assert any("links down" in text for text in said)
        assert "links down" not in said[0]


def test_several_runs_are_compared_in_one_report(
    chrome: Browser, run: Path, tmp_path: Path
) -> None:
    other = tmp_path / "partition"
    run_scenario(
        load_scenario("partition", ("rules.rounds=12",), {"seed": 2}), other, lambda *_: None
    )
    file = write_reports([run, other], tmp_path / "both.html")
    with sheet(chrome, file.as_uri(), viewport=DESKTOP) as one:
        heads = one.page.locator("#main > .scroll th[scope=col]").all_inner_texts()
        assert [head.split("/")[-1] for head in heads] == ["partition", "partition"]
        assert len(set(heads)) == 2
        one.page.select_option("#run", "1")
        assert one.page.locator("canvas").count() == 1
        assert accessibility(one) == []
        assert one.complaints == []


def hostile_log(folder: Path) -> None:
    folder.mkdir()
    lines = []
    ids = [f"id{i:06d}" for i in range(len(HOSTILE_NAMES))]
    for i, name in enumerate(HOSTILE_NAMES):
        started = PeerStarted(
            id=ids[i], index=i, round=1, sequence=0, network="00" * 16, parameters=1
        )
        events: list[Event] = [
            started,
            LinkUp(neighbour=ids[0]),
            Sent(to=ids[0], message="news", size_bytes=10**9),
            Refused(sender=ids[0], reason=SCRIPT, detail=name, size_bytes=1),
            Mixed(round=1, neighbours={}, missing=(), gamma=1.0),
            Sketched(round=1, sketch=(1e300, -1e300)),
            Evaluated(round=1, accuracy=2.0, loss=0.0, samples=1),
        ]
        lines += [line_of(float(i), name, event) for event in events]
    lines.append(line_of(1e12, "late", Evaluated(round=2**40, accuracy=-1.0, loss=0.0, samples=1)))
    lines.append("not json\n")
    (folder / "events.jsonl").write_text("".join(lines))


def test_a_hostile_log_runs_no_script(chrome: Browser, tmp_path: Path) -> None:
    folder = tmp_path / "<script>alert(2)<"
    hostile_log(folder)
    file = write_report(folder)
    opened: list[str] = []
    page = chrome.new_page()
    page.on("dialog", lambda dialog: (opened.append(dialog.message), dialog.dismiss()))
    try:
        page.goto(file.as_uri())
        page.wait_for_selector("canvas")
        assert page.evaluate("document.scripts.length") == 2
        assert SCRIPT in page.locator("#main").inner_text()
        assert opened == []
    finally:
        page.close()


# -- live ----------------------------------------------------------------------------------------


def asked(server: LiveServer, path: str, host: str | None = None) -> tuple[int, str]:
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", host or parts.netloc)
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read().decode() if answer.getheader("Content-Length") else ""
    connection.close()
    return answer.status, text


def test_only_who_has_the_token_and_the_true_name_sees_the_page(run: Path) -> None:
    server = LiveServer(Watched(run))
    with server.running():
        assert asked(server, f"/?token={server.token}")[0] == 200
        assert asked(server, "/")[0] == 403
        assert asked(server, "/?token=wrong")[0] == 403
        assert asked(server, "/events?token=")[0] == 403
        assert asked(server, f"/other?token={server.token}")[0] == 404
        assert asked(server, f"/?token={server.token}", host="evil.example:80")[0] == 421


def test_a_live_page_shows_what_is_written_while_it_is_open(
    chrome: Browser, run: Path, tmp_path: Path
) -> None:
    raw = (run / "events.jsonl").read_bytes().splitlines(keepends=True)
    folder = tmp_path / "live"
    folder.mkdir()
    log = folder / "events.jsonl"
    log.write_bytes(b"".join(raw[: len(raw) // 3]))
    watched = Watched(folder)
    watched.look()
    server = LiveServer(watched)
    with server.running(), sheet(chrome, server.url, viewport=DESKTOP) as one:
        page = one.page
        page.wait_for_selector("canvas")
        before = page.locator("dl.facts").inner_text()
        with log.open("ab") as file:
            for at in range(len(raw) // 3, len(raw), 200):
                file.write(b"".join(raw[at : at + 200]))
                file.flush()
                time.sleep(0.05)
        expect(page.locator("#lead")).to_have_text("The run has ended.", timeout=30_000)
        assert page.locator("dl.facts").inner_text() != before
        assert "finished" in page.locator("dl.facts").inner_text()
        assert one.complaints == []
        assert accessibility(one) == []
