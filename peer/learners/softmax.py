"""Multinomial logistic regression in NumPy alone: for boards, and for peers without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...crypto.errors import ConfigError
from .base import Evaluation, FloatVector, Rows, TrainingPlan, shape_fingerprint
from .data import Dataset, check_labels
from .descent import clip_factors, descend

if TYPE_CHECKING:
    from ...crypto.privacy import Session

_CHUNK = 4096  # records evaluated at a time


class SoftmaxModel:
    """Weights (classes, features), then biases (classes,), in one vector."""

    def __init__(self, *, features: int, classes: int) -> None:
        if features < 1 or classes < 2:
            raise ConfigError(
                f"softmax regression needs features and at least two classes, not {features} "
                f"and {classes}",
                where="learner",
                fix="set features and classes to those of the data set",
            )
        self.features = features
        self.classes = classes

    @property
    def parameters(self) -> int:
        """The number of parameters, P = classes x (features + 1)."""
        return self.classes * (self.features + 1)

    def fingerprint(self) -> str:
        """Hex digest over the names and shapes of the parameters."""
        weight, bias = (self.classes, self.features), (self.classes,)
        return shape_fingerprint([("softmax.weight", weight), ("softmax.bias", bias)])

    def initial(self, seed: int) -> FloatVector:
        """Zeros (P,) whatever the seed: the loss is convex, so no start is better."""
        return np.zeros(self.parameters, dtype=np.float32)


class SoftmaxLearner(SoftmaxModel):
    """Softmax regression on a peer's own records; inputs of any shape are flattened.

    Raises ConfigError when the data set does not fit ``features`` and ``classes``.
    """

    def __init__(self, dataset: Dataset, *, features: int, classes: int) -> None:
        super().__init__(features=features, classes=classes)
        self._train = self._fitting("train", dataset.train_x, dataset.train_y)
        self._test = self._fitting("test", dataset.test_x, dataset.test_y)

    @property
    def samples(self) -> int:
        """The number of training records."""
        return len(self._train[1])

    def prepare(self, *, per_example: bool) -> None:
        """Nothing can fail later that was not checked when the learner was made."""

    def train(
        self,
        model: FloatVector,
        momentum: FloatVector,
        *,
        beta: float,
        plan: TrainingPlan,
        session: Session,
    ) -> FloatVector:
        """The model after one round of local steps, float32 (P,); see ``Learner.train``."""
        return descend(self, self.samples, model, momentum, beta=beta, plan=plan, session=session)

    def mean_gradient(self, model: FloatVector, rows: Rows) -> FloatVector:
        """The gradient of the mean cross-entropy over ``rows``, float32 (P,)."""
        x, errors = self._errors(model, rows)
        return _flat(errors.T @ x, errors.sum(axis=0)) / np.float32(len(rows))

    def clipped_sum(self, model: FloatVector, rows: Rows, clip_norm: float) -> FloatVector:
        """The sum of the gradients of ``rows``, each clipped to ``clip_norm``, float32 (P,).

        A record's gradient is the outer product of its error and (x, 1), so its norm is the
        product of the two norms and no gradient is ever formed (Goodfellow 2015).
        """
        x, errors = self._errors(model, rows)
        norms = np.sqrt((_squares(x) + 1) * _squares(errors))
        errors[~np.isfinite(norms)] = 0
        errors *= clip_factors(norms, clip_norm)[:, None]
        return _flat(errors.T @ x, errors.sum(axis=0))

    def evaluate(self, model: FloatVector) -> Evaluation:
        """Accuracy and mean cross-entropy of ``model``, float32 (P,), on the test records."""
        x, y = self._test
        right, loss = 0, 0.0
        for start in range(0, len(y), _CHUNK):
            labels = y[start : start + _CHUNK]
            logits = self._logits(model, x[start : start + _CHUNK]).astype(np.float64)
            right += int((logits.argmax(axis=1) == labels).sum())
            shifted = logits - logits.max(axis=1, keepdims=True)
            own = shifted[np.arange(len(labels)), labels]
            loss += float((np.log(np.exp(shifted).sum(axis=1)) - own).sum())
        return Evaluation(accuracy=right / len(y), loss=loss / len(y), samples=len(y))

    def _errors(
        self, model: FloatVector, rows: Rows
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Inputs (B, features) of ``rows``, and probabilities minus one-hot labels (B, classes)."""
        x = self._train[0][rows]
        errors = self._logits(model, x)
        errors -= errors.max(axis=1, keepdims=True)
        np.exp(errors, out=errors)
        errors /= errors.sum(axis=1, keepdims=True)
        errors[np.arange(len(rows)), self._train[1][rows]] -= 1
        return x, errors

    def _logits(self, model: FloatVector, x: NDArray[np.float32]) -> NDArray[np.float32]:
        weights = model[: -self.classes].reshape(self.classes, self.features)
        logits: NDArray[np.float32] = x @ weights.T + model[-self.classes :]
        return logits

    def _fitting(
        self, part: str, x: NDArray[Any], y: NDArray[Any]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The records as (n, features) and (n,), checked."""
        flat = np.ascontiguousarray(x.reshape(len(x), -1), dtype=np.float32)
        if flat.shape[1] != self.features:
            raise ConfigError(
                f"records of {part}_x have {flat.shape[1]} features, not {self.features}",
                where="dataset",
                fix=f"set features = {flat.shape[1]}, as all members of the network must",
            )
        if y.ndim != 1 or y.dtype != np.int64:
            raise ConfigError(
                f"{part}_y is not one whole number for each record",
                where="dataset",
                fix="number the classes from 0",
            )
        check_labels(f"{part}_y", y, self.classes)
        return flat, y


def _squares(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """The squared norm of each row, (B,); in float64, where it cannot overflow."""
    squares: NDArray[np.float64] = np.square(values, dtype=np.float64).sum(axis=1)
    return squares


def _flat(weights: NDArray[np.float32], biases: NDArray[np.float32]) -> FloatVector:
    return np.concatenate([weights.ravel(), biases])
