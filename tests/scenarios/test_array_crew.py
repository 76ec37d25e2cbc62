"""How the work is shared out does not show in what comes of it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.scenarios.small import small
from tests.scenarios.test_array_parity import SCENARIOS, Noted
from tidings.gossip.events import Event, Mixed, Published
from tidings.scenarios.engines.array import rounds, tiles
from tidings.scenarios.engines.array.engine import ArrayRun
from tidings.scenarios.engines.array.learners import workers_of
from tidings.scenarios.engines.array.line_chronicle import LineChronicle
from tidings.scenarios.engines.array.start import averaging_crew, crew_of, graph_of, tape_of
from tidings.scenarios.scenario import Scenario
from tidings.scenarios.world import World


def outcome(scenario: Scenario, cores: int) -> tuple[bytes, dict[object, Event]]:
    world, noted = World(scenario), Noted()
    workers = workers_of(world)
    graph = graph_of(world, workers)
    tape = tape_of(world, graph)
    crew = crew_of(world, workers, tape.spare, cores=cores)
    crew = averaging_crew(crew, world, workers, graph, tape)
    chronicle = LineChronicle(world, noted.sink)
    run = ArrayRun(world, chronicle, crew, workers.samples, graph, tape)
    assert run.run() == "finished"
    everyone = np.arange(scenario.peers)
    held = run.crew.copies(everyone).tobytes() + run.crew.models(everyone).tobytes()
    return held, {**noted.of(Published), **{(at, ""): e for at, e in noted.of(Mixed).items()}}


def scenario_of(name: str, peers: int = 8) -> Scenario:
    sets = (f"peers={peers}", "rules.rounds=6", "training.local_steps=2", *SCENARIOS[name])
    return small("engine=array", *sets)


@pytest.mark.parametrize(
    "name", ["tracking with crashes", pytest.param("low rank", marks=pytest.mark.nightly)]
)
def test_two_processes_come_to_the_bits_of_one(name: str) -> None:
    scenario = scenario_of(name, peers=40)
    assert tiles.width_for(scenario.peers, 650) < 650  # so that there is a tile for each
    assert outcome(scenario, cores=2) == outcome(scenario, cores=1)


@pytest.mark.parametrize("name", ["plain", "lossy feedback", "low rank tracking"])
def test_the_size_of_chunks_does_not_show(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = scenario_of(name)
    expected = outcome(scenario, cores=1)
    monkeypatch.setattr(rounds, "TRAINED_VALUES", 2000)
    monkeypatch.setattr(rounds, "STEP_VALUES", 700)
    assert outcome(scenario, cores=1) == expected
    monkeypatch.setattr(tiles, "WIDTH", 16)
    monkeypatch.setattr(tiles, "TILE_VALUES", 0)
    assert outcome(scenario, cores=1) == expected
