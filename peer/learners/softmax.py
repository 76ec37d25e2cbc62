"""Multinomial logistic regression in NumPy alone: for boards, and for peers without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...crypto.errors import ConfigError
from .base import Evaluation, FloatVector, TrainingPlan, shape_fingerprint
from .data import Dataset, check_labels
from .dense import Dense, DenseTask
from .descent import descend

if TYPE_CHECKING:
    from ...crypto.privacy import Session


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

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Those of the weights and of the biases."""
        return (self.classes, self.features), (self.classes,)

    def fingerprint(self) -> str:
        """Hex digest over the names and shapes of the parameters."""
        weight, bias = self.shapes
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
        train_x, train_y = self._fitting("train", dataset.train_x, dataset.train_y)
        test_x, test_y = self._fitting("test", dataset.test_x, dataset.test_y)
        self.dense = DenseTask(
            net=Dense([features, classes]),
            train_x=train_x,
            train_y=train_y,
            test_x=test_x,
            test_y=test_y,
        )

    @property
    def samples(self) -> int:
        """The number of training records."""
        return len(self.dense.train_y)

    def prepare(self, *, per_example: bool) -> None:
        """Nothing can fail later that was not checked when the learner was made."""

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
        return descend(
            self.dense, self.samples, model, drift, beta=beta, plan=plan, session=session
        )

    def evaluate(self, model: FloatVector) -> Evaluation:
        """Accuracy and mean cross-entropy of ``model``, float32 (P,), on the test records."""
        return self.dense.evaluate(model)

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
