"""What the rest of a peer knows about learning: a model's shape, and a learner that trains it.

A *model* says how many parameters there are, what they are called and where they start; it
needs no data, so the creator of a network can describe one. A *learner* is a model together
with a peer's own data. Neither torch nor any data set is imported here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ...crypto.digest import digest
from ...gossip.grid import FloatVector

if TYPE_CHECKING:
    from ...crypto.privacy import Session

__all__ = [
    "Evaluation",
    "FloatVector",
    "Learner",
    "Model",
    "Rows",
    "TrainingPlan",
    "shape_fingerprint",
]

Rows: TypeAlias = NDArray[np.int64]
"""Numbers of training records, int64 (B,)."""


class TrainingPlan(BaseModel):
    """How a peer trains in one round; its own choice, unlike the rules of the network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    local_steps: int = Field(default=5, ge=1, le=100_000)
    batch_size: int = Field(default=32, ge=1, description="record mode samples by rate instead")
    learning_rate: float = Field(default=0.5, gt=0, allow_inf_nan=False)
    momentum: float = Field(
        default=0.0, ge=0, lt=1, description="heavy-ball, local; forgotten after each round"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """How good a model is on held-out data.

    ``accuracy`` is the share of test records classified rightly; where the targets are real
    numbers it is the share of their variance that the model explains (R^2, not below 0).
    ``loss`` is the mean loss of a record, ``samples`` the number of test records.
    """

    accuracy: float
    loss: float
    samples: int


class Model(Protocol):
    """The shape of what is learned, without data."""

    @property
    def parameters(self) -> int:
        """The number of parameters, P."""
        ...

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of the parameters, in their order."""
        ...

    def fingerprint(self) -> str:
        """Hex digest over the names and shapes of the parameters, in their order."""
        ...

    def initial(self, seed: int) -> FloatVector:
        """The model that training starts from, float32 (P,): the same for equal seeds."""
        ...


class Learner(Model, Protocol):
    """A model and the data that a peer trains it on. Each method may run in any thread."""

    @property
    def samples(self) -> int:
        """The number of training records."""
        ...

    def prepare(self, *, per_example: bool) -> None:
        """Makes sure, before a peer starts, that ``train`` will work.

        ``per_example`` is true in privacy mode "record". Raises ConfigError, for instance for
        batch norm, which lets the records of a batch influence each other.
        """
        ...

    def train(
        self,
        model: FloatVector,
        drift: FloatVector | None,
        *,
        beta: float,
        plan: TrainingPlan,
        session: Session,
    ) -> FloatVector:
        """The model after one round of local steps, float32 (P,); the arguments are left alone.

        ``drift`` (P,) is what the gossip rule adds, times ``beta``, to each gradient. Which records
        each step sees, and with how much noise, is the session's to say. Raises ConfigError when
        training diverges.
        """
        ...

    def evaluate(self, model: FloatVector) -> Evaluation:
        """How good ``model``, float32 (P,), is on the test records."""
        ...


def shape_fingerprint(shapes: Sequence[tuple[str, tuple[int, ...]]]) -> str:
    """Hex digest over the names and shapes of parameters, in their order."""
    lines = [f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes]
    return digest("model-shape", *(line.encode() for line in lines)).hex()
