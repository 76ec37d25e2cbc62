"""`tidings sweep`: real runs in real processes, stopped, killed and resumed."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.sweep_kit import SMALL_SETS
from tidings.__main__ import main
from tidings.scenarios.summary import summarise

ROOT = Path(__file__).parents[2]
ONE = ["--processes", "1", "--json"]  # a process takes a second to begin
TIMES = {"wall_s"}  # the only column that may differ when a sweep is run again


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def table(folder: Path, name: str = "runs") -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(newline="") as file:
        return [
            {key: value for key, value in row.items() if key not in TIMES}
            for row in csv.DictReader(file)
        ]


def last_json(capfd: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capfd.readouterr().out.splitlines()[-1])
    return found


def begin(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tidings", "sweep", *arguments],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 100  # noqa: TID251
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "the sweep did not get going"  # noqa: TID251
        time.sleep(0.01)


def children(session: int) -> list[int]:
    """The processes of a session that are alive."""
    found = subprocess.run(["ps", "-o", "pid=,stat=", "-s", str(session)], check=False,
                           capture_output=True, text=True).stdout  # fmt: skip
    return [int(line.split()[0]) for line in found.splitlines() if "Z" not in line.split()[1]]


# --- what it gives -----------------------------------------------------------------------------


def test_a_sweep_gives_what_the_runs_alone_give(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    over = ["--over", "rules.topology.kind=ring,complete", "--seeds", "1-2"]
    assert main(["sweep", "quickstart", *SMALL_SETS, *over, "--out", "s", "--processes", "2",
                 "--json"]) == 0  # fmt: skip
    whole = last_json(capfd)
    assert (whole["planned"], whole["finished"], whole["failed"], whole["broken"]) == (4, 4, 0, {})
    assert [point["label"] for point in whole["points"]] == ["ring", "complete"]
    rows = table(tmp_path / "s")
    assert [(row["label"], row["seed"]) for row in rows] == [
        ("ring", "1"),
        ("ring", "2"),
        ("complete", "1"),
        ("complete", "2"),
    ]
    assert len(table(tmp_path / "s", "rounds")) == 4 * 3
    assert {Path(file).name for file in whole["files"]} >= {"runs.parquet", "accuracy.png"}

    alone = ["--set", 'rules.topology.kind="ring"', "--seed", "2", "--out", "alone", "--json"]
    assert main(["run", "quickstart", *SMALL_SETS, *alone]) == 0
    figures = last_json(capfd)
    assert float(rows[1]["accuracy_mean"]) == figures["accuracy_mean"]
    assert int(rows[1]["bytes_sent"]) == figures["bytes_sent"] > 0
    logs = [Path("s", rows[1]["run"]), Path("alone")]
    assert len({(folder / "events.jsonl").read_bytes() for folder in logs}) == 1
    means = [float(row["accuracy_mean"]) for row in rows[:2]]
    assert whole["points"][0]["accuracy_mean"]["mean"] == pytest.approx(sum(means) / 2)


def test_a_sweep_is_inspected_as_it_was_told(capfd: pytest.CaptureFixture[str]) -> None:
    over = ["--over", "rules.topology.kind=ring,complete", "--out", "s", "--processes", "1"]
    assert main(["sweep", "quickstart", *SMALL_SETS, *over, "--json"]) == 0
    told = last_json(capfd)
    assert main(["inspect", "s", "--json"]) == 0
    shown = last_json(capfd)
    assert shown == {key: told[key] for key in shown}
    assert main(["inspect", "s", "--plots", "p"]) == 0
    out = capfd.readouterr().out
    assert "complete" in out
    assert "p/learning.png" in out


def test_the_file_of_a_graph_is_found_wherever_the_sweep_stands(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for name, edges in (("path", "0 1\n1 2\n"), ("triangle", "0 1\n1 2\n2 0\n")):
        (tmp_path / "in" / f"{name}.txt").write_text(edges)
    (tmp_path / "in" / "it.toml").write_text(
        'name = "it"\nscenario = "quickstart"\nset.rules.topology.kind = "edges"\n'
        'grid.rules.topology.file = ["path.txt", "triangle.txt"]\n'
    )
    command = ["sweep", "in/it.toml", *SMALL_SETS[:2], *SMALL_SETS[4:], "--set", "peers=3"]
    assert main([*command, "--out", "s", "--processes", "1", "--json"]) == 0
    found = [point["messages_per_peer"]["mean"] for point in last_json(capfd)["points"]]
    assert found[0] < found[1]
    assert main(["sweep", "--resume", "s", *ONE]) == 0
    assert last_json(capfd)["finished"] == 2


def test_people_see_a_table_and_where_the_files_are(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "it.toml").write_text(
        'name = "it"\ndescription = "Two arms"\nscenario = "quickstart"\nseeds = [7]\n'
        'set.arms = ["gossip", "local"]\n[[points]]\nlabel = "short"\nrules.rounds = 2\n'
    )
    assert main(["sweep", "it.toml", *SMALL_SETS, "--processes", "1"]) == 0
    out = capfd.readouterr().out
    assert "Two arms" in out
    assert "1/1 runs" in out
    for text in ("gossip", "local", "accuracy", "runs.csv", "rounds.parquet", "learning.png"):
        assert text in out
    assert all(len(line) <= 80 for line in out.splitlines())
    (folder,) = (tmp_path / "runs").iterdir()
    assert f"Folder: runs/{folder.name}\n" in out
    assert [(row["label"], row["arm"], row["rounds"]) for row in table(folder)] == [
        ("short", "gossip", "2"),
        ("short", "local", "2"),
    ]


def test_without_an_argument_the_sweeps_are_listed(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "--json"]) == 0
    rows = last_json(capfd)
    assert [row["name"] for row in rows] == ["graphs", "learning"]
    assert main(["sweep"]) == 0
    assert "graphs" in capfd.readouterr().out


# --- what goes wrong ---------------------------------------------------------------------------


def test_a_run_that_fails_is_a_result_and_the_others_go_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # 63 features do not fit the images
    over = ["--over", "learner.features=64,63", "--out", "s", "--processes", "1", "--json"]
    assert main(["sweep", "quickstart", *SMALL_SETS, *over]) == 0
    whole = last_json(capfd)
    assert (whole["finished"], whole["failed"]) == (2, 1)
    good, bad = table(tmp_path / "s")
    assert good["error"] == ""
    assert "63" in bad["error"]
    assert whole["points"][1]["accuracy_mean"] is None


def test_a_run_whose_process_dies_is_told_and_run_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDINGS_TEST_MARK", str(tmp_path / "mark"))
    over = ["--over", "task.dataset=tests.scenarios.sweep_kit:deadly", "--seeds", "1,2,3"]
    command = ["sweep", "quickstart", *SMALL_SETS, *over, "--out", "s", "--processes", "1"]
    assert main([*command, "--json"]) == 1
    whole = last_json(capfd)
    ((run, why),) = whole["broken"].items()
    assert run.startswith("s1-")
    assert "ended by itself (3)" in why
    assert (whole["finished"], whole["planned"]) == (2, 3)
    assert main(["sweep", "--resume", "s", *ONE]) == 0
    whole = last_json(capfd)
    assert (whole["finished"], whole["broken"]) == (3, {})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["quickstart", "--over", "rules.round=3"], "did you mean 'rounds'?"),
        (["quickstart", "--seeds", "few"], "no seed and no range"),
        (["quickstart", "--seeds", "3-1"], "no seed and no range"),
        (["quickstrat"], "did you mean 'quickstart'?"),
        (["absent.toml"], "there is no such file"),
        (["--resume", "absent"], "there is no sweep in this folder"),
        (["graphs", "--resume", "s"], "goes on as it was begun"),
    ],
)
def test_a_mistake_has_one_message_and_makes_no_folder(
    arguments: list[str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", *arguments, "--json"]) == 2
    told = json.loads(capfd.readouterr().err.splitlines()[-1])
    assert said in " ".join((told["what"], told["where"], told["fix"]))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_never_overwritten(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "precious").write_text("mine")
    assert main(["sweep", "graphs", "--out", "s", "--json"]) == 2
    assert "never overwritten" in capfd.readouterr().err
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["precious"]


# --- stopping it, and going on -----------------------------------------------------------------


def results(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.glob("runs/*/result.json")}


def under_way(folder: Path) -> bool:
    return any(
        not (run / "result.json").exists() and (run / "events.jsonl").exists()
        for run in folder.glob("runs/*")
    )


LONGER = [*SMALL_SETS, "--set", "rules.rounds=12", "--over", "partition.alpha=0.1,0.5,1.0,5.0"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same sweep, run in one go."""
    folder = tmp_path_factory.mktemp("whole") / "s"
    assert main(["sweep", "quickstart", *LONGER, "--out", str(folder), *ONE]) == 0
    return folder


