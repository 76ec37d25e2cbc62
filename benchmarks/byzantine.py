"""What liars cost: every robust rule against every attack.

    python benchmarks/byzantine.py [--seeds 1] [--rules clipped-gossip] [--json]

Twenty honest nodes and some that lie, all linked with all, learn 28x28 digits (`digits28`) with a
perceptron, on alike and on uneven shares (Dirichlet 0.5). Each cell is the mean accuracy of the
honest nodes on test images, in points below the same rule without an attack. As many nodes lie as
the rule is told to expect. The array engine runs it; without privacy, as noise would hide what is
asked for.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
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
LYING = (2, 7, 12, 17, 22)  # they stand among the honest, not behind them
LIARS = len(LYING)
ATTACKS = ("", *OWN, *SEEING)  # "" is none
SHARES = {"iid": "iid", "Dirichlet 0.5": "dirichlet"}
WITHIN = 0.03

Key = tuple[str, str, str]  # rule, shares, attack


def scenario(rule: str, shares: str, attack: str, seed: int, rounds: int) -> Scenario:
    lies = [f'{{node={node}, behaviour="{attack}"}}' for node in LYING]
    sets = (
        f"peers={HONEST + LIARS}",
        f"rules.rounds={rounds}",
        f"rules.robust={rule}",
        f"rules.byzantine={LIARS}",
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
        f"partition.kind={SHARES[shares]}",
        "partition.alpha=0.5",
        f"faults={{liars=[{', '.join(lies) if attack else ''}]}}",
    )
    return load_scenario("quickstart", sets, {"engine": "array", "seed": seed})


def honest_accuracy(one: Scenario) -> float:
    ends = learning_curve(one).ends
    return float(np.delete(ends, LYING).mean())


def measure(rules: list[str], seeds: list[int], rounds: int, console: Console) -> dict[Key, float]:
    keys = list(all_keys(rules))
    found = {}
    for key in track(keys, description="runs", console=console, disable=not console.is_terminal):
        found[key] = mean(honest_accuracy(scenario(*key, seed, rounds)) for seed in seeds)
    return found


def all_keys(rules: list[str]) -> Iterator[Key]:
    return ((rule, shares, attack) for rule in rules for shares in SHARES for attack in ATTACKS)


def show(found: dict[Key, float], rules: list[str], console: Console) -> None:
    for shares in SHARES:
        table = Table(title=f"{shares}: points below the same rule without an attack")
        table.add_column("rule")
        table.add_column("no attack", justify="right")
        for attack in ATTACKS[1:]:
            table.add_column(attack, justify="right")
        for rule in rules:
            calm = found[rule, shares, ""]
            lost = [calm - found[rule, shares, attack] for attack in ATTACKS[1:]]
            colours = ["green" if each <= WITHIN else "red" for each in lost]
            cells = [f"[{c}]{100 * each:.1f}" for c, each in zip(colours, lost, strict=True)]
            table.add_row(rule, f"{100 * calm:.1f} %", *cells)
        console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--rules", nargs="+", choices=get_args(RobustRule))
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rules = arguments.rules or list(get_args(RobustRule))
    console = Console(stderr=arguments.json)
    found = measure(rules, arguments.seeds, arguments.rounds, console)
    if arguments.json:
        rows = [
            {"rule": r, "shares": s, "attack": a, "accuracy": v} for (r, s, a), v in found.items()
        ]
        print(json.dumps(rows))
    else:
        show(found, rules, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
