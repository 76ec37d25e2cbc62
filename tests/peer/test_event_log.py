"""The event log stays within its bounds, and nothing that it keeps is lost on the way."""

from __future__ import annotations

import gzip
import json
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.crypto.errors import StorageError
from tidings.gossip.events import LinkUp
from tidings.peer import log_parts
from tidings.peer.event_log import EventLog
from tidings.peer.upkeep import LogConfig
from tidings.scenarios.run_log import RunLog


def write(log: EventLog, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        # times run backwards: the order of lines is that of writing all the same
        log.write(LinkUp(neighbour=f"n{number:06d}"), time=1e6 - number, peer="ada")


def join_compression() -> None:
    for thread in threading.enumerate():
        if thread.daemon and getattr(thread, "_target", None) is log_parts._compress:
            thread.join()


def numbers(folder: Path) -> list[int]:
    return [int(line.event.neighbour[1:]) for line in RunLog(folder)]  # type: ignore[union-attr]


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    counts=st.lists(st.integers(0, 60), min_size=1, max_size=4),
    part_bytes=st.integers(1, 2000),
    keep=st.integers(0, 4),
)
def test_what_is_kept_is_the_newest_in_order_and_within_bounds(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], part_bytes: int, keep: int
) -> None:
    folder = tmp_path_factory.mktemp("log")
    file = folder / "events.jsonl"
    written = 0
    for count in counts:  # each a life of the peer
        log = EventLog(file, LogConfig(part_mb=part_bytes / 1e6, parts=keep))
        write(log, count, first=written)
        written += count
        log.close()
        join_compression()
    found = numbers(folder)
    assert found == list(range(written - len(found), written))
    parts = log_parts.parts_of(file)
    assert len(parts) <= keep
    longest_line = 80
    assert file.stat().st_size <= max(part_bytes, longest_line)
    if written:
        assert found  # at least the part that is written now
    assert not list(folder.glob("*.tmp"))


def test_old_parts_are_compressed_and_read_again(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    log = EventLog(file, LogConfig(part_mb=0.01, parts=100))
    write(log, 1000)
    log.close()
    join_compression()
    EventLog(file).close()  # what was full while another was compressed
    join_compression()
    parts = log_parts.parts_of(file)
    assert len(parts) > 3
    assert all(part.suffix == ".gz" for part in parts)
    assert sum(part.stat().st_size for part in parts) < 0.3 * 70_000
    assert numbers(tmp_path) == list(range(1000))


def test_a_part_that_is_dropped_while_it_is_compressed_stays_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "events.jsonl"
    log = EventLog(file)
    write(log, 1)
    log.close()
    log_parts.set_aside(file, 1)
    part = tmp_path / "events-000001.jsonl"
    copy = log_parts.shutil.copyfileobj

    def slow(*arguments: object) -> None:
        copy(*arguments)  # type: ignore[arg-type]
        part.unlink()  # as a rotation does meanwhile

    monkeypatch.setattr(log_parts.shutil, "copyfileobj", slow)
    log_parts._compress([part], [])
    assert list(tmp_path.iterdir()) == []


def test_a_kill_at_any_point_of_compressing_loses_and_doubles_nothing(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    log = EventLog(file)
    write(log, 10)
    log.close()
    log_parts.set_aside(file, 5)  # killed before anything else
    part = tmp_path / "events-000001.jsonl"
    (tmp_path / "events-000001.jsonl.gz.tmp").write_bytes(gzip.compress(b"half")[:10])
    file.touch()
    assert numbers(tmp_path) == list(range(10))
    (tmp_path / "events-000001.jsonl.gz").write_bytes(gzip.compress(part.read_bytes()))
    assert numbers(tmp_path) == list(range(10))  # killed between rename and unlink
    log = EventLog(file, LogConfig(parts=5))
    join_compression()
    log.close()
    assert numbers(tmp_path) == list(range(10))


def test_a_damaged_old_part_is_reported_and_the_rest_is_read(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    log = EventLog(file)
    write(log, 1)
    log.close()
    line = json.dumps({"time": 1.0, "peer": "ada", "event": "link-up", "neighbour": "n000007"})
    whole = gzip.compress((line + "\n").encode() * 500)
    (tmp_path / "events-000001.jsonl.gz").write_bytes(whole[:-20])
    (tmp_path / "events-000002.jsonl.gz").write_bytes(b"no gzip at all")
    run = RunLog(tmp_path)
    assert any(line.event == LinkUp(neighbour="n000000") for line in run)
    assert run.torn == ["events-000001.jsonl.gz", "events-000002.jsonl.gz"]


def test_a_folder_that_is_gone_is_a_storage_error(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    log = EventLog(folder / "events.jsonl", LogConfig(part_mb=0.0001))
    write(log, 1)
    (folder / "events.jsonl").unlink()
    folder.rmdir()
    with pytest.raises(StorageError):
        write(log, 10)
    log.close()
