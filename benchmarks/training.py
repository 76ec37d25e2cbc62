"""What training many small models at once gains over a plain PyTorch loop.

    python benchmarks/training.py [--nodes 1000] [--rounds 7] [--json]

Every node has a model of its own (logistic regression 64-10, a perceptron 64-64-10, a small CNN)
and 40 records of 64 features, and makes 4 local steps on batches of 16 a round: a *node-epoch*.
The cohort (scenarios/cohort/) trains all nodes in one call; drawing and gathering the batches is
part of it. The yardstick is what one would write without it: a loop over modules with a
`torch.optim.SGD` each, forward, backward and step. A second, leaner loop does without the
optimiser: `torch.autograd.grad` and `sub_`. All take turns in one process on one thread, and CPU
time is counted, so other work on the machine hits all alike; speeds are medians, ratios are
medians of the ratios of each turn. First it is checked that all train alike.

Exit code 1 when a requirement is missed: 20 times the plain loop for logistic regression, 15 for
the perceptron.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import process_time

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from tidings.crypto.privacy_settings import PrivacySettings
from tidings.crypto.sampling import Keys, draw_rows
from tidings.gossip.rules import Rules
from tidings.gossip.topology_rule import TopologyRule
from tidings.peer.learners.base import TrainingPlan
from tidings.peer.learners.data import Dataset
from tidings.peer.learners.spec import LearnerConfig, resolve
from tidings.scenarios.cohort.base import Cohort, Noise
from tidings.scenarios.cohort.chosen import make_cohort
from tidings.scenarios.scenario import Scenario

FEATURES, CLASSES, RECORDS = 64, 10, 40
PLAN = TrainingPlan(local_steps=4, batch_size=16, learning_rate=0.1)
MODELS = "tidings.scenarios.models"


@dataclass(frozen=True)
class Task:
    """What is trained, and how many times the plain loop's speed is required."""

    name: str
    learner: LearnerConfig
    required: float | None


TASKS = [
    Task(
        "logistic regression",
        LearnerConfig(
            module="torch.nn:Linear", module_args={"in_features": FEATURES, "out_features": CLASSES}
        ),
        20.0,
    ),
    Task(
        "perceptron",
        LearnerConfig(module=f"{MODELS}:mlp", module_args={"hidden": 64}),
        15.0,
    ),
    Task("CNN 8x8", LearnerConfig(module=f"{MODELS}:cnn8"), None),
]


class Nodes:
    """The same nodes for the cohort and for the loops."""

    def __init__(self, task: Task, count: int) -> None:
        rng = np.random.default_rng(0)
        x = rng.normal(size=(count * RECORDS, FEATURES)).astype(np.float32)
        y = rng.integers(0, CLASSES, len(x))
        self.shares = [
            Dataset(
                train_x=x[start : start + RECORDS],
                train_y=y[start : start + RECORDS],
                test_x=x[:100],
                test_y=y[:100],
            )
            for start in range(0, len(x), RECORDS)
        ]
        self.count = count
        self.cohort = cohort_of(task, self.shares, "none")
        self.private = cohort_of(task, self.shares, "record")
        self.models = rng.normal(size=(count, self.cohort.parameters)).astype(np.float32) / 10
        self.keys: Keys = rng.integers(0, 2**64, size=(count, 2), dtype=np.uint64)
        factory = resolve(str(task.learner.module))
        self.modules = [factory(**task.learner.module_args) for _ in range(count)]
        self.loss = nn.CrossEntropyLoss()
        self.optimisers = [
            torch.optim.SGD(module.parameters(), lr=PLAN.learning_rate) for module in self.modules
        ]
        self.tensors = [
            (torch.from_numpy(one.train_x), torch.from_numpy(one.train_y)) for one in self.shares
        ]

    def at_once(self) -> None:
        self.cohort.train(
            self.models, None, beta=0.0, plan=PLAN, nodes=np.arange(self.count), keys=self.keys
        )

    def at_once_with_noise(self) -> None:
        """DP-SGD with as many records a step on average."""
        settings = PrivacySettings(mode="record", sampling_rate=PLAN.batch_size / RECORDS)
        self.private.train(
            self.models.copy(), None, beta=0.0, plan=PLAN, nodes=np.arange(self.count),
            keys=self.keys, noise=Noise(settings=settings, multiplier=1.0),
        )  # fmt: skip

    def plain_loop(self) -> None:
        for module, optimiser, (x, y) in zip(
            self.modules, self.optimisers, self.tensors, strict=True
        ):
            for _ in range(PLAN.local_steps):
                rows = torch.randperm(RECORDS)[: PLAN.batch_size]
                optimiser.zero_grad()
                self.loss(module(x[rows]), y[rows]).backward()
                optimiser.step()

    def lean_loop(self) -> None:
        for module, (x, y) in zip(self.modules, self.tensors, strict=True):
            for _ in range(PLAN.local_steps):
                rows = torch.randperm(RECORDS)[: PLAN.batch_size]
                step(module, self.loss, x[rows], y[rows])

    def check(self) -> None:
        """Raises AssertionError unless a node trains alike in the cohort and in the loop."""
        some = np.arange(min(3, self.count))
        trained = self.models[some]
        self.cohort.train(trained, None, beta=0.0, plan=PLAN, nodes=some, keys=self.keys[some])
        size = PLAN.local_steps * PLAN.batch_size
        rows = draw_rows(self.keys[some], np.full(len(some), RECORDS), 0, size)
        for node in some.tolist():
            module, (x, y) = self.modules[node], self.tensors[node]
            nn.utils.vector_to_parameters(torch.from_numpy(self.models[node]), module.parameters())
            for batch in torch.from_numpy(rows[node]).split(PLAN.batch_size):
                step(module, self.loss, x[batch], y[batch])
            found = nn.utils.parameters_to_vector(module.parameters()).detach().numpy()
            np.testing.assert_allclose(found, trained[node], rtol=1e-3, atol=1e-5)


