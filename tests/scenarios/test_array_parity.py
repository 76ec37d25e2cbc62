"""The array engine and the simulator make the same public copies, to the bit."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scenarios.small import small
from tests.scenarios.stand_in import stand_in_world
from tidings.gossip.events import Evaluated, Event, Mixed, Published, Sent, Skipped
from tidings.gossip.rules import TRACKING, RobustRule
from tidings.scenarios.engines.array.engine import ArrayRun
from tidings.scenarios.engines.array.learners import workers_of
from tidings.scenarios.engines.array.liars import lying
from tidings.scenarios.engines.array.line_chronicle import LineChronicle
from tidings.scenarios.engines.array.recorded import tape_of_log
from tidings.scenarios.engines.array.start import crew_of, graph_of, tape_of
from tidings.scenarios.engines.array.workers import OneByOne, Workers
from tidings.scenarios.engines.sim import Simulation
from tidings.scenarios.run_log import LogLine
from tidings.scenarios.scenario import Scenario
from tidings.scenarios.world import World

Facts = dict[tuple[str, int], Any]


class Noted(list[LogLine]):
    """A sink that keeps what it is told."""

    def sink(self, time: float, peer: str, event: Event) -> None:
        self.append(LogLine(time=time, peer=peer, event=event))

    def skips(self) -> list[tuple[str, Skipped]]:
        """Who skipped rounds, and how, in the order of the rounds."""
        found = [(line.peer, line.event) for line in self if isinstance(line.event, Skipped)]
        return sorted(found, key=lambda each: (each[0], each[1].to_round))

    def of(self, kind: type[Event]) -> Facts:
        """The events of a kind by peer and round."""
        return {
            (line.peer, line.event.round): line.event  # type: ignore[attr-defined]
            for line in self
            if isinstance(line.event, kind)
        }


def simulated(world: World) -> tuple[Noted, np.ndarray]:
    noted = Noted()
    simulation = Simulation(world, world.scenario.faults, noted.sink)
    assert simulation.run().startswith("finished")
    return noted, np.array([node.state.own.copy for node in simulation.nodes])


def one_by_one(world: World) -> Workers:
    return OneByOne([citizen.trainer for citizen in world.citizens])


def arrayed(
    world: World, tape_of_run: Noted | None = None, workers: Workers | None = None
) -> tuple[Noted, np.ndarray]:
    noted = Noted()
    workers = workers or one_by_one(world)
    graph = graph_of(world, workers)
    workers = lying(workers, world.scenario, graph)
    tape = tape_of(world, graph) if tape_of_run is None else tape_of_log(tape_of_run, graph)
    crew = crew_of(world, workers, tape.spare, cores=1)
    run = ArrayRun(world, LineChronicle(world, noted.sink), crew, workers.samples, graph, tape)
    assert run.run() == "finished"
    return noted, run.crew.copies(np.arange(world.scenario.peers))


def assert_same(scenario: Scenario) -> None:
    """Both engines publish and mix alike in every round, and end with the same copies."""
    one, expected = simulated(stand_in_world(scenario))
    faulty = scenario.faults.asked_for or scenario.rules.pace == "asynchronous"
    other, copies = arrayed(stand_in_world(scenario), one if faulty else None)
    assert copies.tobytes() == expected.tobytes()
    assert other.of(Published) == one.of(Published)
    assert other.of(Mixed) == one.of(Mixed)
    assert other.skips() == one.skips()


LOSSY = "faults={loss=0.05, delay_s=0.02, jitter_s=0.03, straggle=1.0}"
CRASHES = (
    "faults={delay_s=0.02, straggle=0.5, "
    "crashes=[{node=0, at_s=0.25, for_s=1.0}, {node=1, at_s=0.5, for_s=0.3}]}"
)
AWAY = (  # for many rounds, one after it has published and one in the midst of training
    "faults={delay_s=0.02, straggle=0.5, "
    "crashes=[{node=0, at_s=0.09, for_s=0.4}, {node=1, at_s=0.16, for_s=0.5}]}"
)
LONG_AWAY = "faults={delay_s=0.02, crashes=[{node=0, at_s=0.1, for_s=2.0}]}"
CUT = "faults={delay_s=0.02, cuts=[{from_s=0.3, to_s=1.5, groups=[[0, 1, 2], [3, 4, 5, 6, 7]]}]}"
COMPRESSIONS = ("none", "int8", "int4", "sign", "top-k", "top-k-int8", "random-k-int8", "low-rank")
SCENARIOS = {
    "plain": ["rules.topology.kind=ring", "rules.compression=none"],
    "sgd": ["rules.topology.kind=exponential", "rules.optimiser=sgd"],
    "int4": ["rules.topology.kind=one-peer-exponential", "rules.compression=int4"],
    "feedback": [
        "rules.topology.kind=complete",
        "rules.compression=top-k-int8",
        "rules.mixing=feedback",
    ],
    "choco": [
        "rules.topology.kind=ring",
        "rules.compression=top-k-int8",
        "rules.mixing=choco",
        "rules.optimiser=sgd",
        CRASHES,
    ],
    "low rank": ["rules.topology.kind=exponential", "rules.compression=low-rank", CRASHES],
    "low rank tracking": [
        "rules.topology.kind=one-peer-exponential",
        "rules.compression=low-rank",
        "rules.rank=2",
        "rules.optimiser=k-gt",
        "rules.mixing=feedback",
    ],
    "samples": ['rules.topology={kind="random-regular", degree=3}', "rules.weighting=samples"],
    "irregular": [
        'rules.topology={kind="edges", edges=[[0,1],[1,2],[2,3],[3,4],[4,5],[5,6],[6,7],[1,7]]}'
    ],
    "lossy": ["rules.topology.kind=ring", LOSSY],
    "lossy feedback": [
        "rules.topology.kind=exponential",
        "rules.mixing=feedback",
        "rules.compression=int4",
        LOSSY,
    ],
    "crashes": ["rules.topology.kind=ring", "rules.compression=top-k-int8", CRASHES],
    "crashes sgd": ["rules.topology.kind=one-peer-exponential", "rules.optimiser=sgd", CRASHES],
    "away": ["rules.topology.kind=exponential", AWAY],
    "away feedback": [
        "rules.topology.kind=complete",
        "rules.mixing=feedback",
        "rules.compression=top-k-int8",
        AWAY,
    ],
    "away samples": ['rules.topology={kind="watts-strogatz"}', "rules.weighting=samples", AWAY],
    "away matching": ['rules.topology={kind="random-matching"}', "rules.rounds=60", LONG_AWAY],
    "away tracking": ["rules.topology.kind=exponential", "rules.optimiser=k-gt", AWAY],
    "away beer": ["rules.topology.kind=complete", "rules.optimiser=beer", AWAY],
    "away outer": ["rules.topology.kind=ring", "rules.optimiser=outer-momentum", AWAY],
    "away clipped": ["rules.topology.kind=complete", "rules.robust=clipped-gossip", AWAY],
    "away nearest": ["rules.topology.kind=complete", "rules.robust=nearest", AWAY],
    "away median": ["rules.topology.kind=complete", "rules.robust=median", AWAY],
    "late": ["rules.topology.kind=complete", "faults={crashes=[{node=3, at_s=0.0, for_s=1.0}]}"],
    "cut": ['rules.topology={kind="random-regular", degree=4}', "rules.compression=none", CUT],
    "tracking": [
        "rules.topology.kind=ring",
        "rules.optimiser=k-gt",
        "rules.compression=top-k-int8",
        "rules.mixing=feedback",
    ],
    "tracking with crashes": ["rules.topology.kind=ring", "rules.optimiser=k-gt", CRASHES],
    "beer": ["rules.topology.kind=complete", "rules.optimiser=beer", "rules.mixing=feedback", CUT],
    "outer momentum": ["rules.topology.kind=exponential", "rules.optimiser=outer-momentum", LOSSY],
    "robust": [
        'rules.topology={kind="random-regular", degree=4}',
        "rules.robust=clipped-gossip",
        LOSSY,
    ],
    "robust tracking": [
        "rules.topology.kind=complete",
        "rules.robust=trimmed-mean",
        "rules.optimiser=k-gt",
        CRASHES,
    ],
    "liars": [
        "rules.topology.kind=complete",
        "rules.robust=clipped-gossip",
        'faults={liars=[{node=1, behaviour="sign-flip"}, {node=6, behaviour="sleeper"},'
        ' {node=4, behaviour="noise", from_round=5}, {node=2, behaviour="free-rider"}]}',
    ],
    "asynchronous": ["rules.topology.kind=exponential", "rules.pace=asynchronous", LOSSY],
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_updates_give_the_same_copies(name: str) -> None:
    assert_same(small("peers=8", "rules.rounds=20", "rules.deadline_s=0.4", *SCENARIOS[name]))


def test_the_faults_of_these_scenarios_are_felt() -> None:
    felt = {}
    for name in ("lossy", "crashes", "cut", "asynchronous"):
        scenario = small("peers=8", "rules.rounds=20", "rules.deadline_s=0.4", *SCENARIOS[name])
        noted, _ = simulated(stand_in_world(scenario))
        mixed = noted.of(Mixed).values()
        felt[name] = (sum(len(m.missing) for m in mixed), sum(len(m.staleness) for m in mixed))
    assert felt["cut"][0] > 0
    assert felt["crashes"][0] > 0
    assert felt["crashes"][1] > 0
    assert felt["asynchronous"][1] > 0


@pytest.mark.parametrize(
    "name", [name for name in SCENARIOS if name.startswith(("away", "late", "crashes"))]
)
def test_who_was_away_goes_on_from_its_neighbours(name: str) -> None:
    scenario = small("peers=8", "rules.rounds=20", "rules.deadline_s=0.4", *SCENARIOS[name])
    skips = simulated(stand_in_world(scenario))[0].skips()
    assert skips
    assert all(skip.neighbours for _, skip in skips)


@pytest.mark.parametrize("name", ["plain", "crashes", "asynchronous"])
def test_the_same_training_gives_the_same_accuracy(name: str) -> None:
    scenario = small("peers=8", "rules.rounds=10", "rules.deadline_s=0.4", *SCENARIOS[name])
    one, expected = simulated(World(scenario))
    world = World(scenario)
    other, copies = arrayed(world, one, workers_of(world))
    assert copies.tobytes() == expected.tobytes()
    accuracy = {at: event.accuracy for at, event in one.of(Evaluated).items()}
    assert {at: event.accuracy for at, event in other.of(Evaluated).items()} == pytest.approx(
        accuracy, abs=1e-6
    )


@settings(max_examples=15, deadline=None)
@given(draw=st.data())
def test_any_rules_on_any_graph(draw: st.DataObject) -> None:
    peers = draw.draw(st.integers(2, 7))
    graph = draw.draw(
        st.one_of(
            st.sampled_from(
                [f'{{kind="{kind}"}}' for kind in ("ring", "complete", "exponential")]
                + ['{kind="one-peer-exponential"}']
            ),
            st.sets(st.tuples(st.integers(0, peers - 1), st.integers(0, peers - 1)), min_size=1)
            .map(lambda pairs: sorted({(min(p), max(p)) for p in pairs if p[0] != p[1]}))
            .filter(bool)
            .map(lambda edges: f'{{kind="edges", edges={[list(edge) for edge in edges]}}}'),
        )
    )
    choose = lambda *values: draw.draw(st.sampled_from(values))
    directed = "exponential" in graph
    optimiser = choose("qg-dsgdm", "sgd", *TRACKING, "outer-momentum")
    pace = "synchronous" if optimiser in TRACKING else choose("synchronous", "asynchronous")
    scenario = small(
        f"peers={peers}",
        f"rules.rounds={choose(4, 9)}",
        "rules.deadline_s=0.2",
        f"rules.topology={graph}",
        f"rules.compression={choose(*COMPRESSIONS)}",
        f"rules.mixing={choose('restart', 'feedback')}",
        f"rules.optimiser={optimiser}",
        f"rules.weighting={'uniform' if directed else choose('uniform', 'samples')}",
        f"rules.pace={pace}",
        f"seed={draw.draw(st.integers(0, 99))}",
        choose("faults={}", LOSSY, CRASHES, AWAY),
    )
    # here also where it has too few neighbours for what it promises, which a file may not ask for
    robust = {"robust": choose("none", *get_args(RobustRule))}
    rules = scenario.rules.model_copy(update=robust)
    assert_same(scenario.model_copy(update={"rules": rules}))


def test_frames_are_as_large_as_the_simulators() -> None:
    scenario = small("peers=8", "rules.rounds=6", "rules.topology.kind=one-peer-exponential")
    sizes = [
        {
            (line.peer, event.to, event.sequence): event.size_bytes
            for line in noted
            if isinstance(event := line.event, Sent) and event.message == "news"
        }
        for noted in (simulated(stand_in_world(scenario))[0], arrayed(stand_in_world(scenario))[0])
    ]
    # the simulator's peers also pull what they hear of in the end
    assert sizes[1].items() <= sizes[0].items()
    assert len(sizes[1]) == 48
