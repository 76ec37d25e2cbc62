"""Rows on the actors of a Ray cluster, and what is left when one of them is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import cast

import pytest

from tests.scenarios.in_process_actors import InProcess
from tests.scenarios.small import small
from tests.scenarios.test_array_parity import SCENARIOS, Noted
from tidings.gossip.events import Event, Mixed, Published
from tidings.scenarios.engines.array.checkpoint import Memory
from tidings.scenarios.engines.array.crews import Crew
from tidings.scenarios.engines.array.engine import ArrayRun
from tidings.scenarios.engines.array.learners import workers_of
from tidings.scenarios.engines.array.liars import lying
from tidings.scenarios.engines.array.line_chronicle import LineChronicle
from tidings.scenarios.engines.array.start import crew_of, graph_of, tape_of
from tidings.scenarios.engines.ray import cluster
from tidings.scenarios.engines.ray.actors import Actors
from tidings.scenarios.engines.ray.crew import RayCrew
from tidings.scenarios.engines.ray.division import Division
from tidings.scenarios.scenario import Scenario
from tidings.scenarios.world import World

MakeCrew = Callable[[World, int], Crew]
Outcome = tuple[Memory, float, Mapping[object, Event]]


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    """One cluster for all tests of this module: it takes seconds to start."""
    assert cluster.join()
    yield
    cluster.leave()


def outcome(scenario: Scenario, make_crew: MakeCrew) -> Outcome:
    """What is held after a run, how far apart the models are, and what was noted on the way."""
    world, noted = World(scenario), Noted()
    workers = workers_of(world)
    graph = graph_of(world, workers)
    tape = tape_of(world, graph)
    crew = make_crew(world, tape.spare)
    run = ArrayRun(world, LineChronicle(world, noted.sink), crew, workers.samples, graph, tape)
    end, crew.close = crew.close, lambda: None  # type: ignore[method-assign]
    assert run.run() == "finished"
    memory, distance = crew.memory(), crew.distance()
    end()
    events: dict[object, Event] = {("published", *at): e for at, e in noted.of(Published).items()}
    events |= {("mixed", *at): e for at, e in noted.of(Mixed).items()}
    return memory, distance, events


def bits_of(memory: Memory) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in memory.items()}


def assert_same(one: Outcome, other: Outcome) -> None:
    assert bits_of(one[0]) == bits_of(other[0])
    assert one[1:] == other[1:]


def alone(world: World, spare: int) -> Crew:
    workers = workers_of(world)
    workers = lying(workers, world.scenario, graph_of(world, workers))
    return crew_of(world, workers, spare, cores=1)


def in_shards(count: int) -> MakeCrew:
    def make(world: World, spare: int) -> Crew:
        division = Division(world.scenario.peers, spare, count)
        actors = InProcess(world.scenario, world.genesis, division.cuts.tolist())
        return RayCrew(world.scenario, division, cast(Actors, actors))

    return make


def on_ray(world: World, spare: int) -> Crew:
    return crew_of(world, workers_of(world), spare, cores=2)


def losing(**when: int) -> MakeCrew:
    """A cluster that loses an actor right before the n-th call of some methods of the crew."""

    def make(world: World, spare: int) -> Crew:
        crew = on_ray(world, spare)
        assert isinstance(crew, RayCrew)
        for method, count in when.items():
            _lose(crew, method, count)
        return crew

    return make


def _lose(crew: RayCrew, method: str, count: int) -> None:
    whole, left = getattr(crew, method), [count]

    def lossy(*arguments: object) -> object:
        left[0] -= 1
        if not left[0]:
            crew.actors.lose(count % 2)
        return whole(*arguments)

    setattr(crew, method, lossy)


def scenario_of(name: str, engine: str = "array") -> Scenario:
    return small(
        f"engine={engine}",
        "peers=8",
        "rules.rounds=6",
        "rules.deadline_s=0.4",
        "training.local_steps=2",
        *SCENARIOS[name],
    )


@pytest.mark.parametrize("name", SCENARIOS)
def test_shards_come_to_the_bits_of_one_array(name: str) -> None:
    scenario = scenario_of(name)
    assert_same(outcome(scenario, in_shards(3)), outcome(scenario, alone))


@pytest.mark.parametrize("name", ["lossy feedback", "crashes"])
def test_other_shards_carry_on_from_what_was_held(name: str) -> None:
    scenario = scenario_of(name)
    expected, by_three = (outcome(scenario, make)[0] for make in (alone, in_shards(3)))
    by_two = in_shards(2)(World(scenario), expected["public"].shape[1] - scenario.peers)
    by_two.take_up(by_three)
    assert bits_of(by_two.memory()) == bits_of(by_three) == bits_of(expected)


@pytest.mark.usefixtures("ray")
def test_a_cluster_that_loses_actors_comes_to_the_bits_of_one_process() -> None:
    name = "lossy feedback"
    made = outcome(scenario_of(name, "ray"), losing(publish=3, mix=5))
    assert_same(made, outcome(scenario_of(name), alone))


@pytest.mark.nightly
@pytest.mark.usefixtures("ray")
@pytest.mark.parametrize("name", ["int4", "crashes", "asynchronous", "tracking with crashes"])
def test_a_cluster_comes_to_the_bits_of_one_process(name: str) -> None:
    expected = outcome(scenario_of(name), alone)
    assert_same(outcome(scenario_of(name, "ray"), on_ray), expected)
    assert_same(outcome(scenario_of(name, "ray"), losing(publish=2, mix=4)), expected)
