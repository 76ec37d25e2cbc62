"""Rows on the actors of a Ray cluster, and what is left when one of them is lost."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.scenarios.small import small
from tests.scenarios.test_array_parity import SCENARIOS, Noted
from tidings.gossip.events import Event, Mixed, Published
from tidings.scenarios.engines.array.chronicle import LineChronicle
from tidings.scenarios.engines.array.crews import Crew
from tidings.scenarios.engines.array.engine import ArrayRun
from tidings.scenarios.engines.array.start import crew_of, graph_of, tape_of, workers_of
from tidings.scenarios.engines.ray import cluster
from tidings.scenarios.engines.ray.crew import RayCrew
from tidings.scenarios.scenario import Scenario
from tidings.scenarios.world import World


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    """One cluster for all tests of this module: it takes seconds to start."""
    assert cluster.join()
    yield
    cluster.leave()


def outcome(scenario: Scenario, lose: dict[str, int] | None = None) -> tuple[bytes, object]:
    """Models, copies and events of a run; an actor may be lost before the n-th of some calls."""
    world, noted = World(scenario), Noted()
    workers = workers_of(world)
    graph = graph_of(world, workers)
    tape = tape_of(world, graph)
    crew = crew_of(world, workers, tape.spare, cores=2 if scenario.engine == "ray" else 1)
    run = ArrayRun(world, LineChronicle(world, noted.sink), crew, workers.samples, graph, tape)
    for method, count in (lose or {}).items():
        losing(crew, method, count)
    end, crew.close = crew.close, lambda: None  # type: ignore[method-assign]
    assert run.run() == "finished"
    everyone = np.arange(scenario.peers)
    held = crew.copies(everyone).tobytes() + crew.models(everyone).tobytes()
    distance = crew.distance()
    end()
    events: dict[object, Event] = {**noted.of(Published)}
    return held, (distance, events, {**noted.of(Mixed)})


def losing(crew: Crew, method: str, count: int) -> None:
    """Lose an actor right before the count-th call of a method of the crew."""
    assert isinstance(crew, RayCrew)
    whole, left = getattr(crew, method), [count]

    def lossy(*arguments: object) -> object:
        left[0] -= 1
        if not left[0]:
            crew.actors.lose(count % 2)
        return whole(*arguments)

    setattr(crew, method, lossy)


def scenario_of(name: str, engine: str) -> Scenario:
    return small(
        f"engine={engine}",
        "peers=8",
        "rules.rounds=6",
        "rules.deadline_s=0.4",
        "training.local_steps=2",
        *SCENARIOS[name],
    )


@pytest.mark.usefixtures("ray")
@pytest.mark.parametrize("name", ["int4", "lossy feedback", "crashes", "asynchronous"])
def test_actors_come_to_the_bits_of_one_process(name: str) -> None:
    assert outcome(scenario_of(name, "ray")) == outcome(scenario_of(name, "array"))


@pytest.mark.usefixtures("ray")
def test_lost_actors_are_replaced_to_the_same_bits() -> None:
    lost = {"publish": 3, "mix": 4}
    scenario = scenario_of("lossy feedback", "ray")
    assert outcome(scenario, lost) == outcome(scenario_of("lossy feedback", "array"))
