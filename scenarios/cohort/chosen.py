"""The cohort that a scenario's learner asks for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...peer.learners.data import Dataset
from ...peer.learners.softmax import SoftmaxLearner
from ...peer.learners.spec import build_learner
from ..scenario import Scenario
from .base import Cohort
from .chunked import ChunkedCohort
from .dense import DenseKernel


def make_cohort(scenario: Scenario, shares: Sequence[Dataset]) -> Cohort:
    """The learners of a scenario's nodes, each with its own share of the training records.

    Raises ConfigError when the records do not suit the model, or the model the kind of privacy.
    """
    learner = build_learner(scenario.learner, dataset=joined(shares))
    per_example = scenario.privacy.mode == "record"
    learner.prepare(per_example=per_example)
    samples = np.array([share.samples for share in shares], dtype=np.int64)
    if isinstance(learner, SoftmaxLearner):
        return ChunkedCohort(DenseKernel(learner.dense), samples)
    from .torch_cohort import torch_cohort  # softmax regression needs no torch

    return torch_cohort(learner, samples, scenario.learner, shares, per_example=per_example)


def joined(shares: Sequence[Dataset]) -> Dataset:
    """All nodes' training records one after another, and the test records, which they share."""
    first = shares[0]
    return Dataset(
        train_x=np.concatenate([share.train_x for share in shares]),
        train_y=np.concatenate([share.train_y for share in shares]),
        test_x=first.test_x,
        test_y=first.test_y,
    )
