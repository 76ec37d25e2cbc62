"""Folders of a small network's peers, ready to run."""

from __future__ import annotations

from pathlib import Path

from tidings.peer.folder import PeerFolder
from tidings.scenarios.engines.town import Town, prepare
from tidings.scenarios.scenario import load_scenario


def small_network(folder: Path, *sets: str, peers: int = 2, rounds: int = 3) -> list[PeerFolder]:
    """Peers that train softmax regression on digits, on a ring; ``sets`` override settings."""
    return small_town(folder, *sets, peers=peers, rounds=rounds).folders


def small_town(folder: Path, *sets: str, peers: int = 2, rounds: int = 3) -> Town:
    """The same with the broker that they use, which does not run yet."""
    scenario = load_scenario(
        "quickstart",
        (
            f"peers={peers}",
            f"rules.rounds={rounds}",
            "rules.deadline_s=5.0",
            f'rules.topology={{kind="{"ring" if peers > 1 else "none"}"}}',
            'learner={kind="softmax", features=64, classes=10}',
            "privacy.mode=none",
            *sets,
        ),
    )
    return prepare(scenario, folder)
