"""Costs worked out in another process and remembered: the same numbers, and no stale ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tidings.crypto.accounting import HERE, Accountant, PrivacyEvent
from tidings.crypto.errors import ConfigError, StorageError
from tidings.crypto.ledger import Ledger
from tidings.crypto.privacy import PrivacyGate
from tidings.crypto.privacy_settings import PrivacySettings
from tidings.peer import costs
from tidings.peer.costs import Remembered

DELTA = 1e-5
STEP = PrivacyEvent(mechanism="poisson-gaussian", noise_multiplier=1.5, sampling_rate=0.3)
BUDGET = {"epsilon": 4.0, "delta": DELTA, "sampling_rate": 0.3, "steps": 6}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many questions each other process got; it is answered here, for speed."""
    calls: list[int] = []

    def answer(questions: list[costs.Question]) -> list[float]:
        calls.append(len(questions))
        # by way of JSON, as between processes
        return list(costs._reply(json.loads(json.dumps(questions)))["answers"])

    monkeypatch.setattr(costs, "_in_another_process", answer)
    return calls


def test_another_process_gives_the_same_numbers(tmp_path: Path) -> None:
    remembered = Remembered(tmp_path / "costs.json")
    noise = remembered.calibrate(mechanism="poisson-gaussian", **BUDGET)
    assert noise == HERE.calibrate(mechanism="poisson-gaussian", **BUDGET)
    groups = ((noise, 0.3, 6), (2.0, 1.0, 1))
    assert remembered.epsilon(groups, DELTA) == HERE.epsilon(groups, DELTA)


def test_what_is_planned_is_asked_once_and_kept(tmp_path: Path, asked: list[int]) -> None:
    file = tmp_path / "costs.json"
    accountant = Accountant(DELTA, composition=Remembered(file))
    here = Accountant(DELTA)
    accountant.foresee(STEP, 5)
    for _ in range(5):
        accountant.foresee(STEP, 5)
        assert accountant.would_be(STEP) == here.would_be(STEP)
        accountant.add(STEP)
        here.add(STEP)
        assert accountant.epsilon() == here.epsilon()
    assert asked == [5]

    again = Accountant(DELTA, [STEP] * 3, Remembered(file))
    again.foresee(STEP, 2)
    assert again.would_be(STEP) == Accountant(DELTA, [STEP] * 4).epsilon()
    assert asked == [5]
    again.would_be(PrivacyEvent(mechanism="gaussian", noise_multiplier=3.0))
    assert asked == [5, 1]


def test_exact_costs_need_no_other_process(tmp_path: Path, asked: list[int]) -> None:
    remembered = Remembered(tmp_path / "costs.json")
    event = PrivacyEvent(mechanism="gaussian", noise_multiplier=3.0)
    accountant = Accountant(DELTA, [event], remembered)
    accountant.foresee(event, 10)
    assert accountant.would_be(event) == Accountant(DELTA, [event, event]).epsilon()
    remembered.calibrate(epsilon=1.0, delta=DELTA, sampling_rate=1.0, steps=3, mechanism="gaussian")
    assert asked == []
    assert not (tmp_path / "costs.json").exists()


def _torn(text: str) -> str:
    return text[: len(text) // 2]


def _of_another_library(text: str) -> str:
    held = json.loads(text)
    held["made_by"]["dp-accounting"] = "0.0.1"
    return json.dumps(held)


def _negative(text: str) -> str:
    held = json.loads(text)
    held["answers"] = dict.fromkeys(held["answers"], -1.0)
    return json.dumps(held)


def _not_numbers(text: str) -> str:
    held = json.loads(text)
    held["answers"] = dict.fromkeys(held["answers"], float("nan"))
    return json.dumps(held)


@pytest.mark.parametrize(
    "spoil", [_torn, _of_another_library, _negative, _not_numbers, lambda text: "[]", lambda t: ""]
)
def test_a_file_that_cannot_be_relied_on_is_worked_out_anew(
    tmp_path: Path, asked: list[int], spoil: Callable[[str], str]
) -> None:
    file = tmp_path / "costs.json"
    groups = ((1.5, 0.3, 1),)
    first = Remembered(file).epsilon(groups, DELTA)
    file.write_text(spoil(file.read_text()))
    assert Remembered(file).epsilon(groups, DELTA) == first
    assert asked == [1, 1]
    assert Remembered(file).epsilon(groups, DELTA) == first
    assert asked == [1, 1]


def test_an_impossible_budget_is_told_as_if_asked_here(tmp_path: Path) -> None:
    impossible = {"epsilon": 1e-7, "delta": 1e-12, "sampling_rate": 0.9, "steps": 10**6}
    with pytest.raises(ConfigError) as here:
        HERE.calibrate(mechanism="poisson-gaussian", **impossible)
    with pytest.raises(ConfigError) as there:
        Remembered(tmp_path / "costs.json").calibrate(mechanism="poisson-gaussian", **impossible)
    assert str(there.value) == str(here.value)


@pytest.mark.parametrize("done", [(1, "", "Killed"), (0, "no JSON", ""), (0, '{"answers":[]}', "")])
def test_a_process_that_fails_gives_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: tuple[int, str, str]
) -> None:
    code, out, err = done
    monkeypatch.setattr(
        subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], code, out, err)
    )
    with pytest.raises(StorageError, match="worked out"):
        Remembered(tmp_path / "costs.json").epsilon(((1.5, 0.3, 1),), DELTA)
    assert not (tmp_path / "costs.json").exists()


def test_a_gate_that_remembers_decides_as_one_that_computes(
    tmp_path: Path, asked: list[int]
) -> None:
    settings = PrivacySettings(mode="record", epsilon=3.0, sampling_rate=0.4)
    plan = {"samples": 50, "planned_steps": 8, "planned_releases": 4, "entropy": bytes}
    here = PrivacyGate(settings, Ledger(None), **plan)
    remembers = PrivacyGate(
        settings, Ledger(None), composition=Remembered(tmp_path / "costs.json"), **plan
    )
    assert remembers.noise_multiplier == here.noise_multiplier
    assert remembers.affordable(2) is None
    assert asked == [1, 4]  # the noise, then all planned rounds
    assert remembers.affordable(30) == here.affordable(30) is not None


def test_a_start_that_was_foreseen_loads_no_scipy(tmp_path: Path) -> None:
    program = """
import os, sys
from pathlib import Path
from tidings.peer.costs import Remembered
from tidings.crypto.ledger import Ledger
from tidings.crypto.privacy import PrivacyGate
from tidings.crypto.privacy_settings import PrivacySettings
gate = PrivacyGate(
    PrivacySettings(mode="record", epsilon=3.0, sampling_rate=0.4), Ledger(None), samples=50,
    planned_steps=8, planned_releases=4, entropy=os.urandom,
    composition=Remembered(Path(sys.argv[1])),
)
assert gate.affordable(2) is None
assert not {"scipy", "dp_accounting"} & sys.modules.keys()
"""
    command = [sys.executable, "-c", program, str(tmp_path / "costs.json")]
    subprocess.run(command, check=True)
