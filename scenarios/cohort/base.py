"""What an engine trains its nodes with: all of them, or those that are due, in one call.

    cohort = make_cohort(scenario, shares)
    lost = cohort.train(models, None, beta=0.0, plan=plan, nodes=nodes, keys=batch_keys(seeds))
    scores = cohort.evaluate(models)

``models`` is float32 (n, P), a row for each of ``nodes`` (n,), and changes in place. A node's
result depends on its own row, key and records alone: not on the other nodes of the call, their
order, or how many are worked on at a time. Without privacy it trains on the same records as the
peer of that number in the `sim` engine does; linear models and perceptrons run through the same
kernel as there (peer/learners/dense.py) and come to the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ...crypto.sampling import Keys
from ...gossip.grid import FloatVector
from ...peer.learners.base import TrainingPlan
from ...peer.learners.data import Dataset
from ...peer.learners.dense import DenseTask
from ...peer.learners.spec import build_learner

if TYPE_CHECKING:
    from ..scenario import Scenario

Nodes = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """How good n models are on the test records, of which there are ``samples``.

    ``accuracy`` and ``loss`` are float64 (n,) and mean what they mean in ``Evaluation``.
    """

    accuracy: NDArray[np.float64]
    loss: NDArray[np.float64]
    samples: int


class Cohort(Protocol):
    """The learners of all nodes."""

    @property
    def nodes(self) -> int:
        """The number of nodes, N."""
        ...

    @property
    def parameters(self) -> int:
        """The number of parameters of a model, P."""
        ...

    @property
    def samples(self) -> NDArray[np.int64]:
        """The number of training records of each node, int64 (N,)."""
        ...

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
        """One round of local steps, in place: the rows of ``models`` (n, P) belong to ``nodes``.

        Each step is x -= lr (beta m + v), with ``momentum`` m (n, P) or None for none, and v the
        gradient or the plan's own momentum. ``keys`` (n, 2) draw the batches: those of the
        sessions' seeds (crypto/sampling.py).

        Returns which rows diverged; these are as they were before.
        """
        ...

    def evaluate(self, models: FloatVector) -> Scores:
        """How good ``models`` (n, P) are on the test records, which are the same for all nodes."""
        ...


def make_cohort(scenario: Scenario, shares: Sequence[Dataset]) -> Cohort:
    """The learners of a scenario's nodes, each with its own share of the training records.

    Raises ConfigError when a node's records do not suit the model.
    """
    from .dense import DenseCohort

    learner = build_learner(scenario.learner, dataset=joined(shares))
    samples = np.array([share.samples for share in shares], dtype=np.int64)
    dense = getattr(learner, "dense", None)
    if isinstance(dense, DenseTask):
        return DenseCohort(dense, samples)
    raise NotImplementedError("models other than perceptrons: the generic path")


def joined(shares: Sequence[Dataset]) -> Dataset:
    """All nodes' training records one after another, and the test records that they share."""
    first = shares[0]
    return Dataset(
        train_x=np.concatenate([share.train_x for share in shares]),
        train_y=np.concatenate([share.train_y for share in shares]),
        test_x=first.test_x,
        test_y=first.test_y,
    )
