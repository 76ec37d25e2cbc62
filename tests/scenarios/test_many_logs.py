"""Logs of many peers as one run: folders, archives, clocks that differ, and what is missing."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scenarios.log_factory import Line, honest_run, id_of, mixed, name_of, sent, write_log
from tests.scenarios.small import simulate, small
from tidings.crypto.errors import ConfigError
from tidings.gossip.events import LOG_VERSION, Event
from tidings.scenarios import log_archive
from tidings.scenarios.clock_skew import clocks_of
from tidings.scenarios.inspection import inspect_log
from tidings.scenarios.log_archive import is_archive, unpacked
from tidings.scenarios.run_log import RunLog, arms
from tidings.scenarios.tally import Tally


def of_peer(lines: Iterable[Line], peer: int) -> list[Line]:
    return [line for line in lines if line[1] == name_of(peer)]


@pytest.fixture
def collected(tmp_path: Path) -> Path:
    """A folder into which somebody put the folders of three peers."""
    lines = honest_run(peers=3, rounds=3)
    for peer in range(3):
        write_log(tmp_path / "collected" / f"board-{peer}" / "events.jsonl", of_peer(lines, peer))
    return tmp_path / "collected"


def test_a_folder_of_peers_is_one_run(collected: Path):
    assert arms(collected) == {"collected": collected}
    found = inspect_log(RunLog(collected))
    assert found.summary.peers == 3
    assert found.summary.copies_agree is True
    assert found.missing == ()


def test_several_folders_are_one_run(collected: Path):
    folders = sorted(collected.iterdir())
    assert list(RunLog(*folders)) == list(RunLog(collected))
    (folders[1] / "events.jsonl").write_text("rubbish\n")
    log = RunLog(*folders)
    list(log)
    assert [bad.file for bad in log.bad_lines] == ["board-1/events.jsonl"]


def archive_of(folder: Path, file: Path) -> Path:
    with tarfile.open(file, "w:gz") as tar:
        tar.add(folder, arcname=folder.name)
    return file


def test_an_archive_is_read_like_its_folder(collected: Path, tmp_path: Path):
    (collected / "board-0" / "private.key").write_text("secret")
    archive = archive_of(collected, tmp_path / "logs.tar.gz")
    assert is_archive(archive)
    with unpacked(archive) as folder:
        assert list(RunLog(folder)) == list(RunLog(collected))
        assert not list(folder.rglob("private.key"))
    assert not folder.exists()


def member(name: str, content: bytes = b"x\n", **changes: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in changes.items():
        setattr(info, key, value)
    return info, content


def test_no_path_leads_out_of_an_archive(tmp_path: Path):
    target = tmp_path / "outside" / "events.jsonl"
    evil = [
        member("../outside/events.jsonl"),
        member(str(target)),
        member("peers/../../outside/events.jsonl"),
        member("link/events.jsonl", b"", type=tarfile.SYMTYPE, linkname=str(target.parent)),
        member("hard/events.jsonl", b"", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
        member("device/events.jsonl", b"", type=tarfile.CHRTYPE),
        member("\x1b[2J/events.jsonl"),
        member("-rf/events.jsonl"),
        member("a/" * 20 + "events.jsonl"),
        member("peers/a/run.sh"),
        member("ok/events.jsonl", b"fine\n"),
    ]
    archive = tmp_path / "evil.tar"
    with tarfile.open(archive, "w") as tar:
        for info, content in evil:
            tar.addfile(info, io.BytesIO(content))
    with unpacked(archive) as folder:
        files = [file for file in folder.rglob("*") if file.is_file() or file.is_symlink()]
        assert [file.read_bytes() for file in files] == [b"fine\n"]
    assert not target.exists()


@pytest.mark.parametrize(("bound", "value"), [("MAX_BYTES", 1000), ("MAX_FILES", 2)])
def test_an_archive_cannot_fill_the_disk(
    collected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, value: int
):
    monkeypatch.setattr(log_archive, bound, value)
    archive = archive_of(collected, tmp_path / "logs.tar.gz")
    with pytest.raises(ConfigError, match="archive holds"), unpacked(archive):
        pass


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An archive; its bytes hold times, so it is made once for all examples."""
    folder = tmp_path_factory.mktemp("packed")
    write_log(folder / "run" / "events.jsonl", honest_run(peers=2, rounds=1))
    return archive_of(folder / "run", folder / "logs.tar.gz").read_bytes()


def test_a_wrong_checksum_is_told_as_such(packed: bytes, tmp_path: Path):
    half = gzip.decompress(packed)[:3000]  # so that its end is read, where the checksum stands
    raw = bytearray(gzip.compress(half))
    raw[-8] ^= 0xFF
    (tmp_path / "logs.tar.gz").write_bytes(raw)
    with pytest.raises(ConfigError, match="cannot be read"), unpacked(tmp_path / "logs.tar.gz"):
        pass


