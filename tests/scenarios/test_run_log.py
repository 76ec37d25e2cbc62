"""Reading logs: any bytes are read or reported, nothing raises, order is that of time."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scenarios.log_factory import (
    any_lines,
    evaluated,
    honest_run,
    line_of,
    mixed,
    run_started,
    sent,
    sketched,
    started,
    write_log,
)
from tidings.crypto.errors import ConfigError, StorageError
from tidings.gossip.events import KINDS, MembersChanged, Received, Refused
from tidings.scenarios import records
from tidings.scenarios.records import line_of as line_of_record
from tidings.scenarios.run_log import ALL_KINDS, MAX_LINE_BYTES, LogLine, RunLog, arms, parse_line
from tidings.scenarios.summary import summarise

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELD_NAMES = sorted({name for kind in ALL_KINDS.values() for name in kind.__dataclass_fields__})


@st.composite
def hostile_lines(draw: st.DrawFn) -> bytes:
    """Bytes, JSON, and events whose fields hold whatever an attacker likes."""
    shape = draw(st.integers(0, 4))
    if shape == 4:
        return draw(any_lines()).encode()
    if shape == 0:
        return draw(st.binary(max_size=60))
    if shape == 1:
        return json.dumps(draw(json_values)).encode()
    kind = draw(st.sampled_from(sorted(ALL_KINDS)))
    fields = {"event": kind, "time": draw(st.floats() | st.integers()), "peer": draw(st.text())}
    names = FIELD_NAMES if shape == 2 else list(ALL_KINDS[kind].__dataclass_fields__)
    plausible = st.integers(-3, 2**65) | st.floats() | st.text(max_size=6) | json_values
    for name in names if shape == 3 else draw(st.lists(st.sampled_from(names), max_size=5)):
        fields[name] = draw(plausible)
    return json.dumps(fields).encode()


@settings(derandomize=True, deadline=None, max_examples=150)
@given(lines=st.lists(hostile_lines(), max_size=12), torn=st.booleans())
def test_no_bytes_raise(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], torn: bool):
    run = tmp_path_factory.mktemp("run")
    (run / "events.jsonl").write_bytes(b"\n".join(lines) + (b"" if torn else b"\n"))
    json.dumps(summarise(run).as_json(), allow_nan=False)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(raw=hostile_lines())
def test_a_line_is_read_or_refused_with_a_reason(raw: bytes):
    with suppress(ValueError):
        assert isinstance(parse_line(raw), LogLine)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(lines=st.lists(hostile_lines() | any_lines().map(str.encode), max_size=12))
def test_many_lines_at_once_are_read_as_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
):
    run = tmp_path_factory.mktemp("run")
    lines = [line.replace(b"\n", b"") for line in lines]
    (run / "events.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    read, refused, unknown = [], 0, 0
    for line in filter(bytes.strip, lines):
        try:
            found = parse_line(line + b"\n")
        except ValueError:
            refused += 1
            continue
        if isinstance(found.event, dict):
            unknown += 1
        else:
            read.append(found)
    log = RunLog(run)
    together = [line_of_record(record) for batch in log.batches() for record in batch]
    assert repr(together) == repr(read)
    assert (log.corrupt, log.unknown) == (refused, unknown)


def test_without_msgspec_the_same_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_log(tmp_path / "events.jsonl", honest_run(peers=3, rounds=2))
    fast = list(RunLog(tmp_path))
    monkeypatch.setattr(records, "_decoder", lambda: None)
    assert list(RunLog(tmp_path)) == fast
    assert summarise(tmp_path).peers == 3


def test_two_objects_on_a_line_or_one_on_two_are_no_lines(tmp_path: Path):
    good = line_of(1, "a", sent())
    (tmp_path / "events.jsonl").write_text(
        good + good.strip() + good + good.replace(", ", ",\n", 1) + good
    )
    log = RunLog(tmp_path)
    assert len(list(log)) == 2
    assert [bad.line for bad in log.bad_lines] == [2, 3, 4]


def test_every_kind_of_event_comes_back_as_it_was_written():
    for event in (
        run_started(),
        started(3),
        sent(size_bytes=0),
        mixed(2, neighbours={"abc": 0.25}, missing=("def",)),
        sketched(2, range(64), abc=-0.5),
        evaluated(1, 0.5),
        Received(sender="a", message="news", size_bytes=3),
        Refused(sender="", reason="malformed", detail="", size_bytes=3),
        MembersChanged(serial=2, revoked=("a", "b"), key_epoch=1),
    ):
        line = parse_line(line_of(1.5, "anna", event).encode())
        assert line == LogLine(time=1.5, peer="anna", event=event)


def test_a_loss_that_is_not_a_number_is_kept():
    line = parse_line(line_of(1.0, "a", evaluated(1, 0.5)).replace("0.5", "NaN", 1).encode())
    assert type(line.event).__name__ == "Evaluated"


def test_kinds_of_a_later_version_stay_dictionaries():
    raw = b'{"event": "teleported", "time": 3, "peer": "anna", "to": [1, 2]}'
    assert parse_line(raw).event == json.loads(raw)
    assert "teleported" not in KINDS


def test_fields_of_a_later_version_are_ignored():
    written = {**sent().as_fields(), "time": 1, "peer": "a", "colour": "red"}
    assert parse_line(json.dumps(written).encode()).event == sent()


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"{", "not a line of JSON"),
        (b"\xff\xfe{\x00}\x00", "not a line of JSON"),
        (b"[" * 100_000, "not a line of JSON"),
        (b'{"event": "sent", "time": 1, "peer": "a", "size_bytes": ' + b"9" * 5000 + b"}", "JSON"),
        (line_of(1, "a", sent(size_bytes=10**20)).encode(), "not a line of JSON"),
        (b"7", "not an object"),
        (b'{"event": "sent", "time": 1}', "not an object"),
        (b'{"event": "sent", "time": true, "peer": "a"}', "no time"),
        (b'{"event": "sent", "time": NaN, "peer": "a"}', "no time"),
        (b'{"event": "sent", "time": 1, "peer": "a"}', "not the fields of 'sent'"),
        (line_of(1, "a", sent(size_bytes="12")).encode(), "not the fields of 'sent'"),
        (line_of(1, "a", sent(size_bytes=True)).encode(), "not the fields of 'sent'"),
        (line_of(1, "a", sent(size_bytes=-1)).encode(), "negative size"),
    ],
)
def test_what_is_wrong_is_said(raw: bytes, why: str):
    with pytest.raises(ValueError, match=why):
        parse_line(raw)


def test_logs_of_peers_are_merged_by_time(tmp_path: Path):
    write_log(tmp_path / "events.jsonl", [(0, "", run_started()), (9, "", run_started())])
    write_log(tmp_path / "peers/a/events.jsonl", [(1, "a", sent()), (4, "a", sent())])
    write_log(tmp_path / "peers/b/events.jsonl", [(2, "b", sent()), (3, "b", sent())])
    assert [(line.time, line.peer) for line in RunLog(tmp_path)] == [
        (0, ""),
        (1, "a"),
        (2, "b"),
        (3, "b"),
        (4, "a"),
        (9, ""),
    ]


def test_a_clock_that_was_set_back_does_not_reorder_a_file(tmp_path: Path):
    write_log(tmp_path / "events.jsonl", [(5, "a", sent()), (1, "a", evaluated(1, 0.5))])
    assert [line.time for line in RunLog(tmp_path)] == [5, 1]


def test_corrupt_lines_are_counted_with_file_and_line(tmp_path: Path):
    good = line_of(1, "a", sent())
    (tmp_path / "peers/a").mkdir(parents=True)
    (tmp_path / "peers/a/events.jsonl").write_text(good + "rubbish\n\n" + good + "\0\0\0\n" + good)
    log = RunLog(tmp_path)
    assert len(list(log)) == 3
    assert log.corrupt == 2
    assert [(bad.file, bad.line) for bad in log.bad_lines] == [
        ("peers/a/events.jsonl", 2),
        ("peers/a/events.jsonl", 5),
    ]
    assert len(list(log)) == 3
    assert log.corrupt == 2  # reading again counts afresh


def test_all_corrupt_lines_are_counted_and_the_first_are_kept(tmp_path: Path):
    (tmp_path / "events.jsonl").write_text("x\n" * 250)
    log = RunLog(tmp_path)
    assert list(log) == []
    assert (log.corrupt, len(log.bad_lines)) == (250, 100)


def test_a_torn_last_line_is_tolerated(tmp_path: Path):
    whole = line_of(1, "a", sent())
    (tmp_path / "events.jsonl").write_text(whole + whole[: len(whole) // 2])
    log = RunLog(tmp_path)
    assert len(list(log)) == 1
    assert (log.corrupt, log.torn) == (0, ["events.jsonl"])


def test_a_last_line_without_its_newline_is_read(tmp_path: Path):
    (tmp_path / "events.jsonl").write_text(line_of(1, "a", sent()).rstrip())
    log = RunLog(tmp_path)
    assert [line.event for line in log] == [sent()]
    assert log.torn == []


def test_an_endless_line_is_skipped_without_being_held(tmp_path: Path):
    good = line_of(1, "a", sent()).encode()
    long = b'{"event": "' + b"x" * (2 * MAX_LINE_BYTES) + b'"}\n'
    (tmp_path / "events.jsonl").write_bytes(good + long + good)
    log = RunLog(tmp_path)
    assert len(list(log)) == 2
    assert [(bad.line, bad.why) for bad in log.bad_lines] == [
        (2, f"longer than {MAX_LINE_BYTES} bytes")
    ]


def test_logs_are_read_lazily(tmp_path: Path):
    write_log(tmp_path / "events.jsonl", honest_run(peers=3, rounds=2))
    lines = iter(RunLog(tmp_path))
    next(lines)
    with (tmp_path / "events.jsonl").open("a") as stream:
        stream.write(line_of(99, "late", sent()))
    assert [line.peer for line in lines][-1] == "late"


@pytest.mark.parametrize("made", [True, False])
def test_a_folder_without_logs_is_the_users_mistake(tmp_path: Path, made: bool):
    folder = tmp_path / "run"
    if made:
        (folder / "deeper").mkdir(parents=True)
    for look in (RunLog, arms, summarise):
        with pytest.raises(ConfigError) as caught:
            look(folder)
        assert str(folder) in str(caught.value)
        assert "tidings run" in caught.value.fix


def test_a_log_that_vanishes_while_it_is_read_is_a_storage_error(tmp_path: Path):
    write_log(tmp_path / "events.jsonl", [(1, "a", sent())])
    log = RunLog(tmp_path)
    (tmp_path / "events.jsonl").unlink()
    with pytest.raises(StorageError, match=r"events\.jsonl"):
        list(log)


def test_a_comparison_has_an_arm_for_each_folder_with_logs(tmp_path: Path):
    for arm in ("pooled", "local", "gossip"):
        write_log(tmp_path / arm / "events.jsonl", [(0, "", run_started()), (1, "a", sent())])
    (tmp_path / "pictures").mkdir()
    assert arms(tmp_path) == {arm: tmp_path / arm for arm in ("gossip", "local", "pooled")}
    assert arms(tmp_path / "local") == {"local": tmp_path / "local"}
