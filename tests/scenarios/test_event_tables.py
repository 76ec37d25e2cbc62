"""Tables hold the same facts as lines, and bytes that are no table are reported, never raised."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tests.scenarios.log_factory import (
    Line,
    honest_run,
    id_of,
    name_of,
    run_started,
    sent,
    write_log,
)
from tidings.crypto.errors import StorageError
from tidings.gossip.events import Evaluated, Event, Mixed, Released, Sent
from tidings.scenarios import event_tables
from tidings.scenarios.event_tables import EventTables, coded, ragged
from tidings.scenarios.run_log import ALL_KINDS, ConsensusMeasured, LogLine, RunLog


def written(folder: Path, lines: Iterable[Line]) -> Path:
    """A run whose peers' events are in tables and whose engine's are in events.jsonl."""
    lines = list(lines)
    names = sorted({peer for _, peer, _ in lines if peer})
    tables = EventTables(folder, names)
    write_log(folder / "events.jsonl", [line for line in lines if not line[1]])
    by_kind: dict[type[Event], list[Line]] = {}
    for line in lines:
        if line[1]:
            by_kind.setdefault(type(line[2]), []).append(line)
    for kind, rows in by_kind.items():
        columns = {
            field.name: [getattr(event, field.name) for _, _, event in rows]
            for field in dataclasses.fields(kind)
        }
        columns = {
            name: [[*each.items()] if isinstance(each, dict) else each for each in values]
            for name, values in columns.items()
        }
        peer = np.array([names.index(name) for _, name, _ in rows])
        tables.append(kind, time=[float(time) for time, _, _ in rows], peer=peer, **columns)
    tables.close()
    return folder


def test_a_run_in_tables_is_the_run_in_lines(tmp_path: Path):
    lines = honest_run(peers=5, rounds=4)
    log = RunLog(written(tmp_path, lines))
    read = [(line.time, line.peer, line.event) for line in log]
    assert log.corrupt == 0
    assert [time for time, _, _ in read] == [time for time, _, _ in lines]
    assert sorted(map(repr, read)) == sorted(map(repr, lines))


def fitting(value: object) -> bool:
    """Whether a table can hold a value: integers of 64 bits."""
    if isinstance(value, dict):
        return all(map(fitting, value.values()))
    if isinstance(value, tuple):
        return all(map(fitting, value))
    return not isinstance(value, int) or -(2**63) <= value < 2**63


any_events = st.sampled_from(sorted(ALL_KINDS)).flatmap(lambda kind: st.builds(ALL_KINDS[kind]))


@settings(derandomize=True, max_examples=60)
@given(event=any_events)
def test_every_kind_of_event_comes_back(tmp_path_factory: pytest.TempPathFactory, event: Event):
    fields = [getattr(event, field.name) for field in dataclasses.fields(event)]
    if not all(map(fitting, fields)):
        return
    log = RunLog(
        written(tmp_path_factory.mktemp("run"), [(0.0, "", run_started()), (1, "a", event)])
    )
    read = [line for line in log if line.peer == "a"]
    if getattr(event, "size_bytes", 0) < 0:
        assert (read, log.corrupt) == ([], 1)
    else:
        assert repr(read) == repr([LogLine(time=1.0, peer="a", event=event)])


def test_columns_of_an_engine_in_whatever_form_it_has_them(tmp_path: Path):
    write_log(tmp_path / "events.jsonl", [(0.0, "", run_started())])
    ids = [id_of(peer) for peer in range(3)]
    tables = EventTables(tmp_path, [name_of(peer) for peer in range(3)])
    tables.append(
        Mixed,
        time=2.0,
        peer=np.arange(3),
        round=1,
        neighbours=ragged(
            np.array([0, 2, 2, 3]), coded(ids, np.array([1, 2, 0])), np.full(3, 0.25)
        ),
        missing=(),
        gamma=np.ones(3, np.float32),
    )
    tables.append(
        Released,
        time=np.array([1.0, 1.5]),
        peer=np.array([0, 2]),
        round=1,
        unit="record",
        epsilon=np.array([np.nan, 2.5]),
        delta=None,
        **dict.fromkeys(("relation", "trust_model", "accountant", "mechanism"), "x"),
        noise_multiplier=1.0,
        sampling_rate=0.5,
        steps=np.array([1, 2], np.uint8),
    )
    tables.append(
        ConsensusMeasured, time=[3.0], peer=np.array([-1]), round=1, distance=0.5, peers=3
    )
    tables.close()
    read = list(RunLog(tmp_path))[1:]
    assert [(line.time, line.peer) for line in read] == [
        (1.0, name_of(0)),
        (1.5, name_of(2)),
        *((2.0, name_of(peer)) for peer in range(3)),
        (3.0, ""),
    ]
    releases = [line.event for line in read if isinstance(line.event, Released)]
    assert [(event.epsilon, event.steps) for event in releases] == [(None, 1), (2.5, 2)]
    mixed = [line.event for line in read if isinstance(line.event, Mixed)]
    assert [event.neighbours for event in mixed] == [
        {ids[1]: 0.25, ids[2]: 0.25},
        {},
        {ids[0]: 0.25},
    ]
    assert read[-1].event == ConsensusMeasured(round=1, distance=0.5, peers=3)


def test_a_column_that_is_missing_or_too_short_is_the_callers_mistake(tmp_path: Path):
    tables = EventTables(tmp_path, ["a", "b"])
    with pytest.raises(TypeError, match="samples"):
        tables.append(Evaluated, time=1.0, peer=np.arange(2), round=1, accuracy=0.5, loss=1.0)
    with pytest.raises(TypeError, match="accuracy has 1 values for 2 peers"):
        tables.append(
            Evaluated, time=1.0, peer=np.arange(2), round=1, accuracy=[0.5], loss=1.0, samples=1
        )


def test_a_part_that_is_full_can_be_read_while_the_next_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(event_tables, "ROWS_A_GROUP", 4)
    monkeypatch.setattr(event_tables, "ROWS_A_PART", 8)
    write_log(tmp_path / "events.jsonl", [(0.0, "", run_started())])
    tables = EventTables(tmp_path, ["a"])
    for round_ in range(13):
        tables.append(
            Evaluated,
            time=float(round_),
            peer=np.zeros(1, int),
            round=round_,
            accuracy=0.5,
            loss=1.0,
            samples=1,
        )
    log = RunLog(tmp_path)
    assert [line.time for line in log][1:] == list(range(8))
    assert log.torn == ["events/evaluated-000002.parquet.tmp"]
    tables.close()
    log = RunLog(tmp_path)
    assert [line.time for line in log][1:] == list(range(13))
    assert log.torn == []


def one_table(folder: Path) -> Path:
    """A run of one table with two rows; gives its file."""
    written(folder, [(0.0, "", run_started()), (1.0, "a", sent()), (2.0, "a", sent())])
    return folder / "events" / "sent-000001.parquet"


@settings(derandomize=True, max_examples=80)
@given(data=st.data())
def test_no_bytes_raise(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    folder = tmp_path_factory.mktemp("run")
    file = one_table(folder)
    raw = bytearray(file.read_bytes())
    if data.draw(st.booleans()):
        raw = raw[: data.draw(st.integers(0, len(raw) - 1))]
    for place in data.draw(st.lists(st.integers(0, max(0, len(raw) - 1)), max_size=4)):
        raw[place : place + 1] = bytes([data.draw(st.integers(0, 255))])
    file.write_bytes(raw)
    list(RunLog(folder))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda table: table.drop(["to"]), "has no column 'to'"),
        (
            lambda table: table.set_column(0, "time", pa.array(["noon", "one"])),
            "column 'time' is string, not double",
        ),
        (lambda table: table.set_column(4, "size_bytes", pa.array([-1, 5])), "has a negative size"),
        (lambda table: table.set_column(0, "time", pa.array([1.0, np.inf])), "has no time"),
        (lambda table: table.set_column(0, "time", pa.array([1.0, None])), "null"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path: Path, change, why: str):
    file = one_table(tmp_path)
    parquet.write_table(change(parquet.read_table(file)), file)
    log = RunLog(tmp_path)
    read = len(list(log)) - 1
    assert log.corrupt == 1
    assert why in log.bad_lines[0].why
    assert log.bad_lines[0].file == "events/sent-000001.parquet"
    assert read == (1 if "size" in why or "no time" in why else 0)


def test_texts_that_another_program_wrote_anew_are_read(tmp_path: Path):
    file = one_table(tmp_path)
    table = parquet.read_table(file)
    table = table.set_column(1, "peer", table.column("peer").cast(pa.large_string()))
    parquet.write_table(table, file, store_schema=False)
    assert [line.event for line in RunLog(tmp_path)][1:] == [sent(), sent()]


def test_tables_of_a_later_version_are_left_alone(tmp_path: Path):
    file = one_table(tmp_path)
    file.rename(file.with_name("teleported-000001.parquet"))
    log = RunLog(tmp_path)
    assert (len(list(log)), log.corrupt) == (1, 0)


def test_a_disk_that_refuses_is_a_storage_error(tmp_path: Path):
    tables = EventTables(tmp_path, ["a"])
    (tmp_path / "events").rmdir()
    columns = {"to": "b", "message": "news", "size_bytes": 1}
    tables.append(Sent, time=1.0, peer=np.zeros(1, int), **columns)
    with pytest.raises(StorageError):
        tables.close()
