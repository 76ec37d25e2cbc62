"""The array engine's costs, against plain copies of memory and a plain loop over torch modules.

    python benchmarks/array_engine.py [--json]

- Mixing 1,000 models of 50,000 float32 parameters on a 4-regular graph, public copies to mixed
  models, against one copy of such an array. Both in turn; times are medians of CPU time.
- One round of 10,000 nodes: logistic regression 64 x 10 on digits, DP-SGD with noise, int8,
  4-regular graph, the log written as tables; without testing models. In CPU seconds, and against
  torch modules trained one after the other, without noise, messages or mixing.
- The same round for 300 to 10,000 nodes: how far CPU time and memory are from a line.
- The same by two processes, against one: CPU time of both together.
- Five runs of 16 peers against one of 80 that does as much: what a small network pays for being
  small, and so the most that running the seeds of a sweep as one could save.
- The same nodes without a barrier (no privacy, one local step): events, which are an entry that is
  published or a model that is mixed, in a second of CPU time.

Exit code 1 when a requirement is missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from tidings.gossip.rules import Rules, TopologyRule
from tidings.gossip.topology import Topology
from tidings.scenarios.cohort.chosen import make_cohort
from tidings.scenarios.engines.array.arrays import Arrays
from tidings.scenarios.engines.array.engine import ArrayRun
from tidings.scenarios.engines.array.graph import Graph
from tidings.scenarios.engines.array.mixing import mix
from tidings.scenarios.engines.array.start import crew_of, graph_of, tape_of
from tidings.scenarios.engines.array.table_chronicle import TableChronicle
from tidings.scenarios.engines.array.tape import Lockstep, Nodes
from tidings.scenarios.engines.array.together import Together
from tidings.scenarios.engines.array.workers import Scores
from tidings.scenarios.runner import run_scenario
from tidings.scenarios.scenario import Scenario, load_scenario
from tidings.scenarios.world import World

MOST_COPIES = 5.0
MOST_ROUND_S = 0.8
MOST_UNEVEN = 0.15
MOST_SHARED = 1.15
LEAST_EVENTS = 30_000
SIZES = (300, 1000, 3000, 10_000)
ROUNDS = 6
PAIRS = 5  # one pair alone is off by up to a tenth
SMALL = (
    'arms=["gossip"]',
    "rules.compression=none",
    "rules.topology.kind=random-regular",
    "rules.topology.degree=4",
)
PRIVATE = ("privacy.mode=record", "training.local_steps=1", "faults={}", f"rules.rounds={ROUNDS}")


@dataclass(frozen=True)
class Row:
    """One figure, and what it may come to at most or at least; without, it is for information."""

    what: str
    figure: float
    unit: str
    most: float | None = None
    least: float | None = None

    @property
    def met(self) -> bool:
        """Whether it is small and large enough."""
        fits = self.most is None or self.figure <= self.most
        return fits and (self.least is None or self.figure >= self.least)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    as_json = parser.parse_args().json
    torch.set_num_threads(1)
    rows = [mixing(), *rounds(), sharing(), smallness(), events()]
    if as_json:
        print(json.dumps([asdict(row) for row in rows]))
    else:
        table = Table("what", "measured", "required", title="The array engine")
        for row in rows:
            most = "" if row.most is None else f"at most {row.most:g}"
            least = "" if row.least is None else f"at least {row.least:g}"
            table.add_row(row.what, f"{row.figure:.3g} {row.unit}", most + least)
        Console().print(table)
    sys.exit(not all(row.met for row in rows))


def mixing() -> Row:
    """How many copies' time it takes to mix."""
    nodes, parameters = 1000, 50_000
    graph = TopologyRule(kind="random-regular", nodes=nodes, degree=4)
    rules = Rules(topology=graph, optimiser="sgd")
    rng = np.random.default_rng(1)
    arrays = Arrays.begin(rng.integers(-(2**20), 2**20, parameters, dtype=np.int32), rules)
    arrays.public.memory += rng.integers(-99, 99, arrays.public.memory.shape, dtype=np.int32)
    links = Graph(Topology(graph))
    wave = next(iter(Lockstep(links, 1, round_s=1.0).waves()))
    source, target = np.ones((2, nodes, parameters), dtype=np.float32)
    pairs = [
        (
            timed(lambda: mix(arrays, rules, wave, links.weights(1), 1.0)),
            timed(lambda: np.copyto(target, source)),
        )
        for _ in range(15)
    ]
    ours, copies = (statistics.median(times) for times in zip(*pairs, strict=True))
    return Row("mixing 1,000 x 50,000", ours / copies, "copies", MOST_COPIES)


def rounds() -> list[Row]:
    """What a round costs, and how that grows with the nodes."""
    costs = {nodes: round_costs(nodes) for nodes in SIZES}
    rows = []
    largest = max(SIZES)
    seconds, memory = costs[largest]
    rows.append(Row("a round of 10,000 nodes", seconds, "s of CPU", MOST_ROUND_S))
    rows.append(Row("... against torch one by one", seconds / plain_s(largest), "of its time"))
    for what, place in (("CPU time", 0), ("memory", 1)):
        cost = np.array([costs[nodes][place] for nodes in SIZES])
        rows.append(Row(f"{what} from 300 to 10,000", off_a_line(cost), "off a line", MOST_UNEVEN))
    rows.append(Row("memory of 10,000 nodes", memory / 2**20, "MiB"))
    return rows


