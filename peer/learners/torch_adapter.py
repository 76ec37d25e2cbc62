"""Any ``nn.Module``, loss and data set as a model and as a learner.

The vector of a model holds its trainable parameters in the order of ``named_parameters``; frozen
parameters and buffers are never exchanged. A module is told nothing of privacy: clipping and
noise are added around it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...crypto.digest import digest
from ...crypto.errors import ConfigError, TidingsError
from .base import Evaluation, FloatVector, Rows, TrainingPlan, shape_fingerprint
from .data import Dataset, check_labels
from .dense_module import dense_task
from .descent import descend
from .per_example import ClippedSum, Loss, clipped_sum, is_random, per_record
from .torch_scores import Scorer, scorer

if TYPE_CHECKING:
    from ...crypto.privacy import Session

_CHUNK = 512  # records evaluated at a time
_SEEDING = threading.Lock()  # torch has one random generator for all threads


class TorchModel:
    """A module that ``factory(**arguments)`` makes; ``name`` is what errors call it.

    Raises ConfigError when the factory fails or makes something that cannot be trained.
    """

    def __init__(
        self, factory: Callable[..., object], arguments: Mapping[str, Any], *, name: str
    ) -> None:
        torch.set_num_threads(1)  # many peers in one process: several threads each are slower
        self.name = name
        self._factory = factory
        self._arguments = dict(arguments)
        self._module = self._made(seed=0)
        self._trained = [(n, p) for n, p in self._module.named_parameters() if p.requires_grad]
        if not self._trained:
            raise ConfigError("this module has no trainable parameters", where=name)
        for parameter_name, parameter in self._trained:
            if parameter.dtype != torch.float32 or parameter.device.type != "cpu":
                raise ConfigError(
                    f"parameter '{parameter_name}' is {parameter.dtype} on {parameter.device}",
                    where=name,
                    fix="make the module with float32 parameters on the CPU",
                )

    @property
    def parameters(self) -> int:
        """The number of trainable parameters, P."""
        return sum(p.numel() for _, p in self._trained)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of the trainable parameters."""
        return tuple(tuple(p.shape) for _, p in self._trained)

    def fingerprint(self) -> str:
        """Hex digest over the names and shapes of the trainable parameters."""
        names = [name for name, _ in self._trained]
        return shape_fingerprint(list(zip(names, self.shapes, strict=True)))

    def initial(self, seed: int) -> FloatVector:
        """The parameters of a module made under this seed, float32 (P,).

        torch's global generator is left as it was found.
        """
        module = self._made(seed)
        trained = [p.detach().reshape(-1) for p in module.parameters() if p.requires_grad]
        start: FloatVector = torch.cat(trained).numpy()
        if not np.isfinite(start).all():
            raise ConfigError("this module starts with NaN or infinite parameters", where=self.name)
        return start

    def _made(self, seed: int) -> nn.Module:
        """A new module, made under ``seed``."""
        if isinstance(self._factory, nn.Module):
            raise ConfigError(
                "this is a module, not something that makes one",
                where=self.name,
                fix="name its class, or a function that returns a new module",
            )
        with _telling(self.name, "the module could not be made"), _seeded(seed):
            module = self._factory(**self._arguments)
        if not isinstance(module, nn.Module):
            raise ConfigError(
                f"this makes a {type(module).__name__}, not a torch.nn.Module", where=self.name
            )
        return module


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchTask:
    """A module, and the records that it learns from: inputs and targets of each kind."""

    module: nn.Module
    loss: Loss
    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    score: Scorer