@pytest.mark.parametrize("with_signal", [signal.SIGKILL, signal.SIGINT])
def test_a_sweep_that_was_stopped_goes_on_and_runs_nothing_twice(
    with_signal: signal.Signals,
    uninterrupted: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "s"
    process = begin("quickstart", *LONGER, "--out", str(folder), "--processes", "2")
    wait_for(lambda: results(folder) and under_way(folder), process)
    process.send_signal(with_signal)  # to this process alone: its workers must notice
    _, err = process.communicate(timeout=60)
    until = time.monotonic() + 10  # noqa: TID251
    while children(process.pid):
        assert time.monotonic() < until, "a worker outlived the sweep"  # noqa: TID251
        time.sleep(0.02)
    before = results(folder)
    assert 0 < len(before) < 4
    if with_signal == signal.SIGINT:
        assert process.returncode == 130
        assert f"Interrupted. To go on: tidings sweep --resume {folder}" in err
        assert "Traceback" not in err
        assert len(table(folder)) == len(before)
    assert main(["sweep", "--resume", str(folder), *ONE]) == 0
    whole = last_json(capfd)
    assert (whole["finished"], whole["planned"], whole["broken"]) == (4, 4, {})
    after = results(folder)
    assert before.items() <= after.items()  # what was over was left alone
    for run in folder.glob("runs/*"):
        assert summarise(run).outcome == "finished"
    assert table(folder) == table(uninterrupted)
    assert table(folder, "rounds") == table(uninterrupted, "rounds")


def test_points_added_to_a_sweep_are_run_and_the_others_kept(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["sweep", "quickstart", *SMALL_SETS, "--over", "peers=4", "--out", "s", *ONE]
    assert main(command) == 0
    before = results(tmp_path / "s")
    file = tmp_path / "s" / "sweep.toml"
    file.write_text(file.read_text().replace("4,", "3, 4,"))
    assert main(["sweep", "--resume", "s", *ONE]) == 0
    assert [row["peers"] for row in table(tmp_path / "s")] == ["3", "4"]
    assert before.items() <= results(tmp_path / "s").items()
    assert last_json(capfd)["finished"] == 2
