"""What the ray engine costs, against the array engine in one process and in two.

    python benchmarks/ray_engine.py [--nodes N ...] [--rounds R] [--json]

The bundled scenario ten-thousand with an MLP 64-64-10 (5 local steps of 32 records), without
faults; two processes or two actors on this machine. CPU time of a round of all
processes that take part, Ray's own included; the first rounds are left
out, and the last one, the only one in which models are tested.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from time import monotonic

import psutil
import torch
from rich.console import Console
from rich.table import Table

from tidings.scenarios.engines.array import engine
from tidings.scenarios.engines.array.engine import ArrayRun
from tidings.scenarios.engines.array.learners import workers_of
from tidings.scenarios.engines.array.start import crew_of, graph_of, tape_of
from tidings.scenarios.engines.array.table_chronicle import TableChronicle
from tidings.scenarios.engines.ray import cluster
from tidings.scenarios.scenario import load_scenario
from tidings.scenarios.world import World

SETS = (
    'learner={kind="torch", module="tidings.scenarios.models:mlp", module_args={hidden=64}}',
    "training.local_steps=5",
    "training.batch_size=32",
    "faults={}",
)
FIRST = 2  # rounds that are left out
WAYS = (("array", 1), ("array", 2), ("ray", 2))


@dataclass(frozen=True)
class Row:
    """What a node and round takes: of CPU time and of the clock, in milliseconds."""

    engine: str
    processes: int
    nodes: int
    cpu_ms: float
    clock_ms: float
    against_one: float
    largest_rss_mib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[1000, 4000])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    engine.TESTED_MODELS = 1  # so that all rounds but the last are of training and mixing alone
    cluster.join()
    rows: list[Row] = []
    for nodes in given.nodes:
        one = 0.0
        for kind, processes in WAYS:
            cpu, clock, memory = measured(kind, processes, nodes, given.rounds)
            one = one or cpu
            each = 1000 / nodes
            rows.append(
                Row(kind, processes, nodes, cpu * each, clock * each, cpu / one, memory / 2**20)
            )
    cluster.leave()
    if given.json:
        print(json.dumps([asdict(row) for row in rows]))
        return
    table = Table("engine", "processes", "nodes", "CPU", "clock", "CPU against one", "memory")
    for row in rows:
        table.add_row(
            row.engine,
            str(row.processes),
            str(row.nodes),
            f"{row.cpu_ms:.3f} ms",
            f"{row.clock_ms:.3f} ms",
            f"{row.against_one:.2f} x",
            f"{row.largest_rss_mib:.0f} MiB",
        )
    Console().print(table)


def measured(kind: str, processes: int, nodes: int, rounds: int) -> tuple[float, float, float]:
    """CPU and clock seconds of a round, and the memory of the largest process beside this one."""
    sets = (*SETS, f"engine={kind}", f"peers={nodes}", f"rules.rounds={rounds}")
    world = World(load_scenario("ten-thousand", sets))
    workers = workers_of(world)
    graph = graph_of(world, workers)
    tape = tape_of(world, graph)
    marks: list[tuple[float, float]] = []
    memory: list[float] = [0.0]

    def note(*_: object) -> None:
        marks.append((cpu_s(), monotonic()))
        memory.append(max(helpers_rss(), default=0.0))

    with tempfile.TemporaryDirectory() as folder:
        crew = crew_of(world, workers, tape.spare, cores=processes)
        chronicle = TableChronicle(world, Path(folder), note)
        ArrayRun(world, chronicle, crew, workers.samples, graph, tape).run()
    ends = marks[1::2][FIRST - 1 : -1]  # two notes a round; in the last one models are tested
    laps = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(ends)]
    cpu, clock = (statistics.median(times) for times in zip(*laps, strict=True))
    return cpu, clock, max(memory)


def helpers() -> list[psutil.Process]:
    """All processes that this one and Ray have started."""
    return psutil.Process().children(recursive=True)


def cpu_s() -> float:
    """The CPU seconds that this process and all its helpers have taken."""
    times = [process.cpu_times() for process in (psutil.Process(), *helpers())]
    return sum(each.user + each.system for each in times)


def helpers_rss() -> list[float]:
    """The resident memory of each helper, in bytes."""
    return [float(process.memory_info().rss) for process in helpers()]


if __name__ == "__main__":
    main()
