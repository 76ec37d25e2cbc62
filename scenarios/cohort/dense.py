"""A cohort of linear models or perceptrons: the peers' own kernel, a chunk of nodes at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...crypto.sampling import Keys, draw_rows
from ...gossip.grid import FloatVector
from ...peer.learners.base import TrainingPlan
from ...peer.learners.dense import DenseTask, Work
from ...peer.learners.descent import take_step
from .base import Nodes, Scores

CHUNK = 64  # nodes at a time: what they work on fits a core's L2 cache
_DRAWN = 2**20  # members of batches that are drawn at a time: some megabytes


class DenseCohort:
    """The nodes' learners; node i has ``samples[i]`` records of ``task``, one after another."""

    def __init__(self, task: DenseTask, samples: NDArray[np.int64], *, chunk: int = CHUNK) -> None:
        self.samples = samples
        self._task = task
        self._first = np.cumsum(samples) - samples
        self._chunk = chunk

    @property
    def nodes(self) -> int:
        """The number of nodes, N."""
        return len(self.samples)

    @property
    def parameters(self) -> int:
        """The number of parameters of a model, P."""
        return self._task.net.parameters

    def train(
        self,
        models: FloatVector,
        momentum: FloatVector | None,
        *,
        beta: float,
        plan: TrainingPlan,
        nodes: Nodes,
        keys: Keys,
    ) -> Nodes:
        """One round of local steps, in place; see ``Cohort.train``."""
        sizes = np.minimum(plan.batch_size, self.samples[nodes])
        lost = []
        with np.errstate(over="ignore", invalid="ignore"):  # told by what is returned
            for size in np.unique(sizes):
                alike = np.flatnonzero(sizes == size)
                block = max(self._chunk, _DRAWN // (int(size) * plan.local_steps))
                for start in range(0, len(alike), block):
                    rows = alike[start : start + block]
                    lost += self._train_block(
                        models, momentum, beta, plan, rows, nodes[rows], keys[rows], int(size)
                    )
        return np.concatenate(lost) if lost else np.zeros(0, dtype=np.intp)

    def _train_block(
        self,
        models: FloatVector,
        momentum: FloatVector | None,
        beta: float,
        plan: TrainingPlan,
        rows: Nodes,
        nodes: Nodes,
        keys: Keys,
        size: int,
    ) -> list[Nodes]:
        """Trains ``rows`` of ``models``, whose batches are of one size; returns what diverged."""
        records = draw_rows(keys, self.samples[nodes], 0, plan.local_steps * size)
        records += self._first[nodes, None]
        records = records.reshape(len(rows), plan.local_steps, size)
        lost = []
        for start in range(0, len(rows), self._chunk):
            part = slice(start, start + self._chunk)
            pull = None
            if momentum is not None and beta:
                pull = np.float32(beta) * momentum[rows[part]]
            x = models[rows[part]]
            self._train_chunk(x, pull, plan, records[part])
            # NaN and infinity win every comparison for the largest or the smallest
            fine = np.isfinite(x.max(axis=1)) & np.isfinite(x.min(axis=1))
            models[rows[part][fine]] = x[fine]
            if not fine.all():
                lost.append(rows[part][~fine])
        return lost

    def _train_chunk(
        self,
        x: FloatVector,
        pull: FloatVector | None,
        plan: TrainingPlan,
        records: NDArray[np.int64],
    ) -> None:
        """All local steps of one chunk, in place; ``records`` is (n, steps, batch)."""
        net = self._task.net
        work = Work(net, len(x), records.shape[2])
        gradient = np.empty_like(x)
        velocity = np.zeros_like(x) if plan.momentum else None
        batch = np.empty((len(x), records.shape[2], net.inputs), dtype=np.float32)
        for step in range(plan.local_steps):
            chosen = records[:, step]
            np.take(self._task.train_x, chosen, axis=0, out=batch, mode="clip")
            net.mean_gradient(x, batch, self._task.train_y[chosen], gradient, work)
            take_step(x, gradient, velocity=velocity, pull=pull, plan=plan)

    def evaluate(self, models: FloatVector) -> Scores:
        """How good ``models`` (n, P) are on the test records."""
        task = self._task
        parts = [
            task.net.score(models[start : start + self._chunk], task.test_x, task.test_y)
            for start in range(0, len(models), self._chunk)
        ]
        samples = len(task.test_y)
        return Scores(
            accuracy=np.concatenate([right for right, _ in parts]) / samples,
            loss=np.concatenate([loss for _, loss in parts]),
            samples=samples,
        )
