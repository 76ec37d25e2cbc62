"""The kernel of linear models and perceptrons: the peers' own, with more models in its arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...gossip.grid import FloatVector
from ...peer.learners.dense import DenseTask, Work
from .base import Scores

_CHUNK_BYTES = 2**20  # of models, gradients and activations: half of a usual L2 cache
_TESTED_BYTES = 2**22


class DenseKernel:
    """The gradients of many models of one task."""

    def __init__(self, task: DenseTask) -> None:
        self.parameters = task.net.parameters
        self._task = task
        self._work: Work | None = None
        self._batch = np.empty((0, 0, 0), dtype=np.float32)

    def chunk(self, records: int) -> int:
        """Models that fit a core's cache with all that a step touches."""
        widths = sum(2 * layer.outputs for layer in self._task.net.layers) + self._task.net.inputs
        return max(2, _CHUNK_BYTES // (4 * (2 * self.parameters + records * widths)))

    def mean_gradient(
        self, models: FloatVector, records: NDArray[np.int64], out: FloatVector
    ) -> None:
        """Writes the gradients of the mean losses into ``out`` (n, P)."""
        x, work = self._gathered(records)
        self._task.net.mean_gradient(models, x, self._task.train_y[records], out, work)

    def clipped_sum(
        self,
        models: FloatVector,
        records: NDArray[np.int64],
        present: FloatVector,
        clip_norm: float,
        out: FloatVector,
    ) -> None:
        """Writes the sums of the records' gradients, each clipped, into ``out`` (n, P)."""
        x, work = self._gathered(records)
        y = self._task.train_y[records]
        self._task.net.clipped_sum(models, x, y, present, clip_norm, out, work)

    def score(self, models: FloatVector) -> Scores:
        """How good the models are on the test records."""
        task = self._task
        at_once = max(1, _TESTED_BYTES // (4 * len(task.test_y) * task.net.classes))
        parts = [
            task.net.score(models[start : start + at_once], task.test_x, task.test_y)
            for start in range(0, len(models), at_once)
        ]
        samples = len(task.test_y)
        return Scores(
            accuracy=np.concatenate([right for right, _ in parts]) / samples,
            loss=np.concatenate([loss for _, loss in parts]),
            samples=samples,
        )

    def _gathered(self, records: NDArray[np.int64]) -> tuple[FloatVector, Work]:
        """The records' features (n, B, inputs), and scratch memory of that size."""
        task = self._task
        if self._work is None or self._batch.shape[:2] != records.shape:
            self._work = Work(task.net, *records.shape)
            self._batch = np.empty((*records.shape, task.net.inputs), dtype=np.float32)
        np.take(task.train_x, records, axis=0, out=self._batch, mode="clip")
        return self._batch, self._work
