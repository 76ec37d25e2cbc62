"""Nodes of the array engine that publish something else than what they learnt.

What they publish is well-formed, as scenarios/attacks.py has it; lies that break the wire's rules
need frames, and so the simulator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ....crypto.errors import ConfigError
from ....gossip.grid import FloatVector
from ...attacks import OWN, SEEING, SeeingAttack, Sight, alone, together
from ...faults import Liar
from ...scenario import Scenario
from .graph import Graph
from .tape import Nodes
from .workers import Scores, Trained, Training, Workers

MOST_SEEN = 2000  # nodes whose graph attackers can take in as one matrix


def lying(workers: Workers, scenario: Scenario, graph: Graph) -> Workers:
    """The workers, with the scenario's liars among them.

    Raises ConfigError for behaviours that only the simulator knows, and for networks too large to
    be seen as a whole.
    """
    liars = {liar.node: liar for liar in scenario.faults.liars}
    if not liars:
        return workers
    for liar in liars.values():
        if liar.behaviour not in (*OWN, *SEEING):
            raise ConfigError(
                f"'{liar.behaviour}' breaks the protocol's frames, and the array engine has none",
                where="faults.liars",
                fix="use --engine sim, or an attack on what is learnt such as 'alie'",
            )
    if sees_all(scenario) and scenario.peers > MOST_SEEN:
        raise ConfigError(
            f"attackers that see everything can see {MOST_SEEN} peers, not {scenario.peers}",
            where="faults.liars",
            fix="have fewer peers, or an attack that each carries out alone such as 'sign-flip'",
        )
    return Lying(workers, scenario, graph, liars)


def sees_all(scenario: Scenario) -> bool:
    """Whether some attackers see what all others learnt, so that one process has to have it."""
    return any(liar.behaviour in SEEING for liar in scenario.faults.liars)


class Lying:
    """Workers some of which lie about what they learnt."""

    def __init__(
        self, workers: Workers, scenario: Scenario, graph: Graph, liars: dict[int, Liar]
    ) -> None:
        self._workers = workers
        self._seed, self._rounds = scenario.seed, scenario.rules.rounds
        self._graph = graph
        self._liars = liars
        self.takes_whole_waves = sees_all(scenario)

    @property
    def samples(self) -> Sequence[int]:
        """The number of training records of each node."""
        return self._workers.samples

    def evaluate(self, nodes: Nodes, models: FloatVector) -> Scores:
        """Test models; see ``Workers.evaluate``."""
        return self._workers.evaluate(nodes, models)

    def train(self, job: Training) -> Trained:
        """Train, and put lies in the place of what the liars learnt."""
        nodes, rounds, models = job.nodes, job.rounds, job.models
        before = models.copy()
        trained = self._workers.train(job)
        at_work = {
            row: self._liars[node]
            for row, node in enumerate(nodes.tolist())
            if node in self._liars and rounds[row] >= self._liars[node].from_round
        }
        truth = models.copy()
        for row, liar in at_work.items():
            if liar.behaviour in OWN:
                models[row] = self._alone(liar, int(rounds[row]), before[row], truth[row])
        for attack in SEEING:
            rows = [row for row, liar in at_work.items() if liar.behaviour == attack]
            if rows:
                models[rows] = self._together(attack, rows, nodes, rounds, before, truth)
        released = [
            replace(event, mechanism="none", unit="none", epsilon=None, delta=None)
            if row in at_work
            else event
            for row, event in enumerate(trained.released)
        ]
        return replace(trained, released=released) if at_work else trained

    def _alone(self, liar: Liar, round_: int, before: FloatVector, z: FloatVector) -> FloatVector:
        chance = np.random.default_rng([self._seed, liar.node, round_])
        assert liar.behaviour in OWN
        return alone(
            liar.behaviour,
            before,
            z,
            chance,
            round=round_,
            rounds=self._rounds,
        )

    def _together(
        self,
        attack: SeeingAttack,
        rows: list[int],
        nodes: Nodes,
        rounds: Nodes,
        before: FloatVector,
        truth: FloatVector,
    ) -> FloatVector:
        attackers = np.zeros(len(nodes), dtype=np.bool_)
        attackers[rows] = True
        neighbours, table = self._graph.at(nodes, rounds)
        place = np.full(self._graph.nodes + 1, -1)  # the last one is for nobody
        place[nodes] = np.arange(len(nodes))
        weights = np.zeros((len(nodes), len(nodes)))
        at = place[neighbours]
        row, column = np.nonzero(at >= 0)
        weights[row, at[row, column]] = table[row, column]
        sight = Sight(before=before, releases=truth, attackers=attackers, weights=weights)
        return together(attack, sight)
