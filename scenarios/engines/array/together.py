"""Training all nodes at once: a cohort's kernel, behind what a peer's privacy gate would do."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ....crypto.ledger import Ledger
from ....crypto.privacy import PrivacyGate
from ....crypto.sampling import Keys
from ....gossip.events import Released
from ....gossip.grid import FloatVector
from ....gossip.publishing import largest_parameter
from ....gossip.rounds import released
from ...cohort.base import Cohort
from ...scenario import Scenario
from ...world import session_seeds
from .tape import Nodes
from .workers import Scores, Trained

DIVERGED = "training diverged"


class Together:
    """A cohort that trains without privacy; each node on the batches that the simulator draws."""

    def __init__(self, cohort: Cohort, scenario: Scenario) -> None:
        self._cohort = cohort
        self._scenario = scenario
        rules = scenario.rules
        self._largest = largest_parameter(rules.grid_bits)
        self._trained, self._passed_on = _notes(scenario)

    @property
    def samples(self) -> Sequence[int]:
        """The number of training records of each node."""
        counts: list[int] = self._cohort.samples.tolist()
        return counts

    def train(
        self,
        nodes: Nodes,
        rounds: Nodes,
        sessions: Nodes,
        models: FloatVector,
        drift: FloatVector | None,
        beta: float,
    ) -> Trained:
        """Train some nodes; see ``Workers.train``."""
        before = models.copy()
        lost = self._cohort.train(
            models,
            drift,
            beta=beta,
            plan=self._scenario.training,
            nodes=nodes,
            keys=self._keys(nodes, sessions),
        )
        trained = np.abs(models).max(axis=1) < self._largest
        trained[lost] = False
        if not trained.all():
            models[~trained] = before[~trained]
        notes = {round: _of_round(self._trained, round) for round in np.unique(rounds).tolist()}
        events = [notes[round] for round in rounds.tolist()]
        stopped = {int(i): DIVERGED for i in np.flatnonzero(~trained)}
        for i in stopped:
            events[i] = _of_round(self._passed_on, int(rounds[i]))
        return Trained(
            trained=trained,
            began=np.ones(len(nodes), dtype=np.bool_),
            released=events,
            stopped=stopped,
        )

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


def _notes(scenario: Scenario) -> tuple[Released, Released]:
    """What a log tells of a release without privacy: after training, and without."""
    gate = PrivacyGate(
        scenario.privacy,
        Ledger(None),
        samples=1,
        planned_steps=scenario.rules.rounds * scenario.training.local_steps,
        planned_releases=scenario.rules.rounds,
        entropy=bytes,
    )
    nothing = np.zeros(1, dtype=np.float32)
    trained = gate.privatize(gate.begin(0), nothing, nothing)
    return released(trained, 0), released(gate.pass_on(0, nothing), 0)


def _of_round(event: Released, round: int) -> Released:
    return replace(event, round=round)
