"""What the logs of simulated nodes tell of their releases: the same of all who made as many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ....crypto.ledger import Ledger
from ....crypto.privacy import PrivacyGate
from ....gossip.events import Released
from ....gossip.rounds import released
from ...scenario import Scenario
from ..sim import TRUST_MODEL


class Releases:
    """One privacy gate for all nodes: they share settings, plan and budget.

    It goes through the motions with a model of one zero, release after release, so that budgets,
    noise and epsilon are those that each node's own gate would have come to.

    Raises ConfigError when the budget cannot be met.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._steps = scenario.training.local_steps
        self._privacy = scenario.privacy
        self._gate = PrivacyGate(
            scenario.privacy,
            Ledger(None),
            samples=1,
            planned_steps=scenario.rules.rounds * self._steps,
            planned_releases=scenario.rules.rounds,
            entropy=bytes,
        )
        self._made: list[Released | str] = []

    @property
    def noise_multiplier(self) -> float:
        """The noise's standard deviation divided by the clip norm; 0 without privacy."""
        return self._gate.noise_multiplier

    def stopped(self, number: int) -> str | None:
        """None if the ``number``-th release (from 0) may be made; else why not."""
        made = self._of(number)
        return made if isinstance(made, str) else None

    def trained(self, number: int, round: int) -> Released:
        """What is noted of the ``number``-th release, made by training in ``round``."""
        made = self._of(number)
        if isinstance(made, str):
            raise ValueError(f"release {number} was not made: {made}")
        return replace(made, round=round)

    def passed_on(self, number: int, round: int) -> Released:
        """What is noted of a model that is passed on without training, after so many releases."""
        last = [made for made in self._made[:number] if isinstance(made, Released)]
        gate = self._gate.pass_on(0, np.zeros(1, dtype=np.float32))
        event = self._labelled(released(gate, round))
        return replace(event, epsilon=last[-1].epsilon) if last else event

    def _of(self, number: int) -> Released | str:
        while len(self._made) <= number:
            if self._made and isinstance(self._made[-1], str):
                return self._made[-1]  # what was spent stays spent
            self._made.append(self._next())
        return self._made[number]

    def _next(self) -> Released | str:
        objection = self._gate.affordable(self._steps)
        if objection is not None:
            return objection
        nothing = np.zeros(1, dtype=np.float32)
        session = self._gate.begin(0)
        if self._privacy.mode == "record":
            for _ in range(self._steps):
                session.sample(1, 1)
                session.noisy_mean(nothing)
        return self._labelled(released(self._gate.privatize(session, nothing, nothing), 0))

    def _labelled(self, event: Released) -> Released:
        """No node's own ledger ends with this gate's row, and the noise protects nobody."""
        trust = event.trust_model if event.unit == "none" else TRUST_MODEL
        return replace(event, ledger="", trust_model=trust)
