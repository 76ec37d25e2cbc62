"""Liars of the array engine: what they do to plain gossip, and what a robust rule leaves of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.small import small
from tidings.crypto.errors import ConfigError
from tidings.scenarios.attacks import SEEING
from tidings.scenarios.runner import run_scenario
from tidings.scenarios.summary import summarise

LIARS = (1, 5)


def honest_accuracy(folder: Path, attack: str, robust: str) -> float:
    """Mean accuracy of the honest peers at the end."""
    lies = [f'{{node={node}, behaviour="{attack}"}}' for node in LIARS] if attack else []
    scenario = small(
        "peers=10",
        "engine=array",
        "rules.rounds=25",
        "rules.topology.kind=complete",
        "rules.byzantine=2",
        f"rules.robust={robust}",
        "partition.kind=iid",
        f"faults={{liars=[{', '.join(lies)}]}}",
    )
    run_scenario(scenario, folder, lambda *_: None)
    rows = [row for row in summarise(folder).by_peer if row.index not in LIARS]
    return sum(row.accuracy or 0.0 for row in rows) / len(rows)


@pytest.mark.parametrize("attack", ["sign-flip", "noise", "ipm", "alie", "dissensus", "spectral"])
def test_a_robust_rule_keeps_what_an_attack_would_take(attack: str, tmp_path: Path) -> None:
    calm = honest_accuracy(tmp_path / "calm", "", "clipped-gossip")
    kept = honest_accuracy(tmp_path / "kept", attack, "clipped-gossip")
    assert kept > calm - 0.06


def test_plain_gossip_suffers_from_noise(tmp_path: Path) -> None:
    calm = honest_accuracy(tmp_path / "calm", "", "none")
    fallen = honest_accuracy(tmp_path / "fallen", "noise", "none")
    assert fallen < calm - 0.02


@pytest.mark.parametrize("attack", SEEING)
def test_attackers_that_see_everything_need_the_array_engine(attack: str, tmp_path: Path) -> None:
    scenario = small("engine=sim", f'faults={{liars=[{{node=0, behaviour="{attack}"}}]}}')
    with pytest.raises(ConfigError, match="sees what all others learnt"):
        run_scenario(scenario, tmp_path / "run", lambda *_: None)


def test_lies_that_need_frames_are_refused(tmp_path: Path) -> None:
    scenario = small("engine=array", 'faults={liars=[{node=0, behaviour="forge"}]}')
    with pytest.raises(ConfigError, match="breaks the protocol's frames"):
        run_scenario(scenario, tmp_path / "run", lambda *_: None)
