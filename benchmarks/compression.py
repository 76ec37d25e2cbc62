"""Compression and the step size of mixing: what is kept of accuracy, and what goes over the wire.

    python benchmarks/compression.py                        # the table of docs/decisions/0008
    python benchmarks/compression.py --seeds 1 --only sign --only k-gt

Digits, 16 peers, exponential graph, multilayer perceptron, 5 local steps; for each setting the best
of three learning rates by the accuracy in the end, as the mean over seeds. Accuracies are means
over the peers. A setting diverges when a run ends below the accuracy of chance, or does not end.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tidings.crypto.errors import TidingsError
from tidings.gossip.events import Evaluated, Published
from tidings.scenarios.runner import run_scenario
from tidings.scenarios.scenario import load_scenario

BASE = (
    'arms=["gossip"]', "engine=array", "peers=16", "rules.topology.kind=exponential",
    "privacy.mode=none", "training.local_steps=5",
)  # fmt: skip
RATES = (0.1, 0.2, 0.4)
CHANCE, GOAL, EARLY = 0.12, 0.9, 20

Sets = tuple[str, ...]
SETTINGS: dict[str, Sets] = {
    "uncompressed": ("compression=none",),
    "int8, restart": ("compression=int8",),
    "int4, restart": ("compression=int4",),
    "sign, restart": ("compression=sign",),
    "sign, feedback": ("compression=sign", "mixing=feedback"),
}
for share in (0.25, 0.05, 0.02):
    for form in ("feedback", "restart"):
        for rule in ("top-k-int8", "random-k-int8"):
            name = f"{rule.removesuffix('-int8')} {share:.0%} int8, {form}"
            SETTINGS[name] = (f"compression={rule}", f"keep={share}", f"mixing={form}")
for optimiser in ("sgd", "k-gt", "beer", "outer-momentum"):
    for form in ("feedback", "restart"):
        SETTINGS[f"{optimiser}, top-k 5% int8, {form}"] = (
            "compression=top-k-int8", "keep=0.05", f"mixing={form}", f"optimiser={optimiser}",
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A run: accuracy after each round (rounds,), bytes of deltas a peer and round."""

    accuracy: np.ndarray
    delta_bytes: float

    @property
    def rounds_to_goal(self) -> float:
        reached = np.flatnonzero(self.accuracy >= GOAL)
        return float(reached[0] + 1) if len(reached) else float("inf")


def run(sets: Iterable[str], rounds: int) -> Outcome | None:
    """One run; None when it did not end."""
    accuracy, sizes = np.zeros((rounds, 2)), []

    def watch(_: object, line: object) -> None:
        event = getattr(line, "event", None)
        if isinstance(event, Evaluated):
            accuracy[event.round - 1] += (event.accuracy, 1)
        elif isinstance(event, Published):
            sizes.append(event.size_bytes)

    scenario = load_scenario("baselines", (*BASE, f"rules.rounds={rounds}", *sets))
    with tempfile.TemporaryDirectory() as folder:
        try:
            run_scenario(scenario, Path(folder) / "run", watch)
        except TidingsError:
            return None
    if not accuracy[:, 1].all():
        return None
    mean = accuracy[:, 0] / accuracy[:, 1]
    return Outcome(accuracy=mean, delta_bytes=float(np.mean(sizes)))


def best(sets: Sets, alpha: float, rate: Iterable[float], seeds: int, rounds: int) -> dict:
    """The best learning rate's figures as a row."""
    rows, diverged = [], 0
    for lr in rate:
        fixed = (f"partition.alpha={alpha}", f"training.learning_rate={lr}")
        named = tuple(f"rules.{one}" for one in sets)
        runs = [run((*fixed, *named, f"seed={seed}"), rounds) for seed in range(1, seeds + 1)]
        ended = [one for one in runs if one is not None and one.accuracy[-1] > CHANCE]
        diverged += seeds - len(ended)
        if len(ended) == seeds:
            rows.append(
                {
                    "early": float(np.mean([one.accuracy[EARLY - 1] for one in ended])),
                    "late": float(np.mean([one.accuracy[-1] for one in ended])),
                    "spread": float(np.std([one.accuracy[-1] for one in ended])),
                    "to_goal": float(np.mean([one.rounds_to_goal for one in ended])),
                    "delta_bytes": float(np.mean([one.delta_bytes for one in ended])),
                    "learning_rate": lr,
                }
            )
    row = max(rows, key=lambda each: each["late"], default={})
    return {"diverged": diverged, **row}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--alphas", type=float, nargs="+", default=[0.1, 0.5])
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    parser.add_argument("--only", action="append", default=[], help="settings that hold this word")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    chosen = {
        name: sets
        for name, sets in SETTINGS.items()
        if not asked.only or any(word in name for word in asked.only)
    }
    jobs = [(name, alpha) for name in chosen for alpha in asked.alphas]
    console = Console(stderr=True)
    rows = []
    for name, alpha in track(jobs, "settings", console=console):
        row = best(chosen[name], alpha, asked.rates, asked.seeds, asked.rounds)
        rows.append({"setting": name, "alpha": alpha, **row})
    if asked.json:
        print(json.dumps(rows))
        return
    table = Table(box=None)
    table.add_column("setting", no_wrap=True)
    for title in ("alpha", f"after {EARLY}", f"after {asked.rounds}", "to 90 %",
                  "delta bytes", "lr", "diverged"):  # fmt: skip
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        figures = [""] * 5
        if "late" in row:
            figures = [
                f"{row['early']:.3f}", f"{row['late']:.3f} ±{row['spread']:.3f}",
                f"{row['to_goal']:.0f}", f"{row['delta_bytes']:.0f}", f"{row['learning_rate']:g}",
            ]  # fmt: skip
        table.add_row(row["setting"], f"{row['alpha']:g}", *figures, str(row["diverged"] or ""))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
