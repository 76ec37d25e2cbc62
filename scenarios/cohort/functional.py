"""The kernel for modules of any kind: one function of the parameters, mapped over models.

The module is called without its own parameters (``torch.func.functional_call``), differentiated
(``grad``) and mapped over the models (``vmap``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from ...gossip.grid import FloatVector
from ...peer.learners.descent import clip_factors
from ...peer.learners.per_example import is_random, per_record
from ...peer.learners.torch_adapter import TorchTask
from .base import Scores

_CHUNK_BYTES = 8 * 2**20  # of what the layers of all models of a chunk put out
_GRADIENT_BYTES = 32 * 2**20  # of single records' gradients held at a time
_TESTED = 512  # records tested at a time
_FEWEST, _MOST = 16, 256  # models of a chunk


class FunctionalKernel:
    """The gradients of many copies of one module.

    A chunk of one model is trained as two, for torch computes one of a kind in another way, with
    other bits. Modules must neither draw random numbers nor keep anything of what they see.
    """

    def __init__(self, task: TorchTask) -> None:
        self._task = task
        self._trained = {n: p for n, p in task.module.named_parameters() if p.requires_grad}
        fixed = {n: p.detach() for n, p in task.module.named_parameters() if not p.requires_grad}
        self._fixed = {**fixed, **dict(task.module.named_buffers())}
        self.parameters = sum(p.numel() for p in self._trained.values())
        self._record_bytes = _output_bytes(task.module, task.test[0][:1])
        self._one_by_one = per_record(task.loss) or task.loss
        self._batch_gradients = vmap(grad(self._batch_loss), randomness="error")
        over_records = vmap(grad(self._record_loss), in_dims=(None, 0, 0), randomness="error")
        self._record_gradients = vmap(over_records, randomness="error")

    def works(self, *, per_example: bool) -> bool:
        """Whether torch can map the module over models, and ``per_example`` over records too."""
        if is_random(self._task.module):
            return False
        models = np.zeros((2, self.parameters), dtype=np.float32)
        records = np.zeros((2, 2), dtype=np.int64)
        try:
            self.mean_gradient(models, records, np.empty_like(models))
            if per_example:
                present = np.ones(records.shape, dtype=np.float32)
                self.clipped_sum(models, records, present, 1.0, np.empty_like(models))
        except Exception:  # whatever the module raises; alone it was found to work
            return False
        return True

    def chunk(self, records: int) -> int:
        """As many models as keep the outputs of their layers within some megabytes."""
        most = _CHUNK_BYTES // max(1, records * self._record_bytes)
        return min(max(most, _FEWEST), _MOST)

    def mean_gradient(
        self, models: FloatVector, records: NDArray[np.int64], out: FloatVector
    ) -> None:
        """Writes the gradients of the mean losses into ``out`` (n, P)."""
        models, records = _at_least_two(models), _at_least_two(records)
        x, y = self._gathered(records)
        self._task.module.train()
        found = self._batch_gradients(self._named(models), x, y)
        at = 0
        for name, parameter in self._trained.items():
            gradient = found[name].reshape(len(models), -1)[: len(out)]
            out[:, at : at + parameter.numel()] = gradient.numpy()
            at += parameter.numel()

    def clipped_sum(
        self,
        models: FloatVector,
        records: NDArray[np.int64],
        present: FloatVector,
        clip_norm: float,
        out: FloatVector,
    ) -> None:
        """Writes the sums of the records' gradients, each clipped, into ``out`` (n, P)."""
        self._task.module.train()
        at_once = max(1, _GRADIENT_BYTES // (4 * self.parameters * records.shape[1]))
        for start in range(0, len(models), at_once):
            part = slice(start, start + at_once)
            x, y = self._gathered(_at_least_two(records[part]))
            named = self._record_gradients(self._named(_at_least_two(models[part])), x, y)
            gradients = [named[name].flatten(start_dim=2).numpy() for name in self._trained]
            size = len(out[part])
            each = np.concatenate(gradients, axis=2)[:size]  # (n, B, P)
            norms = np.sqrt(np.einsum("nbp,nbp->nb", each, each, dtype=np.float64))
            factors = clip_factors(norms, clip_norm) * present[part]
            each[~np.isfinite(norms)] = 0
            np.matmul(factors[:, None, :], each, out=out[part][:, None, :])

    def score(self, models: FloatVector) -> Scores:
        """How good the models are on the test records."""
        samples = len(self._task.test[1])
        at_once = self.chunk(min(samples, _TESTED))
        pieces = [models[start : start + at_once] for start in range(0, len(models), at_once)]
        with torch.no_grad():
            self._task.module.eval()
            found = [pair for piece in pieces for pair in self._scores(piece)]
        return Scores(
            accuracy=np.array([accuracy for accuracy, _ in found]),
            loss=np.array([loss for _, loss in found]),
            samples=samples,
        )

    def _scores(self, models: FloatVector) -> list[tuple[float, float]]:
        """Accuracy and mean loss of each of the models."""
        task = self._task
        x, y = task.test
        named = self._named(_at_least_two(models))
        losses, scores = np.zeros(len(models)), np.zeros(len(models))
        for start in range(0, len(y), _TESTED):
            target = y[start : start + _TESTED]
            outputs = vmap(self._output, in_dims=(0, None))(named, x[start : start + _TESTED])
            for row in range(len(models)):
                scores[row] += task.score.add(outputs[row], target)
                losses[row] += float(task.loss(outputs[row], target)) * len(target)
        return [
            (task.score.finish(float(score), len(y)), float(loss) / len(y))
            for score, loss in zip(scores, losses, strict=True)
        ]

    def _output(self, trained: dict[str, Tensor], x: Tensor) -> Tensor:
        output: Tensor = functional_call(self._task.module, {**trained, **self._fixed}, (x,))
        return output

    def _batch_loss(self, trained: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return self._task.loss(self._output(trained, x), y)

    def _record_loss(self, trained: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return self._one_by_one(self._output(trained, x.unsqueeze(0)), y.unsqueeze(0)).sum()

    def _named(self, models: FloatVector) -> dict[str, Tensor]:
        """The parameters by name, (n, ...) each, as views of ``models``."""
        rows = torch.from_numpy(models)
        sizes = [p.numel() for p in self._trained.values()]
        return {
            name: part.view(len(models), *parameter.shape)
            for (name, parameter), part in zip(
                self._trained.items(), torch.split(rows, sizes, dim=1), strict=True
            )
        }

    def _gathered(self, records: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        chosen = torch.from_numpy(records)
        x, y = self._task.train
        return x[chosen], y[chosen]


def _at_least_two(rows: NDArray[Any]) -> NDArray[Any]:
    """The rows, one of them twice if it is alone."""
    return rows if len(rows) > 1 else np.repeat(rows, 2, axis=0)


def _output_bytes(module: nn.Module, x: Tensor) -> int:
    """How much the module's layers put out for the record ``x`` (1, ...)."""
    counted = [x.nbytes]

    def count(layer: nn.Module, given: object, output: object) -> None:
        if isinstance(output, Tensor):
            counted.append(output.nbytes)

    hooks = [one.register_forward_hook(count) for one in module.modules()]
    try:
        with torch.no_grad():
            module.eval()
            module(x)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(counted)
