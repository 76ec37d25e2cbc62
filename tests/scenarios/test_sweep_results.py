"""From the runs of a sweep to tables: nothing lost, nothing mixed up, spreads as they should be."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from tests.scenarios.log_factory import honest_run, write_log
from tidings.crypto.errors import StorageError
from tidings.scenarios.scenario import read_scenario
from tidings.scenarios.summary import summarise
from tidings.scenarios.sweep.definition import Sweep
from tidings.scenarios.sweep.jobs import Job, jobs_of, run_folder
from tidings.scenarios.sweep.pictures import sweep_pictures
from tidings.scenarios.sweep.results import (
    FIGURES,
    RunResult,
    read_result,
    result_of,
    write_result,
)
from tidings.scenarios.sweep.summary import spread, summarise_sweep
from tidings.scenarios.sweep.tables import sweep_table
from tidings.scenarios.sweep.tidy import finished_runs, round_rows, run_rows, write_tables

cells = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**60), 2**60),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1),
)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    folder = tmp_path_factory.mktemp("run")
    write_log(folder / "events.jsonl", honest_run(peers=5, rounds=4))
    return result_of({"gossip": summarise(folder)}, wall_s=1.5)


def jobs(**settings: Any) -> list[Job]:
    sweep = Sweep(name="it", scenario="quickstart", **settings)
    return jobs_of(sweep, read_scenario("quickstart")[0], where="it")


def with_accuracy(result: RunResult, accuracy: float) -> RunResult:
    """The result with this accuracy at the end and in each round."""
    arm = result.arms["gossip"]
    rounds = tuple(row | {"accuracy_mean": accuracy} for row in arm.rounds)
    arm = replace(arm, figures=arm.figures | {"accuracy_mean": accuracy}, rounds=rounds)
    return replace(result, arms={"gossip": arm})


# --- one run -----------------------------------------------------------------------------------


def test_a_result_is_read_back_as_it_was_written(tmp_path: Path, result: RunResult):
    write_result(tmp_path, result)
    assert read_result(tmp_path) == result
    assert set(result.arms["gossip"].figures) == set(FIGURES)
    assert [row["round"] for row in result.arms["gossip"].rounds] == [1, 2, 3, 4]


@pytest.mark.parametrize("stored", [b"", b"{}", b"[1]", b'{"arms": 3, "error": "", "wall_s": 1}'])
def test_a_damaged_result_is_told(tmp_path: Path, stored: bytes):
    (tmp_path / "result.json").write_bytes(stored)
    with pytest.raises(StorageError, match="not the result of a run") as told:
        read_result(tmp_path)
    assert "remove it" in told.value.fix


# --- tidy tables -------------------------------------------------------------------------------


def test_each_run_has_a_row_and_each_of_its_rounds(result: RunResult):
    all_jobs = jobs(grid={"peers": [5, 7]}, seeds=(1, 2))
    runs = [(job, result) for job in all_jobs]
    rows = run_rows(runs)
    assert [(row["point"], row["seed"], row["peers"]) for row in rows] == [
        (0, 1, 5),
        (0, 2, 5),
        (1, 1, 7),
        (1, 2, 7),
    ]
    figures = result.arms["gossip"].figures
    for row, job in zip(rows, all_jobs, strict=True):
        assert {name: row[name] for name in FIGURES} == figures
        assert row["run"] == f"runs/{job.id}"
        # resolved, not only given: these follow from others or are defaults
        assert row["rules.topology.nodes"] == row["peers"]
        assert row["training.local_steps"] == 1
    rounds = round_rows(runs)
    assert [row["round"] for row in rounds] == [1, 2, 3, 4] * 4
    assert rounds[0].keys() >= {"point", "seed", "arm", "peers", "accuracy_mean", "epsilon_max"}


@given(st.lists(st.dictionaries(st.sampled_from("abc"), cells), min_size=1))
def test_csv_and_parquet_hold_the_same(tmp_path_factory: Any, rows: list[dict[str, Any]]):
    folder = tmp_path_factory.mktemp("tables")
    text, packed = write_tables(folder, {"it": rows})
    table = parquet.read_table(packed)
    names = list(dict.fromkeys(name for row in rows for name in row))
    assert table.column_names == names
    found = list(csv.reader(io.StringIO(text.read_text("utf-8"), newline="")))
    assert found[0] == names or not names
    for name in names:
        given_values = [row.get(name) for row in rows]
        kept = table.column(name).to_pylist()
        in_text = [line[names.index(name)] for line in found[1:]] if len(names) > 1 else None
        for index, (value, stored) in enumerate(zip(given_values, kept, strict=True)):
            assert (stored is None) == (value is None)
            if isinstance(stored, str) and not isinstance(value, str) and value is not None:
                assert json.loads(stored) == value  # a column of several types is text
            elif value is not None:
                assert stored == pytest.approx(value) if isinstance(value, int) else stored == value
            if in_text is not None:
                shown = json.dumps(stored) if isinstance(stored, bool) else stored
                assert in_text[index] == ("" if shown is None else str(shown))


def test_a_run_that_failed_keeps_its_row_and_says_why(result: RunResult):
    (job,) = jobs()
    failed = replace(result, arms={}, error="training diverged")
    (row,) = run_rows([(job, failed)])
    assert row["error"] == "training diverged"
    assert row["accuracy_mean"] is None
    summary = summarise_sweep("it", "", (), [job], [(job, failed)])
    assert (summary.failed, summary.points[0].failed) == (1, 1)
    assert summary.points[0].figures["accuracy_mean"] is None
    assert sweep_pictures(summary) == {}


# --- means and spreads -------------------------------------------------------------------------


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), max_size=6))
def test_a_spread_is_that_of_the_known_values(values: list[float | None]):
    known = [value for value in values if value is not None]
    found = spread(values)
    if not known:
        assert found is None
        return
    assert found is not None
    assert found.count == len(known)
    assert (found.low, found.high) == (min(known), max(known))
    assert found.mean == pytest.approx(np.mean(known), abs=1e-6)
    if len(known) == 1:
        assert found.sd is None
    else:
        assert found.sd == pytest.approx(np.std(known, ddof=1), abs=1e-6)


def test_seeds_of_a_point_are_folded_and_points_are_not(result: RunResult):
    all_jobs = jobs(grid={"rules.keep": [0.1, 0.2]}, seeds=(1, 2, 3))
    accuracies = [0.5, 0.6, 0.7, 0.9, 0.9, 0.9]
    runs = [(j, with_accuracy(result, a)) for j, a in zip(all_jobs, accuracies, strict=True)]
    summary = summarise_sweep("it", "", ("rules.keep",), all_jobs, runs)
    means = [one.figures["accuracy_mean"] for one in summary.points]
    assert [round(one.mean, 6) for one in means if one] == [0.6, 0.9]
    assert [round(one.sd or 0, 6) for one in means if one] == [0.1, 0]
    assert [one.mean for one in summary.points[1].rounds.values()] == pytest.approx([0.9] * 4)
    whole = summary.as_json()
    assert whole["points"][0]["accuracy_mean"]["count"] == 3
    assert whole["points"][0]["values"] == {"rules.keep": 0.1}
    table = sweep_table(summary)
    assert table.row_count == 2
    assert "60.0 ± 10.0 %" in [str(cell) for cell in table.columns[1].cells]


def test_a_sweep_that_is_not_over_tells_what_it_has(tmp_path: Path, result: RunResult):
    all_jobs = jobs(grid={"rules.keep": [0.1, 0.2]}, seeds=(1, 2))
    for job in all_jobs[:3]:
        folder = run_folder(tmp_path, job)
        folder.mkdir(parents=True)
        write_result(folder, result)
    runs = finished_runs(tmp_path, all_jobs)
    assert [job.id for job, _ in runs] == [job.id for job in all_jobs[:3]]
    summary = summarise_sweep("it", "", ("rules.keep",), all_jobs, runs)
    assert (summary.finished, summary.planned) == (3, 4)
    assert [one.runs for one in summary.points] == [2, 1]
    assert str(sweep_table(summary).columns[1].header) == "runs"


# --- pictures ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"grid": {"rules.topology.kind": ["ring", "complete"]}},
        {"grid": {"rules.keep": [0.1, 0.2], "rules.topology.kind": ["ring", "complete"]}},
        {"grid": {"partition.alpha": [0.01, 1.0, 100.0]}},
        {"grid": {"rules.rounds": list(range(1, 31))}},
        {"points": ({"label": "$a$ [b]"}, {"rules.keep": 0.5})},
        {"grid": {"arms": [["gossip"]]}},
    ],
)
def test_every_kind_of_sweep_has_its_pictures(settings: dict[str, Any], result: RunResult):
    all_jobs = jobs(**settings)
    runs = [
        (job, with_accuracy(result, 0.5 + 0.4 * index / len(all_jobs)))
        for index, job in enumerate(all_jobs)
    ]
    keys = tuple(all_jobs[-1].point.values)
    images = sweep_pictures(summarise_sweep("it", "", keys, all_jobs, runs))
    assert {"accuracy", "learning"} <= images.keys()
    assert all(image.startswith(b"\x89PNG") for image in images.values())