@settings(derandomize=True, max_examples=30)
@given(data=st.data())
def test_no_bytes_of_an_archive_raise_anything_else(
    tmp_path_factory: pytest.TempPathFactory, packed: bytes, data: st.DataObject
):
    archive = tmp_path_factory.mktemp("archive") / "logs.tar.gz"
    raw = bytearray(packed)
    for place in data.draw(st.lists(st.integers(0, 10_000), max_size=3)):
        raw[place % len(raw)] = data.draw(st.integers(0, 255))
    archive.write_bytes(raw[: data.draw(st.integers(0, 10_000))])
    with suppress(ConfigError), unpacked(archive) as inside:
        inspect_log(RunLog(inside))


@settings(derandomize=True, max_examples=5, deadline=None)
@given(seed=st.integers(1, 2**31), off=st.floats(-3600, 3600), node=st.integers(0, 5))
def test_clocks_are_told_from_the_frames_that_both_ends_noted(seed: int, off: float, node: int):
    ring = 'rules.topology={kind="ring"}'
    clock = f"faults.clocks=[{{node={node}, ahead_s={off}}}]"
    run = simulate(small(f"seed={seed}", "peers=6", "rules.rounds=3", ring, clock))
    clocks = clocks_of(run.tally)
    for name, ahead in clocks.offsets_s.items():
        assert ahead == pytest.approx(off if name == f"peer-{node}" else 0.0, abs=1e-3)
    for delay_s in clocks.delays_s.values():
        assert delay_s == pytest.approx(0.005, abs=1e-3)


def test_clocks_are_told_where_news_go_one_way_only():
    one_way = 'rules.topology={kind="one-peer-exponential"}'
    clock = "faults.clocks=[{node=3, ahead_s=-12.5}]"
    run = simulate(small("peers=8", "rules.rounds=6", one_way, clock))
    offsets = clocks_of(run.tally).offsets_s
    assert offsets.pop("peer-3") == pytest.approx(-12.5, abs=1e-2)
    assert list(offsets.values()) == pytest.approx([0.0] * 7, abs=1e-2)


def test_logs_without_common_frames_tell_no_clock():
    tally = Tally()
    assert clocks_of(tally).offsets_s == {}


def missing_in(folder: Path) -> set[tuple[str, str]]:
    return {(each.what, each.which) for each in inspect_log(RunLog(folder)).missing}


def test_a_peer_that_others_name_is_missed(collected: Path):
    (collected / "board-2" / "events.jsonl").unlink()
    assert missing_in(collected) == {("no log", id_of(2))}


def test_rounds_and_beginnings_that_are_gone_are_missed(tmp_path: Path):
    lines: list[Line] = [(t, "a", mixed(t)) for t in (1, 2, 5, 6, 8)]
    write_log(tmp_path / "events.jsonl", lines)
    found = inspect_log(RunLog(tmp_path)).missing
    assert {(each.what, each.which) for each in found} == {("beginning", "a"), ("rounds", "a")}
    told = [each.detail for each in found if each.what == "rounds"]
    assert told == ["nothing is told of round 3 to 4", "nothing is told of round 7"]


def test_parts_that_are_gone_are_missed(tmp_path: Path):
    write_log(tmp_path / "events.jsonl", of_peer(honest_run(peers=1, rounds=2), 0))
    for number in (3, 4, 7):
        with gzip.open(tmp_path / f"events-{number:06d}.jsonl.gz", "wb") as part:
            part.write(b"")
    details = {each.detail for each in inspect_log(RunLog(tmp_path)).missing}
    assert details == {
        "parts 1 to 2 were dropped, or not sent",
        "part 5 to 6 is not there",
    }


def test_what_a_later_version_wrote_is_told(tmp_path: Path):
    lines = of_peer(honest_run(peers=1, rounds=2), 0)
    write_log(tmp_path / "events.jsonl", lines)
    text = (tmp_path / "events.jsonl").read_text()
    later = text.replace(f'"log_version": {LOG_VERSION}', '"log_version": 99')
    assert later != text
    later += '{"event": "teleported", "time": 99, "peer": "a"}\n'
    (tmp_path / "events.jsonl").write_text(later)
    assert missing_in(tmp_path) == {
        ("later version", "log_version 99"),
        ("unknown kinds", "1 events"),
    }


def test_a_tally_does_not_mind_the_order_of_logs(collected: Path):
    together, one_by_one = Tally(), Tally()
    log = RunLog(collected)
    for line in log:
        together.add(line)
    for batch in log.batches():
        one_by_one.add_records(batch)
    assert isinstance(sent(), Event)
    assert together.accuracies() == one_by_one.accuracies()
    assert together.roads == one_by_one.roads
    for number, spread in together.spreads().items():
        assert one_by_one.spreads()[number].distance == pytest.approx(spread.distance)
    for name, peer in together.peers.items():
        other = one_by_one.peers[name]
        assert (peer.to, peer.heard, peer.companions) == (other.to, other.heard, other.companions)
