"""Small scenarios that run in a fraction of a second, and what their simulation did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from tidings.crypto.identity import short_id
from tidings.gossip.events import Event
from tidings.scenarios.engines.sim import SimNode, Simulation
from tidings.scenarios.run_log import LogLine
from tidings.scenarios.scenario import Scenario, load_scenario
from tidings.scenarios.tally import Tally
from tidings.scenarios.world import World

E = TypeVar("E", bound=Event)

SMALL = (
    'learner={kind="softmax", features=64, classes=10}',
    'rules.topology={kind="complete"}',
    "engine=sim",
    "privacy.mode=none",
    "peers=5",
    "rules.rounds=10",
    "rules.deadline_s=1.0",
)
"""Overrides that make `quickstart` small: softmax regression, five peers, all linked."""


def small(*sets: str) -> Scenario:
    """The small scenario with overrides of one's own."""
    return load_scenario("quickstart", (*SMALL, *sets))


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """A simulation that has ended, and all that was noted."""

    outcome: str
    simulation: Simulation
    lines: list[LogLine]
    tally: Tally

    @property
    def nodes(self) -> list[SimNode]:
        return self.simulation.nodes

    def of(self, kind: type[E], peer: int | None = None) -> Iterator[tuple[float, str, E]]:
        """Time, peer and event of every event of a kind, of all peers or of one."""
        for line in self.lines:
            if isinstance(line.event, kind) and peer in (None, self._index(line.peer)):
                yield line.time, line.peer, line.event

    def id(self, index: int) -> str:
        """The short id of a node."""
        return short_id(self.nodes[index].state.me.key)

    def _index(self, name: str) -> int:
        return next(node.citizen.index for node in self.nodes if node.citizen.name == name)


def simulate(scenario: Scenario) -> Simulated:
    """Run a scenario on the virtual clock, in memory."""
    lines: list[LogLine] = []
    tally = Tally()

    def sink(time: float, peer: str, event: Event) -> None:
        lines.append(LogLine(time=time, peer=peer, event=event))
        tally.add(lines[-1])

    simulation = Simulation(World(scenario), scenario.faults, sink)
    outcome = simulation.run()
    return Simulated(outcome=outcome, simulation=simulation, lines=lines, tally=tally)
