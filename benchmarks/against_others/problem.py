"""The one problem that all contenders solve: data, model, plan. Needs NumPy, and torch when used.

It is imported in the virtual environment of each contender, so nothing of Tidings is used here.
Every round each node takes some steps of plain SGD on batches of its own records, then all models
are averaged, and each node tests what it has got on the same test records.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much of what; ``hidden`` is the width of the perceptron's hidden layer."""

    nodes: int
    rounds: int
    local_steps: int
    batch_size: int
    learning_rate: float
    hidden: int
    seed: int


class Problem:
    """What a folder holds: the plan, each node's records, the test records, the first model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plan = Plan(**json.loads((folder / "plan.json").read_text()))
        with np.load(folder / "data.npz") as stored:
            self._arrays = {name: stored[name] for name in stored.files}

    def share(self, node: int) -> tuple[np.ndarray, np.ndarray]:
        """The training records of a node: float32 (n, 64) and int64 (n,)."""
        return self._arrays[f"x{node}"], self._arrays[f"y{node}"]

    @property
    def test(self) -> tuple[np.ndarray, np.ndarray]:
        """The test records, the same for all."""
        return self._arrays["test_x"], self._arrays["test_y"]

    def rows(self, node: int, round_: int) -> list[np.ndarray]:
        """The records of each step of a node's round, drawn without replacement."""
        rng = np.random.default_rng([self.plan.seed, node, round_])
        count = len(self.share(node)[1])
        size = min(self.plan.batch_size, count)
        return [rng.choice(count, size, replace=False) for _ in range(self.plan.local_steps)]

    def model(self) -> Any:
        """The perceptron as a torch module, at the first model."""
        import torch
        from torch import nn

        torch.set_num_threads(1)
        hidden = self.plan.hidden
        model = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))
        torch.nn.utils.vector_to_parameters(
            torch.tensor(self._arrays["initial"]), model.parameters()
        )
        return model

    def warm_up(self) -> None:
        """Train and test a model for nothing: torch loads parts of itself at the first step."""
        model = self.model()
        self.train(model, 0, 0)
        self.accuracy(model)

    def train(self, model: Any, node: int, round_: int) -> None:
        """One round of local steps of plain SGD, in place: what a user would write."""
        import torch

        x, y = (torch.from_numpy(array) for array in self.share(node))
        optimiser = torch.optim.SGD(model.parameters(), lr=self.plan.learning_rate)
        model.train()
        for rows in self.rows(node, round_):
            optimiser.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimiser.step()

    def accuracy(self, model: Any) -> float:
        """The share of the test records that the model gets right."""
        import torch

        x, y = (torch.from_numpy(array) for array in self.test)
        model.eval()
        with torch.no_grad():
            return float((model(x).argmax(1) == y).float().mean())


def write_problem(folder: Path, plan: Plan, arrays: dict[str, np.ndarray]) -> None:
    """Write what ``Problem`` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.json").write_text(json.dumps(asdict(plan)))
    np.savez(folder / "data.npz", **arrays)


class Result:
    """Measures a contender from here on; ``done`` writes what came out."""

    def __init__(self, folder: Path, name: str) -> None:
        self._file = folder / f"{name}.json"
        self._began = time.monotonic()

    def done(self, accuracies: list[float], **more: Any) -> None:
        """``accuracies`` are those of the nodes' last models."""
        run_s = time.monotonic() - self._began
        result = {"run_s": run_s, "accuracy": sum(accuracies) / len(accuracies), **more}
        self._file.write_text(json.dumps(result))
