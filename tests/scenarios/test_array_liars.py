"""Liars of the array engine: what they do to plain gossip, and what a robust rule leaves of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests.scenarios.small import small
from tidings.crypto.errors import ConfigError
from tidings.scenarios.attacks import SEEING
from tidings.scenarios.curves import learning_curve
from tidings.scenarios.runner import run_scenario

LIARS = (1, 5, 8)
POINTS = 0.03  # what a robust rule may lose
HARMFUL = ("sign-flip", "noise", "label-flip")  # to plain gossip


@cache
def honest_accuracy(attack: str, robust: str) -> float:
    """Mean accuracy of the honest peers at the end."""
    lies = [f'{{node={node}, behaviour="{attack}"}}' for node in LIARS] if attack else []
    scenario = small(
        "peers=10",
        "engine=array",
        "rules.rounds=25",
        "rules.topology.kind=complete",
        f"rules.byzantine={len(LIARS)}",
        f"rules.robust={robust}",
        "partition.kind=iid",
        f"faults={{liars=[{', '.join(lies)}]}}",
    )
    return float(np.delete(learning_curve(scenario).ends, LIARS).mean())


@pytest.mark.parametrize("robust", ["nearest", "clipped-gossip"])
@pytest.mark.parametrize("attack", [*HARMFUL, "ipm", "alie", "dissensus", "spectral"])
def test_a_robust_rule_keeps_what_an_attack_would_take(attack: str, robust: str) -> None:
    assert honest_accuracy(attack, robust) >= honest_accuracy("", robust) - POINTS


@pytest.mark.parametrize("attack", HARMFUL)
def test_plain_gossip_loses_more(attack: str) -> None:
    assert honest_accuracy(attack, "none") < honest_accuracy("", "none") - POINTS


@pytest.mark.parametrize("attack", SEEING)
def test_attackers_that_see_everything_need_the_array_engine(attack: str, tmp_path: Path) -> None:
    scenario = small("engine=sim", f'faults={{liars=[{{node=0, behaviour="{attack}"}}]}}')
    with pytest.raises(ConfigError, match="sees what all others learnt"):
        run_scenario(scenario, tmp_path / "run", lambda *_: None)


def test_lies_that_need_frames_are_refused(tmp_path: Path) -> None:
    scenario = small("engine=array", 'faults={liars=[{node=0, behaviour="forge"}]}')
    with pytest.raises(ConfigError, match="breaks the protocol's frames"):
        run_scenario(scenario, tmp_path / "run", lambda *_: None)
