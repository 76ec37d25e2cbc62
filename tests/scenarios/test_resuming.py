"""Carrying on a run: a simulation from its seed, real peers from their folders, arms one by one."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scenarios.small import small
from tidings.__main__ import main
from tidings.crypto.errors import ConfigError
from tidings.crypto.ledger import Ledger
from tidings.gossip.events import Evaluated, PeerStarted
from tidings.peer.folder import PeerFolder
from tidings.scenarios.engines.array.checkpoint import NAME as CHECKPOINT
from tidings.scenarios.resuming import BEFORE, resume_scenario
from tidings.scenarios.run_log import LOG_NAME, LogLine, RunLog
from tidings.scenarios.runner import run_scenario
from tidings.scenarios.scenario import Scenario
from tidings.scenarios.summary import summarise


def unseen(*_: object) -> None:
    """Nobody looks."""


def stopping(round_: int, *, arm: str | None = None) -> Callable[[Scenario, LogLine], None]:
    """Ctrl-C, once, when a peer was tested in this round (of that arm)."""
    stopped: list[bool] = []

    def watch(scenario: Scenario, line: LogLine) -> None:
        there = isinstance(line.event, Evaluated) and line.event.round == round_
        if there and not stopped and arm in (None, *scenario.arms):
            stopped.append(True)
            signal.raise_signal(signal.SIGINT)

    return watch


def interrupted(scenario: Scenario, folder: Path, round_: int, *, arm: str | None = None) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_scenario(scenario, folder, stopping(round_, arm=arm))


@pytest.mark.parametrize("sets", [(), ("engine=array", "arms=['fedavg']")], ids=["sim", "fedavg"])
def test_what_follows_from_a_seed_comes_to_the_same_log(
    tmp_path: Path, sets: tuple[str, ...]
) -> None:
    scenario = small("rules.rounds=6", *sets)
    run_scenario(scenario, tmp_path / "whole", unseen)
    interrupted(scenario, tmp_path / "parts", 3)
    (log,) = (tmp_path / "parts").rglob(LOG_NAME)
    first = log.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        resume_scenario(tmp_path / "parts", stopping(2))
    assert log.read_bytes() == first, "a stop before the old one loses nothing"
    resume_scenario(tmp_path / "parts", unseen)
    whole, parts = (sorted((tmp_path / name).rglob(LOG_NAME)) for name in ("whole", "parts"))
    assert [log.read_bytes() for log in parts] == [log.read_bytes() for log in whole]
    assert not list((tmp_path / "parts").rglob(BEFORE))


def test_a_run_of_other_versions_is_not_carried_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    interrupted(small("rules.rounds=6"), run, 3)
    log = run / LOG_NAME
    log.write_text(log.read_text().replace('"accuracy":0.', '"accuracy":0.9', 1))
    first = log.read_bytes()
    with pytest.raises(ConfigError, match=r"what it came to before, from line \d+ on"):
        resume_scenario(run, unseen)
    assert (run / BEFORE).read_bytes() == first


@pytest.mark.parametrize("transport", ["memory", pytest.param("mqtt", marks=pytest.mark.nightly)])
def test_real_peers_carry_on_from_their_folders(tmp_path: Path, transport: str) -> None:
    run = tmp_path / "run"
    sets = ("engine=live", f"transport={transport}", "rules.rounds=12", "privacy.mode=record")
    scenario = small(*sets)
    interrupted(scenario, run, 4)
    assert summarise(run).outcome == "interrupted"
    resume_scenario(run, unseen)
    summary = summarise(run)
    assert summary.outcome == "finished"
    assert summary.copies_agree
    starts = [line.event for line in RunLog(run) if isinstance(line.event, PeerStarted)]
    again = starts[scenario.peers :]
    assert len(again) == scenario.peers
    assert all(start.round >= 4 and start.sequence >= 3 for start in again)
    for name in scenario.names():
        ledger = Ledger(PeerFolder(run / "peers" / name).database_file)
        paid = [entry.round for entry in ledger.entries()]
        ledger.close()
        # the round in which it was stopped may be paid for again, at the expense of the last
        assert sorted(set(paid)) == list(range(1, max(paid) + 1))
        assert max(paid) >= 11
        assert len(paid) == 12


def test_of_a_comparison_what_is_missing_is_run(tmp_path: Path) -> None:
    sets = ("rules.rounds=5", "arms=['local', 'gossip', 'pooled']")
    run_scenario(small(*sets), tmp_path / "whole", unseen)
    interrupted(small(*sets), tmp_path / "parts", 3, arm="gossip")
    assert not (tmp_path / "parts" / "pooled").exists()
    seen: list[str] = []
    folders = resume_scenario(tmp_path / "parts", lambda scenario, _: seen.append(scenario.arms[0]))
    assert list(folders) == ["local", "gossip", "pooled"]
    assert set(seen) == {"gossip", "pooled"}
    for arm, folder in folders.items():
        whole = tmp_path / "whole" / arm / LOG_NAME
        assert (folder / LOG_NAME).read_bytes() == whole.read_bytes()


def test_what_cannot_be_carried_on_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_scenario(small("rules.rounds=1"), tmp_path / "run", unseen)
    assert main(["run", "--resume", str(tmp_path / "run")]) == 2
    assert "this run has come to its end" in capsys.readouterr().err
    assert main(["run", "--resume", str(tmp_path / "absent")]) == 2
    assert str(tmp_path / "absent") in capsys.readouterr().err
    crashing = small(
        "engine=live", "transport=memory", "faults.crashes=[{node=0, at_s=99, for_s=1}]"
    )
    interrupted(crashing, tmp_path / "crashing", 2)
    with pytest.raises(ConfigError, match="timed from its beginning"):
        resume_scenario(tmp_path / "crashing", unseen)
    assert not (tmp_path / "run" / CHECKPOINT).exists()
