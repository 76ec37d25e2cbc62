"""Learning curves in memory, and what the defaults and the bundled `frugal` come to."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.scenarios.small import small
from tidings.gossip.events import Evaluated, Sent
from tidings.scenarios.curves import Curve, learning_curve
from tidings.scenarios.run_log import LogLine
from tidings.scenarios.runner import run_scenario
from tidings.scenarios.scenario import Scenario, load_scenario, resolve_scenario

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "learning.py"


def logged(scenario: Scenario, folder: Path) -> Curve:
    """The same by what a run notes."""
    lines: list[LogLine] = []
    run_scenario(scenario, folder, lambda _, line: lines.append(line))
    tested = [line.event for line in lines if isinstance(line.event, Evaluated)]
    sent = [line.event for line in lines if isinstance(line.event, Sent)]
    rounds = scenario.rules.rounds
    accuracy = [np.mean([e.accuracy for e in tested if e.round == r + 1]) for r in range(rounds)]
    return Curve(
        accuracy=np.array(accuracy),
        messages=np.array([len(sent) / scenario.peers]),
        wire_bytes=np.array([sum(each.size_bytes for each in sent) / scenario.peers]),
        ends=np.array([e.accuracy for e in tested if e.round == rounds]),
    )


@pytest.mark.parametrize("arm", ["gossip", "fedavg", "local"])
def test_a_curve_is_what_the_log_of_a_run_tells(arm: str, tmp_path: Path) -> None:
    one_peer = 'rules.topology={kind="one-peer-exponential"}'  # its frames carry sums of deltas
    compressed = "rules.compression=int4" if arm == "gossip" else "rules.compression=none"
    scenario = small("engine=array", f'arms=["{arm}"]', one_peer, compressed)
    found, told = learning_curve(scenario), logged(scenario, tmp_path / "run")
    np.testing.assert_allclose(found.accuracy, told.accuracy, atol=1e-12)
    np.testing.assert_allclose(np.sort(found.ends), np.sort(told.ends), atol=1e-12)
    assert len(found.messages) == scenario.rules.rounds
    assert found.messages[-1] == pytest.approx(told.messages[-1])
    assert found.wire_bytes[-1] == pytest.approx(told.wire_bytes[-1])


def test_rounds_to_an_accuracy() -> None:
    nothing = np.zeros(3)
    accuracy = np.array([np.nan, 0.5, 0.7])
    curve = Curve(accuracy=accuracy, messages=nothing, wire_bytes=nothing, ends=nothing)
    assert [curve.rounds_to(goal) for goal in (0.5, 0.6, 0.8)] == [2, 3, None]


PLAIN: dict[str, Any] = {
    "name": "plain",
    "peers": 16,
    "learner": {"module": "tidings.scenarios.models:mlp"},
    "partition": {"alpha": 0.1},
    "privacy": {"mode": "none"},
}


def test_a_file_that_chooses_nothing_learns_very_uneven_data_in_thirty_messages() -> None:
    curve = learning_curve(resolve_scenario(PLAIN | {"rules": {"rounds": 30}}, where="plain"))
    rounds = curve.rounds_to(0.9)
    assert rounds is not None
    assert curve.messages[rounds - 1] <= 30


@pytest.mark.parametrize(
    ("rules", "kind"),
    [
        ({}, "one-peer-exponential"),
        ({"weighting": "samples"}, "base"),
        ({"robust": "clipped-gossip"}, "exponential"),
        ({"pace": "asynchronous"}, "exponential"),
        ({"averaging": "push-sum"}, "exponential"),
        ({"averaging": "relay"}, "binary-tree"),
        ({"averaging": "pairwise"}, "random-regular"),
        ({"topology": {"kind": "ring"}}, "ring"),
    ],
)
def test_the_graph_of_a_file_that_names_none(rules: dict[str, Any], kind: str) -> None:
    assert resolve_scenario(PLAIN | {"rules": rules}, where="plain").rules.topology.kind == kind


def test_frugal_is_as_good_as_dpsgd_for_a_thirtieth_of_its_bytes() -> None:
    """One seed; half a point is promised of the mean over five, which the benchmark takes."""
    dpsgd = (
        "rules.optimiser=sgd",
        "rules.compression=none",
        "rules.topology.kind=ring",
        "rules.rounds=100",
        "training.local_steps=5",
    )
    frugal, plain = (learning_curve(load_scenario("frugal", sets)) for sets in ((), dpsgd))
    assert plain.wire_bytes[-1] >= 30 * frugal.wire_bytes[-1]
    assert frugal.accuracy[-1] >= plain.accuracy[-1] - 0.01


def test_the_strongest_compression_of_the_table_learns() -> None:
    """Decision 8: with restart, 2 of 100 parameters a message are enough, if slow."""
    rules = {"compression": "top-k-int8", "keep": 0.02, "rounds": 80}
    topology = {"topology": {"kind": "exponential"}}
    curve = learning_curve(resolve_scenario(PLAIN | {"rules": rules | topology}, where="plain"))
    assert curve.accuracy[-1] > 0.8


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_the_tables_hold() -> None:
    tables = ("default:", "graphs:", "stability:", "digits:", "digits28:")
    command = [sys.executable, str(BENCHMARK), "--json", "--rows", *tables]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["missed"] == []
