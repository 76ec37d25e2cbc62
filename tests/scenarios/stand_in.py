"""A learner that learns nothing: the same made-up updates for every engine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tidings.crypto.ledger import Ledger
from tidings.peer.assembly import make_trainer
from tidings.peer.learners.base import Evaluation
from tidings.scenarios.scenario import Scenario
from tidings.scenarios.world import SessionEntropy, World


class StandIn:
    """Moves a model by what follows from its node and its round, and a little towards zero."""

    def __init__(self, node: int, parameters: int, samples: int) -> None:
        self._node = node
        self.parameters = parameters
        self.samples = samples

    def prepare(self, *, per_example: bool) -> None:
        assert not per_example

    def train(
        self, model: np.ndarray, drift: np.ndarray | None, *, beta: float, plan: Any, session: Any
    ) -> np.ndarray:
        rng = np.random.default_rng([self._node, session.round])
        step = rng.normal(scale=0.05, size=model.size) * rng.exponential(size=model.size)
        pull = np.float32(0.1) * model
        if drift is not None:
            pull += np.float32(beta) * drift
        after = model - np.float32(0.1) * pull
        return after + step.astype(np.float32)

    def evaluate(self, model: np.ndarray) -> Evaluation:
        return Evaluation(accuracy=0.5, loss=float(np.square(model).mean()), samples=1)


def stand_in_world(scenario: Scenario) -> World:
    """A world whose members learn nothing."""
    world = World(scenario)
    world.citizens = [
        replace(
            citizen,
            trainer=make_trainer(
                StandIn(citizen.index, world.genesis.size, 10 + 7 * citizen.index),  # type: ignore[arg-type]
                privacy=scenario.privacy,
                plan=scenario.training,
                rules=scenario.rules,
                ledger=Ledger(None),
                entropy=SessionEntropy(world.seed, citizen.index, scenario.peers),
            ),
        )
        for citizen in world.citizens
    ]
    return world
