"""Who trains the nodes of a run."""

from __future__ import annotations

from ....gossip.topology import Topology
from ...attacks import poisoned
from ...cohort.chosen import make_cohort
from ...scenario import Scenario
from ...world import World, shares_of
from .graph import Graph
from .liars import lying
from .together import Together
from .workers import Workers


def workers_of(world: World) -> Workers:
    """Who trains the nodes."""
    return Together(make_cohort(world.scenario, world.shares), world.scenario)


def workers_for(scenario: Scenario) -> Workers:
    """Who trains the nodes, in a process that knows no more than the scenario."""
    data = poisoned(shares_of(scenario), scenario.faults.liars)
    workers = Together(make_cohort(scenario, data), scenario)
    by_samples = scenario.rules.weighting == "samples"
    graph = Graph(Topology(scenario.rules.topology), workers.samples if by_samples else None)
    return lying(workers, scenario, graph)