class TorchLearner(TorchModel):
    """A module trained on a peer's own records.

    ``loss(output, target)`` gives one number. Raises ConfigError when module, loss and data set
    do not fit together: one test record is run through them. ``task`` is what was checked, and
    ``dense`` the same for the NumPy kernel where that knows such modules; it then does the work.
    """

    def __init__(
        self,
        factory: Callable[..., object],
        arguments: Mapping[str, Any],
        loss: Loss,
        dataset: Dataset,
        *,
        name: str,
    ) -> None:
        super().__init__(factory, arguments, name=name)
        self._lock = threading.Lock()  # the module holds one vector at a time
        train = _tensor(dataset.train_x), _tensor(dataset.train_y)
        test = _tensor(dataset.test_x), _tensor(dataset.test_y)
        self._vector = self._gathered()
        self._module.eval()
        with torch.no_grad(), _telling(name, _misfit(*test)):
            output = self._module(test[0][:1])
            self._check_output(output, loss, dataset)
            _check_loss(loss(output, test[1][:1]))
        self.task = TorchTask(
            module=self._module,
            loss=loss,
            train=train,
            test=test,
            score=scorer(loss, output, test[1], name=name),
        )
        self.dense = dense_task(self._module, loss, dataset)
        self._random = is_random(self._module)
        self._clipped: ClippedSum | None = None

    @property
    def samples(self) -> int:
        """The number of training records."""
        return len(self.task.train[1])

    def prepare(self, *, per_example: bool) -> None:
        """Makes sure that training will work; ``per_example`` where each gradient is clipped.

        Raises ConfigError, for instance for batch norm under record-level privacy.
        """
        one = np.zeros(1, dtype=np.int64)
        if per_example:
            self.clipped_sum(self._vector.copy(), one, 1.0)
        elif not any(
            isinstance(m, nn.modules.batchnorm._BatchNorm) for m in self._module.modules()
        ):
            self.mean_gradient(self._vector.copy(), one)

    def train(
        self,
        model: FloatVector,
        drift: FloatVector | None,
        *,
        beta: float,
        plan: TrainingPlan,
        session: Session,
    ) -> FloatVector:
        """The model after one round of local steps, float32 (P,); see ``Learner.train``."""
        return descend(self, self.samples, model, drift, beta=beta, plan=plan, session=session)

    def mean_gradient(self, model: FloatVector, rows: Rows) -> FloatVector:
        """The gradient of the loss over ``rows``, float32 (P,).

        Layers that draw random numbers are seeded from ``model``, so that a run can be repeated.
        """
        if self.dense is not None:
            return self.dense.mean_gradient(model, rows)
        seed = (
            int.from_bytes(digest("layer-seed", model.data)[:8], "little") if self._random else None
        )
        x, y = (part[torch.from_numpy(rows)] for part in self.task.train)
        with self._lock, _telling(self.name, "the module failed in training"), _seeded(seed):
            self._load(model, training=True)
            value = self.task.loss(self._module(x), y)
            found = torch.autograd.grad(
                value, [p for _, p in self._trained], allow_unused=True, materialize_grads=True
            )
        gradient: FloatVector = torch.cat([g.reshape(-1) for g in found]).numpy()
        return gradient

    def clipped_sum(self, model: FloatVector, rows: Rows, clip_norm: float) -> FloatVector:
        """The sum of the gradients of ``rows``, each clipped to ``clip_norm``, float32 (P,)."""
        if self.dense is not None:
            return self.dense.clipped_sum(model, rows, clip_norm)
        total = np.zeros(self.parameters, dtype=np.float32)
        x, y = (part[torch.from_numpy(rows)] for part in self.task.train)
        with self._lock, _telling(self.name, "the module cannot be trained record by record"):
            self._load(model, training=True)
            if self._clipped is None:
                one_x, one_y = (part[:1] for part in self.task.train)
                self._clipped = clipped_sum(self._module, self.task.loss, one_x, one_y)
            if len(rows):
                self._clipped(x, y, clip_norm, torch.from_numpy(total))
        return total

    def evaluate(self, model: FloatVector) -> Evaluation:
        """How good ``model``, float32 (P,), is on the test records."""
        if self.dense is not None:
            return self.dense.evaluate(model)
        task = self.task
        x, y = task.test
        loss = score = 0.0
        with self._lock, torch.no_grad(), _telling(self.name, "the module failed in evaluation"):
            self._load(model, training=False)
            for start in range(0, len(y), _CHUNK):
                target = y[start : start + _CHUNK]
                output = self._module(x[start : start + _CHUNK])
                score += task.score.add(output, target)
                loss += float(task.loss(output, target)) * len(target)
        return Evaluation(
            accuracy=task.score.finish(score, len(y)), loss=loss / len(y), samples=len(y)
        )

    def _load(self, model: FloatVector, *, training: bool) -> None:
        """Puts ``model`` into the module."""
        self._vector[:] = model
        self._module.train(training)

    def _gathered(self) -> FloatVector:
        """Moves the trained parameters into one vector that they are views of."""
        vector = torch.cat([p.detach().reshape(-1) for _, p in self._trained])
        at = 0
        for _, parameter in self._trained:
            parameter.data = vector[at : at + parameter.numel()].view(parameter.shape)
            at += parameter.numel()
        shared: FloatVector = vector.numpy()
        return shared

    def _misfit(self) -> str:
        """What to say when the module cannot take a record."""
        task = self.task
        x, y = task.test
        return (
            f"module, loss and data set do not fit; a record is {_shown(x)}, its target {_shown(y)}"
        )

    def _check_output(self, output: object, loss: Loss, dataset: Dataset) -> None:
        """ConfigError when the module gives something that does not fit the targets."""
        if not isinstance(output, Tensor):
            raise ConfigError(
                f"this module gives a {type(output).__name__}, not a tensor",
                where=self.name,
                fix="wrap it in a module that returns what the loss needs",
            )
        target = dataset.test_y
        if target.dtype == np.int64 and output.ndim == target.ndim + 1:
            for part in ("train_y", "test_y"):
                check_labels(part, getattr(dataset, part), output.shape[1])
        elif per_record(loss) is not None and output.shape[1:] != target.shape[1:]:
            # torch would stretch one to the shape of the other and train on nonsense
            raise ConfigError(
                f"the module gives {_shown(output)} for a record whose target is "
                f"{_shown(torch.from_numpy(target.copy()))}",
                where=self.name,
                fix="give targets the shape of the module's output",
            )


def _misfit(x: Tensor, y: Tensor) -> str:
    """What to say when a module cannot take a record."""
    return f"module, loss and data set do not fit; a record is {_shown(x)}, its target {_shown(y)}"


def _check_loss(value: object) -> None:
    """ConfigError when the loss of a batch is not one number."""
    if not isinstance(value, Tensor) or value.ndim:
        raise ConfigError(
            "the loss does not give one number for a batch",
            where="learner.loss",
            fix="use a loss with reduction 'mean'",
        )


@contextlib.contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """torch's global generator under ``seed`` inside, as it was afterwards; None: untouched."""
    if seed is None:
        yield
        return
    with _SEEDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def _telling(where: str, what: str) -> Iterator[None]:
    """Turns whatever the user's code raises inside into a ConfigError."""
    try:
        yield
    except TidingsError:
        raise
    except Exception as error:
        said = (str(error).strip() or "no message").splitlines()[0]
        raise ConfigError(f"{what}: {type(error).__name__}: {said}", where=where) from error


def _tensor(array: NDArray[Any]) -> Tensor:
    """The array as a tensor; without a copy, unless it is read-only."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _shown(batch: Tensor) -> str:
    shape = " x ".join(map(str, batch.shape[1:])) or "a single number"
    return f"{shape} ({str(batch.dtype).removeprefix('torch.')})"
