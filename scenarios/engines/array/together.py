"""Training all nodes at once: a cohort's kernel, behind what a peer's privacy gate would do."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ....crypto.sampling import Keys
from ....gossip.events import Released
from ....gossip.grid import FloatVector
from ....gossip.publishing import largest_parameter
from ...cohort.base import Cohort, Noise
from ...scenario import Scenario
from ...world import session_seeds
from .releases import Releases
from .tape import Nodes
from .workers import Scores, Trained, Training

DIVERGED = "training diverged"


class Together:
    """A cohort behind a gate that all nodes share.

    Without privacy each node trains on the batches that it would draw in the simulator; with it
    the noise has the same scale and other values.
    """

    takes_whole_waves = False

    def __init__(self, cohort: Cohort, scenario: Scenario) -> None:
        self._cohort = cohort
        self._scenario = scenario
        self._largest = largest_parameter(scenario.rules.grid_bits)
        self._releases = Releases(scenario)
        self._noise: Noise | None = None
        if scenario.privacy.mode != "none":
            multiplier = self._releases.noise_multiplier
            self._noise = Noise(settings=scenario.privacy, multiplier=multiplier)

    @property
    def samples(self) -> Sequence[int]:
        """The number of training records of each node."""
        counts: list[int] = self._cohort.samples.tolist()
        return counts

    def train(self, job: Training) -> Trained:
        """Train some nodes; see ``Workers.train``."""
        stopped = self._refused(job.sessions)
        allowed = np.ones(len(job.nodes), dtype=np.bool_)
        allowed[list(stopped)] = False
        trained = allowed.copy()
        if allowed.all():
            trained &= self._train(job)
        elif allowed.any():
            some = Training(
                nodes=job.nodes[allowed],
                rounds=job.rounds[allowed],
                sessions=job.sessions[allowed],
                models=job.models[allowed],
                drift=None if job.drift is None else job.drift[allowed],
                beta=job.beta,
            )
            trained[allowed] = self._train(some)
            job.models[allowed] = some.models
        stopped |= dict.fromkeys(np.flatnonzero(allowed & ~trained).tolist(), DIVERGED)
        notes = self._notes(trained, job.sessions, job.rounds)
        return Trained(trained=trained, began=allowed, released=notes, stopped=stopped)

    def _refused(self, sessions: Nodes) -> dict[int, str]:
        """Why those whose budget is spent may train no more, by position."""
        found: dict[int, str] = {}
        for number in np.unique(sessions).tolist():
            why = self._releases.stopped(number)
            if why is not None:
                found |= dict.fromkeys(np.flatnonzero(sessions == number).tolist(), why)
        return found

    def _train(self, job: Training) -> NDArray[np.bool_]:
        """Train models in place; who came to something. The others stay as they were."""
        models = job.models
        before = models.copy()
        lost = self._cohort.train(
            models,
            job.drift,
            beta=job.beta,
            plan=self._scenario.training,
            nodes=job.nodes,
            keys=self._keys(job.nodes, job.sessions),
            noise=self._noise,
        )
        fine: NDArray[np.bool_] = np.abs(models).max(axis=1) < self._largest
        fine[lost] = False
        if not fine.all():
            models[~fine] = before[~fine]
        return fine

    def _notes(self, trained: NDArray[np.bool_], sessions: Nodes, rounds: Nodes) -> list[Released]:
        """What the logs tell of each release; equal ones are one object."""
        made: dict[tuple[bool, int, int], Released] = {}
        rows = list(zip(trained.tolist(), sessions.tolist(), rounds.tolist(), strict=True))
        for row in set(rows):
            told = self._releases.trained if row[0] else self._releases.passed_on
            made[row] = told(row[1], row[2])
        return [made[row] for row in rows]

    def evaluate(self, nodes: Nodes, models: FloatVector) -> Scores:
        """Test ``models`` (n, P) on the test records, which all nodes share."""
        found = self._cohort.evaluate(models)
        loss = np.where(np.isfinite(found.loss), found.loss, sys.float_info.max)
        return Scores(accuracy=found.accuracy, loss=loss, samples=found.samples)

    def _keys(self, nodes: Nodes, sessions: Nodes) -> Keys:
        """What the nodes' batches follow from (n, 2): the beginnings of their sessions' seeds."""
        seeds = np.empty((len(nodes), 16), dtype=np.uint8)
        for number in np.unique(sessions).tolist():
            here = sessions == number
            drawn = session_seeds(self._scenario.seed, number, self._scenario.peers)
            seeds[here] = drawn[nodes[here], :16]
        keys: NDArray[np.uint64] = seeds.view("<u8").astype(np.uint64, copy=False)
        return keys
