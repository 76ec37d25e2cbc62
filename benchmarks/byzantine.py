"""What liars cost: every robust rule against every attack.

    python benchmarks/byzantine.py [--rules nearest] [--shares dirichlet] [--liars 9]
    python benchmarks/byzantine.py --set task.dataset=tidings.scenarios.tasks:digits \\
        learner.module=tidings.scenarios.models:mlp training.learning_rate=0.5

Twenty honest nodes and some that lie, all linked with all, learn 28x28 digits (`digits28`) with a
perceptron, on alike and on uneven shares (Dirichlet 0.5). Each cell is the mean accuracy of the
honest nodes on test images, red where it is more than three points below the same rule without an
attack. As many nodes lie as the rule is told to expect. The array engine runs it; without privacy,
as noise would hide what is asked for.
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import product
from statistics import mean
from typing import get_args

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tidings.gossip.rules import RobustRule
from tidings.scenarios.attacks import OWN, SEEING
from tidings.scenarios.curves import learning_curve
from tidings.scenarios.scenario import Scenario, load_scenario

HONEST = 20
RULES = get_args(RobustRule)
ATTACKS = (*OWN, *SEEING)
SHARES = ("iid", "dirichlet")
WITHIN = 0.03

Key = tuple[str, str, str]  # rule, shares, attack


def lying(liars: int) -> list[int]:
    """Which nodes lie: they stand among the honest, not behind them."""
    apart = (HONEST + liars) / liars
    return [int(apart * (number + 0.5)) for number in range(liars)]


def scenario(rule: str, shares: str, attack: str, seed: int, asked: argparse.Namespace) -> Scenario:
    lies = [f'{{node={node}, behaviour="{attack}"}}' for node in lying(asked.liars)]
    sets = (
        f"peers={HONEST + asked.liars}",
        f"rules.rounds={asked.rounds}",
        f"rules.robust={rule}",
        f"rules.byzantine={asked.liars}",
        'rules.topology={kind="complete"}',
        "rules.compression=none",
        "rules.optimiser=qg-dsgdm",
        "rules.momentum=0.9",
        "training.local_steps=5",
        "training.batch_size=32",
        "training.learning_rate=0.1",
        "privacy.mode=none",
        "task.dataset=tidings.scenarios.tasks:digits28",
        "learner.module=tidings.scenarios.models:mlp28",
        "learner.module_args={}",
        f"partition.kind={shares}",
        "partition.alpha=0.5",
        f"faults={{liars=[{', '.join(lies) if attack else ''}]}}",
        *asked.changes,
    )
    return load_scenario("quickstart", sets, {"engine": "array", "seed": seed})


def honest_accuracy(one: Scenario, liars: int) -> float:
    ends = learning_curve(one).ends
    return float(np.delete(ends, lying(liars)).mean())


def measure(keys: list[Key], asked: argparse.Namespace) -> dict[Key, float]:
    console = Console(stderr=True)
    found = {}
    for key in track(keys, description="runs", console=console, disable=not console.is_terminal):
        runs = [scenario(*key, seed, asked) for seed in asked.seeds]
        found[key] = mean(honest_accuracy(run, asked.liars) for run in runs)
    return found


def show(found: dict[Key, float]) -> None:
    console = Console()
    rules, kinds, attacks = (list(dict.fromkeys(names)) for names in zip(*found, strict=True))
    for shares in kinds:
        table = Table(title=f"{shares}: accuracy of the honest")
        table.add_column("rule")
        for attack in attacks:
            table.add_column(attack or "no attack", justify="right")
        for rule in rules:
            calm = found[rule, shares, ""]
            held = [found[rule, shares, attack] for attack in attacks]
            colours = ["green" if each >= calm - WITHIN else "red" for each in held]
            cells = [f"[{c}]{100 * each:.1f}" for c, each in zip(colours, held, strict=True)]
            table.add_row(rule, *cells)
        console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--liars", type=int, default=5, help="beside the twenty honest nodes")
    parser.add_argument("--rules", nargs="+", choices=RULES, default=RULES)
    parser.add_argument("--shares", nargs="+", choices=SHARES, default=SHARES)
    parser.add_argument("--attacks", nargs="+", choices=ATTACKS, default=ATTACKS)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", dest="changes")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    keys = list(product(asked.rules, asked.shares, ("", *asked.attacks)))
    found = measure(keys, asked)
    if asked.json:
        rows = [
            {"rule": r, "shares": s, "attack": a, "accuracy": v} for (r, s, a), v in found.items()
        ]
        print(json.dumps(rows))
    else:
        show(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
