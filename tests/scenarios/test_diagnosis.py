"""Planted faults are named, each by its name, and a run in which all is well is left in peace.

Seeds vary from run to run: a failure prints the one that repeats it (``TIDINGS_SEED=... pytest``).
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from tests.scenarios.small import simulate, small
from tidings.scenarios.diagnosis import Finding, diagnose
from tidings.scenarios.inspection import Selection, inspect_log
from tidings.scenarios.run_log import RunLog
from tidings.scenarios.runner import run_scenario

SEED = int(os.environ.get("TIDINGS_SEED", "0")) or 1 + secrets.randbelow(2**31)

CALM = ("peers=8", "rules.rounds=12", "partition.alpha=100.0")


def topology(kind: str) -> str:
    return f'rules.topology={{kind="{kind}"}}'


HEALTHY = {
    "complete": (topology("complete"),),
    "ring": (topology("ring"),),
    "one-peer": (topology("one-peer-exponential"),),
    "uneven": (topology("exponential"), "partition.alpha=0.5"),
    "lossy": (topology("exponential"), "faults.loss=0.02", "faults.jitter_s=0.01"),
    "private": (topology("exponential"), "privacy.mode=record", "privacy.epsilon=8.0"),
}

HALVES = "[[0, 1, 2, 3], [4, 5, 6, 7]]"
CLIQUES = [[a, b] for half in (range(4), range(4, 8)) for a in half for b in half if a < b]
FLAPS = ", ".join(f"{{node=5, at_s={at}, for_s=0.25}}" for at in (0.3, 0.9, 1.5, 2.1))

# name: (kind of the finding, node that it names, settings)
PLANTED: dict[str, tuple[str, set[int], tuple[str, ...]]] = {
    "partition": (
        "partition",
        set(range(8)),
        ("faults.train_s=0.2", f"faults.cuts=[{{from_s=1.0, to_s=3.5, groups={HALVES}}}]"),
    ),
    "gone": ("silent-peer", {3}, ("faults.crashes=[{node=3, at_s=0.35, for_s=500.0}]",)),
    "away": (
        "silent-peer",
        {6},
        ("faults.train_s=0.2", "faults.crashes=[{node=6, at_s=0.7, for_s=1.5}]"),
    ),
    "flapping": ("flapping-peer", {5}, ("faults.train_s=0.25", f"faults.crashes=[{FLAPS}]")),
    "slow link": ("slow-link", {2, 5}, ("faults.links=[{ends=[2, 5], delay_s=0.3}]",)),
    "straggler": ("straggler", {4}, ("faults.slow=[{node=4, times=10.0}]",)),
    "equivocator": (
        "equivocator",
        {7},
        ('faults.liars=[{node=7, behaviour="equivocate", from_round=3}]',),
    ),
    "outlier": ("outlier", {1}, ('faults.liars=[{node=1, behaviour="sign-flip"}]',)),
    "label skew": (
        "label-skew",
        set(range(8)),
        (topology("exponential"), "partition.alpha=0.05"),
    ),
    "split graph": (
        "split-graph",
        set(range(8)),
        (f'rules.topology={{kind="edges", edges={CLIQUES}}}',),
    ),
    "sparse graph": ("sparse-graph", set(), (topology("ring"), "peers=24")),
    "budget": (
        "budget",
        set(range(8)),
        ("privacy.mode=record", "privacy.epsilon=3.0", "privacy.noise_multiplier=1.5"),
    ),
    "clock": ("clock", {6}, ("faults.clocks=[{node=6, ahead_s=-30.0}]",)),
}


def diagnosed(*sets: str) -> tuple[Finding, ...]:
    """What is found in a small run of this test's seed with these settings."""
    run = simulate(small(*CALM, f"seed={SEED}", *sets))
    return diagnose(run.tally)


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_named(name: str):
    kind, nodes, sets = PLANTED[name]
    found = diagnosed(*sets)
    assert [each.kind for each in found] == [kind], f"seed {SEED}: {found}"
    assert set(found[0].peers) == {f"peer-{node}" for node in nodes}, f"seed {SEED}"
    assert found[0].what
    assert found[0].advice
    assert found[0].evidence


@pytest.mark.parametrize("name", HEALTHY)
def test_a_run_in_which_all_is_well_is_left_in_peace(name: str):
    assert diagnosed(*HEALTHY[name]) == (), f"seed {SEED}"


def lived(folder: Path, *sets: str) -> tuple[Finding, ...]:
    """What is found in the logs of real peers that spoke through memory."""
    scenario = small("engine=live", "transport=memory", f"seed={SEED}", *sets)
    run_scenario(scenario, folder, lambda scenario, line: None)
    return inspect_log(RunLog(folder)).findings


EVEN = ("partition.alpha=100.0", "rules.rounds=6", "rules.deadline_s=5.0")


def test_real_peers_that_are_well_are_left_in_peace(tmp_path: Path):
    assert lived(tmp_path / "run", *EVEN) == (), f"seed {SEED}"


def test_a_budget_of_real_peers_that_ends_is_named(tmp_path: Path):
    budget = ("privacy.mode=record", "privacy.epsilon=3.0", "privacy.noise_multiplier=1.5")
    found = lived(tmp_path / "run", *EVEN, *budget, "rules.rounds=12")
    assert [each.kind for each in found] == ["budget"], f"seed {SEED}: {found}"


def test_groups_of_real_peers_that_never_meet_are_named(tmp_path: Path):
    pairs = 'rules.topology={kind="edges", edges=[[0, 1], [2, 3]]}'
    found = lived(tmp_path / "run", *EVEN, "peers=4", pairs)
    assert [each.kind for each in found] == ["split-graph"], f"seed {SEED}: {found}"


def test_a_selection_is_not_diagnosed(tmp_path: Path):
    lived(tmp_path / "run", *EVEN, "rules.rounds=2")
    some = inspect_log(RunLog(tmp_path / "run"), Selection(peers=("peer-1",)))
    assert some.findings == ()
    assert some.summary.peers == 1
