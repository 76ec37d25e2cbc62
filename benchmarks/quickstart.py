"""The quick start's figures: accuracy and privacy over libp2p, several seeds.

    python benchmarks/quickstart.py --seeds 5
    python benchmarks/quickstart.py --seeds 3 --modes record --set transport=mqtt

For each seed it runs `tidings run quickstart` twice, with record-level privacy and without, and
recomputes each peer's epsilon from its ledger on disk with a second accountant (Opacus' PRV).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from functools import cache
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tidings.crypto.accounting import epsilon_of
from tidings.crypto.ledger import Ledger

DELTA = 1e-5


def run(seed: int, mode: str, sets: list[str], folder: Path) -> dict:
    command = [sys.executable, "-m", "tidings", "run", "quickstart", "--seed", str(seed)]
    command += ["--set", f"privacy.mode={mode}", "--out", str(folder), "--json"]
    command += [word for one in sets for word in ("--set", one)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def both_epsilons(database: Path) -> tuple[float, float]:
    """Epsilon of a peer's ledger by dp-accounting's PLD and by Opacus' PRV accountant."""
    ledger = Ledger(database)
    ledger.verify()
    events = [entry.event for entry in ledger.entries()]
    ledger.close()
    steps: Counter[tuple[float, float]] = Counter()
    for event in events:
        steps[event.noise_multiplier, event.sampling_rate] += event.steps
    return epsilon_of(events, DELTA), prv_epsilon(frozenset(steps.items()))


@cache
def prv_epsilon(steps: frozenset[tuple[tuple[float, float], int]]) -> float:
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(sigma, q, count) for (sigma, q), count in steps]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return accountant.get_epsilon(delta=DELTA)


def measure(seed: int, mode: str, sets: list[str]) -> dict:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        result = run(seed, mode, sets, folder)
        row = {key: result[key] for key in ("accuracy_mean", "accuracy_min", "rounds", "seed")}
        row |= {"mode": mode, "copies_agree": result["copies_agree"], "refused": result["refused"]}
        if mode == "record":
            both = [both_epsilons(file) for file in sorted(folder.glob("peers/*/tidings.db"))]
            row["epsilon_pld"] = max(pld for pld, _ in both)
            row["epsilon_prv"] = max(prv for _, prv in both)
            row["accountants_apart"] = max(abs(pld - prv) / prv for pld, prv in both)
        return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--modes", nargs="+", default=["record", "none"])
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = [
        measure(seed, mode, arguments.sets)
        for mode in arguments.modes
        for seed in range(1, arguments.seeds + 1)
    ]
    if arguments.json:
        print(json.dumps(rows))
        return
    table = Table("privacy", "seed", "rounds", "mean", "worst", "ε PLD", "ε PRV", "apart", "copies")
    for row in rows:
        private = row["mode"] == "record"
        table.add_row(
            row["mode"],
            str(row["seed"]),
            str(row["rounds"]),
            f"{100 * row['accuracy_mean']:.1f} %",
            f"{100 * row['accuracy_min']:.1f} %",
            f"{row['epsilon_pld']:.3f}" if private else "-",
            f"{row['epsilon_prv']:.3f}" if private else "-",
            f"{100 * row['accountants_apart']:.2f} %" if private else "-",
            "agree" if row["copies_agree"] else "DIFFER",
        )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