def off_a_line(cost: np.ndarray) -> float:
    """How far the costs of SIZES are from the line that fits best: the most, relative to them."""
    nodes = np.array(SIZES, dtype=np.float64)
    line = np.stack([np.ones_like(nodes), nodes], axis=1) / cost[:, None]
    fit, *_ = np.linalg.lstsq(line, np.ones_like(nodes), rcond=None)
    return float(np.abs(line @ fit - 1).max())


def sharing() -> Row:
    """CPU time of two processes against one: the median of some pairs of runs."""
    scenario = scenario_of(10_000)
    world = World(scenario)
    workers = Untested(make_cohort(scenario, world.shares), scenario)
    graph = graph_of(world, workers)
    ratios = []
    for _ in range(PAIRS):
        spent = []
        for cores in (1, 2):
            tape = tape_of(world, graph)
            crew = crew_of(world, workers, tape.spare, cores=cores)
            laps = []
            for wave in tape.waves():
                began = crew.cpu_s()
                crew.publish(wave)
                crew.mix(wave, graph.weights(1))
                laps.append(crew.cpu_s() - began)
            crew.close()
            spent.append(statistics.median(laps[1:]))
        ratios.append(spent[1] / spent[0])
    ratio = statistics.median(ratios)
    return Row("two processes against one", ratio, "of its CPU time", MOST_SHARED)


def smallness() -> Row:
    """CPU time of five small runs against a larger one: a perceptron on digits, 100 rounds."""

    def spent(peers: int) -> float:
        scenario = load_scenario("baselines", (*SMALL, "rules.rounds=100", f"peers={peers}"))
        with tempfile.TemporaryDirectory() as folder:
            return timed(lambda: run_scenario(scenario, Path(folder) / "run", lambda *_: None))

    spent(16)  # what is loaded on the way is no part of it
    ratio = statistics.median(5 * spent(16) / spent(80) for _ in range(3))
    return Row("5 runs of 16 peers against one of 80", ratio, "of its CPU time")


def events() -> Row:
    """What gets done in a second where nobody waits."""
    sets = ("privacy.mode=none", "training.local_steps=1", "rules.rounds=4", "faults.loss=0")
    scenario = load_scenario(
        "ten-thousand",
        (*sets, "faults.crash_every_s=0", "rules.pace=asynchronous", "faults.delay_s=0.1"),
    )
    world = World(scenario)
    workers = Untested(make_cohort(scenario, world.shares), scenario)
    graph = graph_of(world, workers)
    tape = tape_of(world, graph)
    crew = crew_of(world, workers, tape.spare, cores=1)
    done, began = 0, process_time()
    for wave in tape.waves():
        crew.publish(wave)
        crew.mix(wave, np.where(wave.sources < 0, 0.0, graph.weights(1)[wave.mix]))
        done += len(wave.publish) + len(wave.mix)
    rate = done / (process_time() - began)
    return Row("events without a barrier", rate, "a second", least=LEAST_EVENTS)


class Untested(Together):
    """Training as ever; no model is tested."""

    def evaluate(self, nodes: Nodes, models: np.ndarray) -> Scores:
        zeros = np.zeros(len(nodes))
        return Scores(accuracy=zeros, loss=zeros, samples=1)


def round_costs(nodes: int) -> tuple[float, float]:
    """CPU seconds of a round, and the bytes that the run's arrays and scratch take at most."""
    scenario = scenario_of(nodes)
    world = World(scenario)
    workers = Untested(make_cohort(scenario, world.shares), scenario)
    graph = graph_of(world, workers)
    marks: list[float] = []

    def one_run(note: Callable[..., None]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            chronicle = TableChronicle(world, Path(folder), note)
            crew = crew_of(world, workers, 0, cores=1)
            tape = tape_of(world, graph)
            ArrayRun(world, chronicle, crew, workers.samples, graph, tape).run()

    one_run(lambda *_: marks.append(process_time()))
    laps = np.diff(marks[::2])  # two notes a round; the first round warms caches up
    tracemalloc.start()
    one_run(lambda *_: None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return float(np.median(laps)), float(peak)


def scenario_of(nodes: int) -> Scenario:
    """A scenario of so many nodes."""
    return load_scenario("ten-thousand", (*PRIVATE, f"peers={nodes}"))


def plain_s(nodes: int) -> float:
    """CPU seconds that a loop over torch modules takes for a round of training."""
    some = 200
    x, y = torch.rand(some, 40, 64), torch.randint(10, (some, 40))
    models = [torch.nn.Linear(64, 10) for _ in range(some)]

    def train() -> None:
        for i, model in enumerate(models):
            optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
            rows = torch.randperm(40)[:10]
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(model(x[i, rows]), y[i, rows]).backward()
            optimiser.step()

    return min(timed(train) for _ in range(5)) * nodes / some


def timed(action: Callable[[], object]) -> float:
    """The CPU seconds of an action."""
    began = process_time()
    action()
    return process_time() - began


if __name__ == "__main__":
    main()
