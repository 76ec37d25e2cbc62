"""A run that is stopped and carried on comes to the bits of one that was not."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.scenarios.small import small
from tidings.crypto.errors import ConfigError
from tidings.gossip.events import Mixed
from tidings.scenarios.engines.array import engine
from tidings.scenarios.engines.array.checkpoint import NAME
from tidings.scenarios.resuming import resume_scenario
from tidings.scenarios.run_log import LogLine, RunLog
from tidings.scenarios.runner import run_scenario
from tidings.scenarios.scenario import Scenario
from tidings.scenarios.summary import summarise

STOPPED_IN = 4


def array_scenario(*sets: str) -> Scenario:
    return small("engine=array", "rules.rounds=9", *sets)


TRACKING = ("rules.optimiser=k-gt", "rules.mixing=feedback")
PUSHED = ("rules.averaging=push-sum", "rules.compression=none", "rules.pace=asynchronous")
RELAYED = ("rules.averaging=relay", "rules.compression=none", "rules.topology.kind=star")
MEETING = ("rules.averaging=pairwise", "rules.compression=none", "rules.pace=asynchronous")


@pytest.mark.parametrize(
    ("lines", "sets"),
    [(True, TRACKING), (False, TRACKING), (False, PUSHED), (True, RELAYED), (True, MEETING)],
)
def test_a_stopped_run_is_carried_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: bool, sets: tuple[str, ...]
) -> None:
    if not lines:
        monkeypatch.setattr("tidings.scenarios.engines.array.start.PEERS_IN_LINES", 1)
    weather = "faults={loss=0.1, delay_s=0.01, crash_every_s=0.3, crash_for_s=0.4}"
    scenario = array_scenario(weather, *sets)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run_scenario(scenario, whole, lambda *_: None)

    asked = False

    def stop_once(_: Scenario, line: LogLine) -> None:
        nonlocal asked
        if not asked and getattr(line.event, "round", 0) == STOPPED_IN:
            asked = True
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_scenario(scenario, parts, stop_once)
    assert summarise(parts).outcome == "interrupted"
    assert 0 < summarise(parts).rounds < 9

    resume_scenario(parts, lambda *_: None)
    assert events(parts) == events(whole)
    assert summarise(parts).as_json() == summarise(whole).as_json() | {"name": scenario.name}


def events(folder: Path) -> list[str]:
    return sorted(f"{line.time} {line.peer} {line.event}" for line in RunLog(folder))


def test_a_killed_run_is_carried_on_from_its_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "CHECKPOINT_S", 0.0)
    scenario = array_scenario()
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run_scenario(scenario, whole, lambda *_: None)

    class Killed(BaseException):
        """Nothing is tidied up."""

    def die(_: Scenario, line: LogLine) -> None:
        if isinstance(line.event, Mixed) and line.event.round == STOPPED_IN:
            raise Killed

    with pytest.raises(Killed):
        run_scenario(scenario, parts, die)
    resume_scenario(parts, lambda *_: None)
    assert events(parts) == events(whole)


def test_a_checkpoint_of_another_scenario_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "CHECKPOINT_S", 0.0)
    run_scenario(array_scenario(), tmp_path / "run", lambda *_: None)
    file = tmp_path / "run" / "scenario.toml"
    file.write_text(file.read_text().replace('optimiser = "qg-dsgdm"', 'optimiser = "sgd"'))
    with pytest.raises(ConfigError, match="not one of this scenario"):
        resume_scenario(tmp_path / "run", lambda *_: None)
    (tmp_path / "run" / NAME).write_bytes(b"nonsense")
    with pytest.raises(Exception, match="cannot be read"):
        resume_scenario(tmp_path / "run", lambda *_: None)
    assert json.loads(json.dumps(summarise(tmp_path / "run").as_json()))
