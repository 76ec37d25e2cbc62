"""No compression and no form of mixing makes a run diverge that learns well without them."""

from __future__ import annotations

from typing import Any

import pytest

from tidings.scenarios.curves import Curve, learning_curve
from tidings.scenarios.scenario import resolve_scenario

COMPRESSIONS: dict[str, dict[str, Any]] = {
    "top 1 %": {"compression": "top-k-int8", "keep": 0.01},
    "top 2 %": {"compression": "top-k-int8", "keep": 0.02},
    "top 5 %": {"compression": "top-k-int8", "keep": 0.05},
    "top 25 %": {"compression": "top-k-int8", "keep": 0.25},
    "random 10 %": {"compression": "random-k-int8", "keep": 0.1},
    "sign": {"compression": "sign"},
    "int4": {"compression": "int4"},
    "rank 2": {"compression": "low-rank", "rank": 2},
    "rank 4": {"compression": "low-rank"},
}
FALLS = 0.04  # what a curve that has settled may lose to the luck of a round


def run(rounds: int, rate: float, graph: str, alpha: float, rules: dict[str, Any]) -> Curve:
    """Sixteen peers on the digits."""
    mapping: dict[str, Any] = {
        "name": "no-divergence",
        "engine": "array",
        "peers": 16,
        "learner": {"module": "tidings.scenarios.models:mlp"},
        "privacy": {"mode": "none"},
        "partition": {"alpha": alpha},
        "training": {"learning_rate": rate},
        "rules": {"rounds": rounds, "topology": {"kind": graph}, **rules},
    }
    return learning_curve(resolve_scenario(mapping, where="no-divergence"))


def assert_settled(curve: Curve, least: float) -> None:
    """It has learnt, and at its end it is where it was at its best."""
    assert curve.accuracy.max() >= least
    assert curve.accuracy[-1] >= curve.accuracy.max() - FALLS


@pytest.mark.parametrize(
    ("name", "optimiser"), [("top 5 %", "qg-dsgdm"), ("rank 2", "qg-dsgdm"), ("rank 2", "k-gt")]
)
def test_feedback_lasts(name: str, optimiser: str) -> None:
    # They fell to 11, 27 and 68 % where pulls were kept, momentum was kept, nothing was forgotten.
    rules = {"mixing": "feedback", "optimiser": optimiser, **COMPRESSIONS[name]}
    assert_settled(run(300, 0.5, "exponential", 0.1, rules), 0.9)


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("momentum", "rate", "graph", "alpha"),
    [
        (0.95, 0.5, "exponential", 0.1),
        (0.9, 0.1, "ring", 0.1),
        (0.9, 0.5, "one-peer-exponential", 0.1),
        (0.5, 0.5, "ring", 0.5),
    ],
)
@pytest.mark.parametrize("name", COMPRESSIONS)
def test_momentum_and_feedback_last(
    name: str, momentum: float, rate: float, graph: str, alpha: float
) -> None:
    rules = {"mixing": "feedback", "momentum": momentum, **COMPRESSIONS[name]}
    assert_settled(run(1000, rate, graph, alpha, rules), 0.6)


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("optimiser", "mixing"),
    [
        ("sgd", "feedback"),
        ("outer-momentum", "feedback"),
        ("k-gt", "feedback"),
        ("k-gt", "restart"),
        ("beer", "feedback"),
        ("beer", "restart"),
    ],
)
@pytest.mark.parametrize("name", COMPRESSIONS)
def test_other_rules_last(name: str, optimiser: str, mixing: str) -> None:
    rules = {"mixing": mixing, "optimiser": optimiser, **COMPRESSIONS[name]}
    assert_settled(run(400, 0.5, "exponential", 0.1, rules), 0.6)


@pytest.mark.nightly
@pytest.mark.parametrize("name", [each for each in COMPRESSIONS if not each.startswith("rank")])
def test_choco_lasts_without_momentum(name: str) -> None:
    rules = {"mixing": "choco", "optimiser": "sgd", **COMPRESSIONS[name]}
    assert_settled(run(400, 0.5, "exponential", 0.1, rules), 0.6)
