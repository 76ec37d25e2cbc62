"""`tidings run`: what it prints, what it leaves, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.scenarios.log_factory import honest_run, run_started
from tests.scenarios.small import SMALL, small
from tidings.__main__ import main
from tidings.peer.settings_files import to_toml
from tidings.scenarios.progress import RunProgress
from tidings.scenarios.run_log import LogLine, RunFinished, RunLog
from tidings.scenarios.summary import summarise

ROOT = Path(__file__).parents[2]
KEYS = {
    "peers",
    "rounds",
    "accuracy_mean",
    "accuracy_min",
    "consensus_distance",
    "bytes_sent",
    "messages_sent",
    "epsilon_max",
    "delta",
    "privacy_unit",
    "refused",
    "edges",
    "seed",
}


def sets(*more: str) -> list[str]:
    return [part for one in (*SMALL, "rules.rounds=3", *more) for part in ("--set", one)]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def failure(capfd: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What a command with --json said on standard error; nothing stands on standard output."""
    out, err = capfd.readouterr()
    assert out == ""
    said: dict[str, Any] = json.loads(err.splitlines()[-1])
    return said


# --- what it gives -----------------------------------------------------------------------------


def test_json_ends_with_the_object_of_inspect(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "quickstart", *sets(), "--seed", "7", "--out", "it", "--json"]
    assert main(command) == 0
    last = capfd.readouterr().out.splitlines()[-1]
    whole = json.loads(last)
    assert set(whole) >= KEYS
    assert (whole["seed"], whole["peers"], whole["rounds"]) == (7, 5, 3)
    assert whole["outcome"] == "finished"
    assert whole["copies_agree"] is True
    assert whole["refused"] == {}
    assert set(whole["edges"][0]) == {"from", "to", "bytes", "messages"}
    assert sum(edge["bytes"] for edge in whole["edges"]) == whole["bytes_sent"] > 0
    assert main(["inspect", "it", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == whole
    assert {path.name for path in (tmp_path / "it").iterdir()} == {
        "events.jsonl",
        "report.html",
        "scenario.toml",
    }


def test_tables_and_the_folder_are_shown_to_people(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "quickstart", *sets()]) == 0
    out = capfd.readouterr().out
    assert "Ten peers with uneven shares" in out
    assert "round 3/3" in out
    assert "mean accuracy" in out
    (folder,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"quickstart-\d{8}-\d{6}", folder.name)
    assert f"Folder: runs/{folder.name}\n" in out
    assert f"Report: runs/{folder.name}/report.html" in out
    assert all(len(line) <= 80 for line in out.splitlines())


def test_arms_are_run_one_after_the_other_and_compared(
    capfd: pytest.CaptureFixture[str],
) -> None:
    command = ["run", "baselines", *sets("rules.rounds=8", "partition.alpha=0.1", "engine=array")]
    command += ["--out", "b"]
    assert main([*command, "--json"]) == 0
    arms = json.loads(capfd.readouterr().out.splitlines()[-1])["arms"]
    assert list(arms) == ["local", "gossip", "fedavg", "all-reduce", "pooled"]
    local, *others = (arms[name]["accuracy_mean"] for name in arms)
    assert all(local < other - 0.2 for other in others)
    assert [arms[name]["peers"] for name in arms] == [5, 5, 5, 5, 1]
    assert arms["local"]["bytes_sent"] == arms["pooled"]["bytes_sent"] == 0


def test_without_an_argument_the_scenarios_are_listed(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run"]) == 0
    told = capfd.readouterr().out
    assert main(["run", "--json"]) == 0
    rows = json.loads(capfd.readouterr().out)
    assert [row["name"] for row in rows] == [
        "baselines",
        "chaos",
        "frugal",
        "liar",
        "partition",
        "quickstart",
        "ten-thousand",
    ]
    assert all(row["name"] in told and row["description"].split()[0] in told for row in rows)


def test_what_a_run_leaves_can_be_run_again(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "quickstart", *sets(), "--out", "one", "--json"]) == 0
    assert main(["run", "one/scenario.toml", "--out", "two", "--json"]) == 0
    one, two = (Path(name, "events.jsonl").read_bytes() for name in ("one", "two"))
    assert one == two
    capfd.readouterr()


# --- what it refuses ---------------------------------------------------------------------------


def test_a_folder_is_never_overwritten(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "it").mkdir()
    (tmp_path / "it" / "precious").write_text("mine")
    assert main(["run", "quickstart", *sets(), "--out", "it", "--json"]) == 2
    assert failure(capfd)["fix"] == "choose another with --out"
    assert [path.name for path in (tmp_path / "it").iterdir()] == ["precious"]
    (tmp_path / "file").write_text("")
    assert main(["run", "quickstart", *sets(), "--out", "file", "--json"]) == 2
    assert main(["run", "quickstart", *sets(), "--out", "file/below", "--json"]) == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["quickstrat"], "did you mean 'quickstart'?"),
        (["absent.toml"], "there is no such file"),
        (["quickstart", "--set", "rules.round=3"], "did you mean 'rounds'?"),
        (["quickstart", "--set", "nothing"], "not of the form key=value"),
        (["quickstart", "--engine", "warp"], "--engine warp"),
        (["quickstart", "--transport", "pigeon"], "--transport pigeon"),
        (["quickstart", "--seed", "-1"], "--seed -1"),
        (["liar", "--engine", "live"], "add --engine sim"),
        (["partition", "--engine", "live", "--transport", "memory"], "add --engine sim"),
        (
            ["quickstart", "--processes", "--transport", "mqtt", "--set", "faults.loss=0.1"],
            "add --set broker=mosquitto",
        ),
        (
            [
                "chaos",
                "--engine",
                "live",
                "--processes",
                "--transport",
                "mqtt",
                "--set",
                "broker=mosquitto",
            ],
            "leave cuts or crashes out",
        ),
        (["liar", "--processes"], "a simulation runs all peers in one process"),
        (["quickstart", "--processes", "--transport", "memory"], "cannot share memory"),
    ],
)
def test_a_mistake_has_one_message_and_makes_no_folder(
    arguments: list[str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *arguments, "--out", "it", "--json"]) == 2
    told = failure(capfd)
    assert said in " ".join((told["what"], told["where"], told["fix"]))
    assert not (tmp_path / "it").exists()


