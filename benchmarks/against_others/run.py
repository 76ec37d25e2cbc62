"""Tidings against what one would pick instead: the same learning, each in its own environment.

    python benchmarks/against_others/run.py
    python benchmarks/against_others/run.py --only plain_torch tidings_array flower --seeds 1 2 3

Ten nodes with uneven shares of the handwritten digits train a perceptron: five steps of plain
SGD a round, then all models are averaged (over a complete graph, or by a server where a framework
has nothing else), and each node tests what it got. Data, first model, plan and the code of a
client's local steps are the same for all. A contender that cannot be installed or run is listed
with the reason. The environments take several GB (--environments says where they are).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from environments import CONTENDERS, Contender, Missing, interpreter, versions
from measure import measured
from problem import Plan, write_problem
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COSTS = ("run_s", "cpu_s", "wall_s", "memory_bytes")
QUIET = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "FLWR_TELEMETRY_ENABLED": "0",
    "HF_HUB_OFFLINE": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def scenario_toml(plan: Plan) -> str:
    """What Tidings runs: averaging over a complete graph, plain SGD, nothing compressed."""
    return f"""
name = "against-others"
peers = {plan.nodes}
seed = {plan.seed}
learner = {{ module = "tidings.scenarios.models:mlp", module_args = {{ hidden = {plan.hidden} }} }}
training = {{ local_steps = {plan.local_steps}, batch_size = {plan.batch_size}, \
learning_rate = {plan.learning_rate} }}
partition = {{ kind = "dirichlet", alpha = 0.5, min_samples = 5 }}
privacy = {{ mode = "none" }}
[rules]
rounds = {plan.rounds}
deadline_s = 60.0
optimiser = "sgd"
compression = "none"
topology = {{ kind = "complete" }}
"""


def prepare(folder: Path, plan: Plan) -> None:
    """Write the problem for all, and the scenario of the same name for Tidings."""
    from tidings.gossip.grid import from_grid
    from tidings.scenarios.scenario import load_scenario
    from tidings.scenarios.world import World, shares_of

    folder.mkdir(parents=True)
    (folder / "scenario.toml").write_text(scenario_toml(plan))
    scenario = load_scenario(str(folder / "scenario.toml"), ("engine=sim",))
    shares = shares_of(scenario)
    arrays = {f"x{node}": share.train_x for node, share in enumerate(shares)}
    arrays |= {f"y{node}": share.train_y for node, share in enumerate(shares)}
    arrays |= {"test_x": shares[0].test_x, "test_y": shares[0].test_y}
    arrays["initial"] = np.asarray(
        from_grid(World(scenario).genesis, scenario.rules.grid_bits), dtype=np.float32
    )
    write_problem(folder, plan, arrays)


def measure(contender: Contender, folder: Path, environments: Path, timeout_s: float) -> dict:
    """One run of one contender. Raises Missing when it cannot be installed or run."""
    python = interpreter(contender, environments)
    script, *more = contender.script
    paths = [str(HERE), *([] if contender.packages else [str(ROOT / "src")])]
    log = folder / f"{contender.name}.log"
    command = [str(python), str(HERE / "contenders" / script), str(folder), *more]
    try:
        cost = measured(command, log, {**QUIET, "PYTHONPATH": ":".join(paths)}, timeout_s=timeout_s)
    except subprocess.TimeoutExpired:
        raise Missing(f"it was not done after {timeout_s:.0f} s") from None
    file = folder / f"{contender.name}.json"
    if not file.exists():
        words = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        said = words[-1][:300] if words else "without a word"
        raise Missing(f"it failed (exit code {cost.exit_code}): {said}")
    return {**asdict(cost), **json.loads(file.read_text())}


def compare(arguments: argparse.Namespace) -> list[dict]:
    """A row for each contender: medians over the seeds, and of the ratios to the plain loop's."""
    plan = Plan(
        nodes=arguments.nodes,
        rounds=arguments.rounds,
        local_steps=5,
        batch_size=32,
        learning_rate=0.5,
        hidden=64,
        seed=0,
    )
    rows = {
        one.name: {"name": one.name, "label": one.label, "runs": []} for one in _chosen(arguments)
    }
    arguments.environments.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for seed in arguments.seeds:
            folder = Path(scratch) / f"seed-{seed}"
            prepare(folder, replace(plan, seed=seed))
            for contender in _chosen(arguments):
                row = rows[contender.name]
                if "missing" in row:
                    continue
                print(f"seed {seed}: {contender.label}", file=sys.stderr, flush=True)
                try:
                    row["runs"].append(
                        measure(contender, folder, arguments.environments, arguments.timeout)
                    )
                    row["versions"] = _versions(contender, arguments.environments)
                except Missing as reason:
                    row["missing"] = str(reason)
    plain = rows.get("plain_torch", {}).get("runs", [])
    for row in rows.values():
        if row["runs"] and "missing" not in row:
            _summarise(row, plain)
    return list(rows.values())


def _summarise(row: dict, plain: list[dict]) -> None:
    for key in (*COSTS, "accuracy"):
        row[key] = statistics.median(run[key] for run in row["runs"])
    if len(plain) == len(row["runs"]):
        # seed by seed: the machine may have been busier with one seed than with another
        pairs = list(zip(row["runs"], plain, strict=True))
        row["ratios"] = {
            key: statistics.median(run[key] / base[key] for run, base in pairs) for key in COSTS
        }


def _chosen(arguments: argparse.Namespace) -> list[Contender]:
    return [one for one in CONTENDERS if not arguments.only or one.name in arguments.only]


def _versions(contender: Contender, environments: Path) -> dict[str, str]:
    names = [package.split("[")[0].split("=")[0] for package in contender.packages]
    return versions(interpreter(contender, environments), ("torch", *names[:1]))


def show(rows: list[dict], console: Console) -> None:
    """The table: seconds of the run, and all else as a multiple of the plain loop's."""
    table = Table("contender", "accuracy", "run", "run", "CPU", "whole", "memory")
    table.caption = "times the plain loop's, but for the seconds; whole: with start and imports"
    for row in rows:
        if "run_s" not in row:
            continue
        ratios = [f"{row['ratios'][key]:.3g}x" if "ratios" in row else "-" for key in COSTS]
        table.add_row(
            row["label"], f"{100 * row['accuracy']:.1f} %", f"{row['run_s']:.2f} s", *ratios
        )
    console.print(table)
    for row in rows:
        if "missing" in row:
            console.print(f"{row['label']}: {row['missing']}", markup=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--only", nargs="+", choices=[one.name for one in CONTENDERS])
    parser.add_argument("--timeout", type=float, default=900, metavar="SECONDS")
    parser.add_argument(
        "--environments",
        type=lambda text: Path(text).resolve(),
        default=Path.home() / ".cache" / "tidings-against-others",
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = compare(arguments)
    if arguments.json:
        print(json.dumps(rows))
    else:
        show(rows, Console(width=100))


if __name__ == "__main__":
    main()
