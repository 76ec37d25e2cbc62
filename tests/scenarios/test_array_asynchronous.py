"""Many nodes at once come to what one node after the other comes to, where nobody waits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scenarios.small import small
from tests.scenarios.stand_in import stand_in_world
from tests.scenarios.test_array_parity import Noted, arrayed, one_by_one, simulated
from tidings.crypto.errors import ConfigError
from tidings.gossip.block_mixing import NOBODY
from tidings.gossip.events import Mixed
from tidings.scenarios.engines.array import tape as tapes
from tidings.scenarios.engines.array.engine import ArrayRun
from tidings.scenarios.engines.array.graph import Graph
from tidings.scenarios.engines.array.line_chronicle import LineChronicle
from tidings.scenarios.engines.array.start import crew_of, graph_of, tape_of
from tidings.scenarios.engines.array.tape import Recorded, Tape, Turn
from tidings.scenarios.scenario import Scenario


def asynchronous(*sets: str) -> Scenario:
    return small("rules.pace=asynchronous", *sets)


def copies_of(scenario: Scenario, *, singly: bool) -> bytes:
    """The copies at the end, of waves as they are or of one turn after the other."""
    world = stand_in_world(scenario)
    workers = one_by_one(world)
    graph = graph_of(world, workers)
    tape: Tape = tape_of(world, graph)
    if singly:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tapes, "_levels", lambda nodes, turns: [[turn] for turn in turns])
            tape = Recorded(graph, turns_of(tape, graph))
    crew = crew_of(world, workers, tape.spare, cores=1)
    chronicle = LineChronicle(world, Noted().sink)
    run = ArrayRun(world, chronicle, crew, workers.samples, graph, tape)
    assert run.run() == "finished"
    return run.crew.copies(np.arange(scenario.peers)).tobytes()


def turns_of(tape: Tape, graph: Graph) -> list[Turn]:
    """The turns of all waves in the order of their times."""
    found = []
    for wave in tape.waves():
        neighbours, _ = graph.at(wave.mix, wave.mix_rounds)
        for i, node in enumerate(wave.mix.tolist()):
            round, time = int(wave.mix_rounds[i]), float(wave.mix_times[i])
            places = zip(neighbours[i].tolist(), wave.versions[i].tolist(), strict=True)
            found.append((time, node, round, dict(places)))
    turns = []
    for time, node, round, versions in sorted(found, key=lambda each: each[:2]):
        heard = {other: version for other, version in versions.items() if version != NOBODY}
        turns.append(Turn(node=node, round=round, time=time))
        turns.append(Turn(node=node, round=round, time=time, heard=heard))
    return turns


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 99),
    loss=st.sampled_from([0.0, 0.2]),
    delay_s=st.sampled_from([0.01, 0.04, 0.3]),
    straggle=st.sampled_from([0.0, 2.0]),
    crash_every_s=st.sampled_from([0.0, 0.2]),
)
def test_ticks_are_one_after_the_other(
    seed: int, loss: float, delay_s: float, straggle: float, crash_every_s: float
) -> None:
    faults = f"loss={loss}, delay_s={delay_s}, straggle={straggle}, crash_every_s={crash_every_s}"
    scenario = asynchronous("rules.rounds=6", f"seed={seed}", f"faults={{{faults}, jitter_s=0.01}}")
    assert copies_of(scenario, singly=False) == copies_of(scenario, singly=True)


def test_asynchronous_weather_is_like_the_simulators() -> None:
    scenario = asynchronous(
        "peers=8", "rules.rounds=20", "faults={delay_s=0.02, jitter_s=0.01, straggle=1.0}"
    )
    one, other = simulated(stand_in_world(scenario))[0], arrayed(stand_in_world(scenario))[0]
    assert len(other.of(Mixed)) == len(one.of(Mixed))
    ends = [max(line.time for line in n if isinstance(line.event, Mixed)) for n in (one, other)]
    assert ends[1] == pytest.approx(ends[0], rel=0.02)
    stale = [
        sum(sum(event.staleness.values()) for event in noted.of(Mixed).values())
        for noted in (one, other)
    ]
    assert stale[1] == pytest.approx(stale[0], rel=0.1)


def test_what_ticks_cannot_do_is_refused() -> None:
    for sets in ("rules.topology.kind=one-peer-exponential", "faults={delay_s=0.0}"):
        world = stand_in_world(asynchronous(sets))
        with pytest.raises(ConfigError, match="asynchronous rounds need"):
            tape_of(world, graph_of(world, one_by_one(world)))
