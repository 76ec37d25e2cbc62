"""A cohort of learners that train one after another: slow, and right for any module."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...crypto.digest import digest
from ...crypto.errors import ConfigError
from ...crypto.privacy_settings import PrivacySettings
from ...crypto.sampling import Keys
from ...crypto.session import Session
from ...gossip.grid import FloatVector
from ...peer.learners.base import TrainingPlan
from ...peer.learners.data import Dataset
from ...peer.learners.spec import LearnerConfig, build_learner
from .base import Nodes, Noise, Scores

_NO_PRIVACY = PrivacySettings(mode="none")


class AloneCohort:
    """One learner of its own for each node, as in the `sim` engine."""

    def __init__(self, config: LearnerConfig, shares: Sequence[Dataset]) -> None:
        self._learners = [build_learner(config, dataset=share) for share in shares]
        self.samples = np.array([one.samples for one in self._learners], dtype=np.int64)

    @property
    def parameters(self) -> int:
        """The number of parameters of a model, P."""
        return self._learners[0].parameters

    def train(
        self,
        models: FloatVector,
        drift: FloatVector | None,
        *,
        beta: float,
        plan: TrainingPlan,
        nodes: Nodes,
        keys: Keys,
        noise: Noise | None = None,
    ) -> Nodes:
        """One round of local steps, in place; see ``Cohort.train``."""
        lost = []
        for row, node in enumerate(nodes.tolist()):
            session = _session(keys[row], int(self.samples[node]), noise)
            added = None if drift is None else drift[row]
            try:
                trained = self._learners[node].train(
                    models[row], added, beta=beta, plan=plan, session=session
                )
            except ConfigError:  # a learner is checked when it is made: this one diverged
                lost.append(row)
                continue
            if noise is not None and noise.settings.mode == "peer":
                before = models[row].astype(np.float64)
                trained = (before + session.noise_update(trained - before)).astype(np.float32)
            models[row] = trained
        return np.array(lost, dtype=np.intp)

    def evaluate(self, models: FloatVector) -> Scores:
        """How good ``models`` (n, P) are on the test records."""
        found = [self._learners[0].evaluate(model) for model in models]
        return Scores(
            accuracy=np.array([one.accuracy for one in found]),
            loss=np.array([one.loss for one in found]),
            samples=found[0].samples,
        )


def _session(key: Keys, samples: int, noise: Noise | None) -> Session:
    """A session that draws the batches of ``key`` (2,)."""
    half = key.astype("<u8").tobytes()
    return Session(
        _NO_PRIVACY if noise is None else noise.settings,
        noise_multiplier=0.0 if noise is None else noise.multiplier,
        samples=samples,
        round=0,
        seed=half + digest("cohort", half)[: len(half)],
    )