def step(module: nn.Module, loss: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
    """One step of SGD."""
    parameters = list(module.parameters())
    found = torch.autograd.grad(loss(module(x), y), parameters)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, found, strict=True):
            parameter.sub_(gradient, alpha=PLAN.learning_rate)


def cohort_of(task: Task, shares: list[Dataset], mode: str) -> Cohort:
    scenario = Scenario(
        name="benchmark",
        peers=len(shares),
        learner=task.learner,
        privacy=PrivacySettings.model_validate({"mode": mode}),
        rules=Rules(topology=TopologyRule(kind="none", nodes=len(shares))),
    )
    return make_cohort(scenario, shares)


@dataclass(frozen=True)
class Row:
    """Node-epochs a second of CPU time, and how many times faster the cohort was."""

    task: str
    nodes: int
    plain_loop: float
    lean_loop: float
    cohort: float
    cohort_with_noise: float
    times_plain: float
    times_lean: float
    required: float | None

    @property
    def holds(self) -> bool:
        return self.required is None or self.times_plain >= self.required


def seconds(call: Callable[[], None]) -> float:
    start = process_time()
    call()
    return process_time() - start


def measure(task: Task, count: int, rounds: int) -> Row:
    nodes = Nodes(task, count)
    nodes.check()
    ways = [nodes.plain_loop, nodes.lean_loop, nodes.at_once, nodes.at_once_with_noise]
    turns = [[seconds(way) for way in ways] for _ in range(rounds + 1)][1:]  # the first warms up
    plain, lean, cohort, noisy = (
        count / statistics.median(times) for times in zip(*turns, strict=True)
    )
    return Row(
        task=task.name,
        nodes=count,
        plain_loop=plain,
        lean_loop=lean,
        cohort=cohort,
        cohort_with_noise=noisy,
        times_plain=statistics.median(turn[0] / turn[2] for turn in turns),
        times_lean=statistics.median(turn[1] / turn[2] for turn in turns),
        required=task.required,
    )


def show(rows: list[Row]) -> None:
    table = Table(title=f"node-epochs a second, {rows[0].nodes} nodes, one core")
    columns = ("model", "plain", "lean", "cohort", "DP-SGD", "x plain", "x lean", "required")
    for column in columns:
        table.add_column(column, justify="left" if column == "model" else "right")
    for row in rows:
        table.add_row(
            row.task,
            f"{row.plain_loop:,.0f}",
            f"{row.lean_loop:,.0f}",
            f"{row.cohort:,.0f}",
            f"{row.cohort_with_noise:,.0f}",
            f"[{'green' if row.holds else 'red'}]{row.times_plain:.1f}",
            f"{row.times_lean:.1f}",
            "" if row.required is None else f"{row.required:g}",
        )
    Console().print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(task, arguments.nodes, arguments.rounds) for task in TASKS]
    if arguments.json:
        print(json.dumps([asdict(row) | {"holds": row.holds} for row in rows]))
    else:
        show(rows)
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