def test_a_seed_that_is_no_number_is_a_mistake(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "quickstart", "--seed", "many"]) == 2
    assert "'--seed'" in capfd.readouterr().err


def test_a_run_that_fails_says_so_in_its_folder(capfd: pytest.CaptureFixture[str]) -> None:
    wrong = 'learner={kind="softmax", features=63, classes=10}'
    assert main(["run", "quickstart", *sets(wrong), "--out", "it", "--json"]) == 2
    assert "63" in json.dumps(failure(capfd))
    assert summarise(Path("it")).outcome == "failed"


# --- stopping it -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "with_signal"),
    [
        (["--engine", "sim"], signal.SIGINT),
        (["--engine", "live", "--transport", "memory"], signal.SIGINT),
        (["--engine", "live", "--processes"], signal.SIGTERM),
    ],
)
def test_a_run_that_is_stopped_leaves_a_readable_folder(
    how: list[str], with_signal: signal.Signals, tmp_path: Path
) -> None:
    scenario = small("peers=3", "rules.rounds=100000")
    (tmp_path / "long.toml").write_text(to_toml(scenario))
    folder = tmp_path / "it"
    process = subprocess.Popen(
        [sys.executable, "-m", "tidings", "run", "long.toml", *how, "--out", str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(lambda: evaluations(folder) > 20, process)
    process.send_signal(with_signal)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"Interrupted. What happened until then: tidings inspect {folder}" in err
    assert "Traceback" not in err
    summary = summarise(folder)
    assert summary.outcome == "interrupted"
    assert summary.rounds > 3
    assert summary.corrupt_lines == 0
    *_, last = RunLog(folder)
    assert isinstance(last.event, RunFinished)
    assert summary.duration_s > 0
    for lock in folder.glob("peers/*/lock"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(lock.read_text()), 0)


def evaluations(folder: Path) -> int:
    return sum(log.read_text().count('"evaluated"') for log in folder.glob("**/events.jsonl"))


def wait_for(condition: Any, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 100  # noqa: TID251
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "the run did not get going"  # noqa: TID251
        time.sleep(0.05)


# --- the progress ------------------------------------------------------------------------------


def drawn(*runs: list[LogLine], width: int, arms: tuple[str, ...] = ("gossip",)) -> str:
    scenario = small("peers=10", "rules.rounds=20")
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture, RunProgress(console, arms) as progress:
        for arm, lines in zip(arms, runs, strict=True):
            for line in lines:
                progress.watch(scenario.model_copy(update={"arms": (arm,)}), line)
    return capture.get()


def finished_lines(rounds: int = 20) -> list[LogLine]:
    return [
        LogLine(time=time, peer=peer, event=event)
        for time, peer, event in honest_run(rounds=rounds)
    ]


def test_the_progress_fits_eighty_columns() -> None:
    shown = drawn(finished_lines(), width=80).splitlines()
    assert all(len(line) <= 80 for line in shown)
    bar, figures = (line.rstrip() for line in shown if line.strip())
    assert re.fullmatch(r"quickstart ━+ round 20/20 \d:\d\d:\d\d", bar)
    assert re.fullmatch(
        r"  accuracy \d\d\.\d % \(worst \d\d\.\d %\)  consensus distance [\d.]+  epsilon 11\.18",
        figures,
    )


def test_the_progress_shows_where_half_of_the_peers_are() -> None:
    # four of ten are away from round 5 on
    lines = [
        line
        for line in finished_lines()
        if line.time < 6 or line.peer not in ("peer-00", "peer-01", "peer-02", "peer-03")
    ]
    assert "round 20/20" in drawn(lines, width=80)
    lines = [line for line in finished_lines() if line.time < 6 or line.peer in ("peer-00", "")]
    assert re.search(r"round +5/20", drawn(lines, width=80))


def test_each_arm_has_its_own_progress() -> None:
    shown = drawn(finished_lines(), finished_lines(rounds=10), width=80, arms=("local", "gossip"))
    assert re.search(r"quickstart local ━+ round 20/20", shown)
    assert re.search(r"quickstart gossip ━+[ ━╸╺]* round 10/20", shown)


def test_the_progress_shows_nothing_before_anything_was_tested() -> None:
    shown = drawn([LogLine(time=0.0, peer="", event=run_started())], width=80)
    assert re.search(r"round +0/20", shown)
    assert "starting" in shown
