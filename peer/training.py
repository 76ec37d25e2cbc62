"""What a worker thread does for the core: train and privatize, or evaluate.

Here, and nowhere else, a learner meets the privacy gate.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import numpy as np

from ..crypto.errors import BudgetExhausted, ConfigError
from ..crypto.privacy import PrivacyGate, Release
from ..gossip.effects import Evaluate, Tested, Train, Trained
from .learners.base import Learner, TrainingPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainer:
    """A learner, its plan, and the only door out.

    ``largest`` is what a parameter may come to (gossip/publishing.py).
    """

    learner: Learner
    gate: PrivacyGate
    plan: TrainingPlan
    largest: float

    def train(self, job: Train) -> Trained:
        """Train and release; when that is not allowed, pass on what was public before.

        Raises StorageError when the ledger cannot be written: nothing is released then.
        """
        stopped = self.gate.affordable(self.plan.local_steps)
        if stopped is None:
            try:
                return Trained(round=job.round, release=self._release(job))
            except (ConfigError, BudgetExhausted) as error:
                stopped = str(error)
        return Trained(
            round=job.round, release=self.gate.pass_on(job.round, job.model), stopped=stopped
        )

    def _release(self, job: Train) -> Release:
        session = self.gate.begin(job.round)
        after = self.learner.train(
            job.model, job.drift, beta=job.beta, plan=self.plan, session=session
        )
        release = self.gate.privatize(session, job.model, after)
        if not np.abs(release.z).max(initial=0.0) < self.largest:  # also when it is not a number
            raise ConfigError(
                f"training diverged: a parameter is beyond {self.largest:g}",
                where="training.learning_rate",
                fix="lower it",
            )
        return release

    def evaluate(self, job: Evaluate) -> Tested:
        """Test a model on the held-out records."""
        result = self.learner.evaluate(job.model)
        # a model that diverged may have no loss that is a number; an event log knows only numbers
        loss = result.loss if math.isfinite(result.loss) else sys.float_info.max
        return Tested(round=job.round, accuracy=result.accuracy, loss=loss, samples=result.samples)
