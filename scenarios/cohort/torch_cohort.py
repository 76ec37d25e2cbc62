"""Cohorts of torch modules: which way is best for a module."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...peer.learners.base import Learner
from ...peer.learners.data import Dataset
from ...peer.learners.spec import LearnerConfig
from ...peer.learners.torch_adapter import TorchLearner
from .alone import AloneCohort
from .base import Cohort
from .chunked import ChunkedCohort
from .dense import DenseKernel
from .functional import FunctionalKernel


def torch_cohort(
    learner: Learner,
    samples: NDArray[np.int64],
    config: LearnerConfig,
    shares: Sequence[Dataset],
    *,
    per_example: bool,
) -> Cohort:
    """The fastest cohort that trains ``learner``'s module rightly.

    ``learner`` has all nodes' records, in their order. Layers that draw random numbers or keep
    statistics belong to one node each, and recurrent ones are beyond vmap: such nodes train one
    after another.
    """
    assert isinstance(learner, TorchLearner)
    if learner.dense is not None:
        return ChunkedCohort(DenseKernel(learner.dense), samples)
    kernel = FunctionalKernel(learner.task)
    if kernel.works(per_example=per_example):
        return ChunkedCohort(kernel, samples)
    return AloneCohort(config, shares)
