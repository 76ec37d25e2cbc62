"""Push-sum, relayed sums and meetings in scenarios: nothing is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scenarios.small import small
from tests.scenarios.stand_in import stand_in_world
from tests.scenarios.test_array_crew import outcome
from tests.scenarios.test_array_parity import Noted, one_by_one
from tidings.crypto.errors import ConfigError
from tidings.gossip.algorithms import push_sum
from tidings.gossip.events import Evaluated, Mixed, Published, Released, Sent
from tidings.gossip.topology import Topology
from tidings.scenarios.engines.array import meetings, rounds
from tidings.scenarios.engines.array.averaging import AveragingCrew, Pairwise, PushSum, Relay
from tidings.scenarios.engines.array.engine import ArrayRun
from tidings.scenarios.engines.array.frames import frame_sizes
from tidings.scenarios.engines.array.line_chronicle import LineChronicle
from tidings.scenarios.engines.array.start import averaging_crew, crew_of, graph_of, tape_of
from tidings.scenarios.run_log import LogLine
from tidings.scenarios.runner import run_scenario
from tidings.scenarios.scenario import Scenario

LOSSY = "faults={loss=0.3, delay_s=0.02, jitter_s=0.01, straggle=2.0, crash_every_s=0.4}"
CUT = "faults={delay_s=0.02, cuts=[{from_s=0.2, to_s=0.9, groups=[[0, 1, 2], [3, 4, 5, 6, 7]]}]}"
KINDS = {
    "push-sum": 'rules={averaging="push-sum", topology={kind="exponential"}}',
    "push-sum asynchronous": (
        'rules={averaging="push-sum", pace="asynchronous", topology={kind="directed-edges",'
        " edges=[[0,1],[1,2],[2,3],[3,4],[4,5],[5,6],[6,7],[7,0],[0,3],[0,5],[6,1]]}}"
    ),
    "relay": 'rules={averaging="relay", topology={kind="binary-tree"}}',
    "pairwise": 'rules={averaging="pairwise", topology={kind="ring"}}',
}


def averaging(name: str, *sets: str) -> Scenario:
    own = KINDS[name].removeprefix("rules={").removesuffix("}")
    plain = f'rules={{rounds=12, deadline_s=0.3, compression="none", {own}}}'
    if name == "pairwise":
        plain = plain.replace("rules={", 'rules={pace="asynchronous", ')
    return small(plain, "engine=array", "peers=8", *sets)


def run(scenario: Scenario) -> tuple[Noted, AveragingCrew]:
    """A run whose members learn made-up things."""
    world, noted = stand_in_world(scenario), Noted()
    workers = one_by_one(world)
    graph = graph_of(world, workers)
    tape = tape_of(world, graph)
    crew = crew_of(world, workers, tape.spare, cores=1)
    crew = averaging_crew(crew, world, workers, graph, tape)
    assert isinstance(crew, AveragingCrew)
    ArrayRun(world, LineChronicle(world, noted.sink), crew, workers.samples, graph, tape).run()
    return noted, crew


class Learnt:
    """Adds up what training changed."""

    def __init__(self) -> None:
        self.sum: np.ndarray | int = 0

    def spy(self, patch: pytest.MonkeyPatch, rule: type[PushSum] | type[Pairwise]) -> None:
        publish = rule.publish

        def spied(self_: object, wave: object, before: np.ndarray, releases: np.ndarray) -> object:
            self.sum = self.sum + (releases.astype(np.int64) - before).sum(axis=0)
            return publish(self_, wave, before, releases)  # type: ignore[arg-type]

        patch.setattr(rule, "publish", spied)


@settings(max_examples=4, deadline=None)
@given(
    seed=st.integers(0, 99),
    name=st.sampled_from(["push-sum", "push-sum asynchronous"]),
    faults=st.sampled_from([LOSSY, CUT]),
)
def test_push_sum_keeps_its_mass_to_the_unit(seed: int, name: str, faults: str) -> None:
    scenario, learnt = averaging(name, f"seed={seed}", faults), Learnt()
    with pytest.MonkeyPatch.context() as patch:
        learnt.spy(patch, PushSum)
        noted, crew = run(scenario)
    assert isinstance(crew.averaging, PushSum)
    links = Topology(scenario.rules.topology).links(1)
    start = push_sum.begin(np.tile(stand_in_world(scenario).genesis, (8, 1)), links)
    expected = push_sum.total(start, links).astype(np.int64)
    expected[:-1] += learnt.sum
    assert np.array_equal(push_sum.total(crew.averaging.state, links), expected % 2**32)
    late = sum(len(m.missing) + len(m.staleness) for m in noted.of(Mixed).values())
    assert late > 0  # or nothing was lost or late


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 99), faults=st.sampled_from([LOSSY, CUT]))
def test_meetings_keep_the_sum_of_all_models_to_the_unit(seed: int, faults: str) -> None:
    scenario, learnt = averaging("pairwise", f"seed={seed}", faults), Learnt()
    with pytest.MonkeyPatch.context() as patch:
        learnt.spy(patch, Pairwise)
        noted, crew = run(scenario)
    assert isinstance(crew.averaging, Pairwise)
    held = crew.averaging.held.sum(axis=0, dtype=np.int64)
    genesis = stand_in_world(scenario).genesis.astype(np.int64)
    assert np.array_equal(held, 8 * genesis + learnt.sum)
    mixed = noted.of(Mixed).values()
    assert any(m.missing for m in mixed)
    assert any(m.staleness for m in mixed)


def test_batches_of_meetings_are_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = averaging("pairwise", LOSSY)
    noted, crew = run(scenario)
    monkeypatch.setattr(meetings, "one_at_a_time", lambda pairs: [*np.arange(len(pairs))[:, None]])
    others, alone = run(scenario)
    everyone = np.arange(8)
    assert crew.models(everyone).tobytes() == alone.models(everyone).tobytes()
    assert noted.of(Mixed) == others.of(Mixed)
    assert noted.of(Published) == others.of(Published)


def test_what_is_relayed_is_the_mean_of_all_models_as_old_as_they_are_far() -> None:
    scenario = averaging("relay", 'rules.topology={kind="path"}')
    _, crew = run(scenario)
    assert isinstance(crew.averaging, Relay)
    memory = crew.averaging.memory()
    links = Topology(scenario.rules.topology).links(1)
    counts = np.ones(8, dtype=np.int64)
    np.add.at(counts, links.receivers, memory["heard_counts"])
    assert (counts == 8).all()
    apart = np.ptp(crew.models(np.arange(8)), axis=0).max()
    assert 0 < apart < np.ptp(memory["own"], axis=0).max()


@pytest.mark.parametrize("name", KINDS)
def test_how_the_work_is_shared_out_does_not_show(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = averaging(name, "rules.rounds=4", LOSSY)
    expected = outcome(scenario, cores=1)
    monkeypatch.setattr(rounds, "TRAINED_VALUES", 2000)
    monkeypatch.setattr(rounds, "STEP_VALUES", 700)
    assert outcome(scenario, cores=1) == expected


def test_two_processes_come_to_the_bits_of_one() -> None:
    scenario = averaging("pairwise", "rules.rounds=4", LOSSY)
    assert outcome(scenario, cores=2) == outcome(scenario, cores=1)


def test_every_frame_is_counted_whole() -> None:
    of_a_round = {"relay": 2 * 7, "push-sum": 8 * 3, "pairwise": 2 * 8}
    for name, frames in of_a_round.items():
        noted, crew = run(averaging(name))
        sent = [line.event for line in noted if isinstance(line.event, Sent)]
        assert len(sent) == 12 * frames
        assert {event.message for event in sent} == {"model" if name == "pairwise" else "sum"}
        if name == "relay":
            payload = 4 * (crew.arrays.models.columns + 1)
            assert {event.size_bytes for event in sent} <= {
                int(frame_sizes([payload], r, r)[0]) for r in range(1, 13)
            }


@pytest.mark.parametrize("name", KINDS)
def test_each_learns(name: str, tmp_path: Path) -> None:
    accuracy: dict[str, float] = {}

    def watch(_: Scenario, line: LogLine) -> None:
        if isinstance(line.event, Evaluated):
            accuracy[line.peer] = line.event.accuracy

    run_scenario(averaging(name, "rules.rounds=20"), tmp_path / "run", watch)
    assert min(accuracy.values()) > 0.8


@pytest.mark.parametrize("name", KINDS)
def test_what_leaves_a_node_has_been_through_the_privacy_gate(name: str, tmp_path: Path) -> None:
    released: list[Released] = []

    def watch(_: Scenario, line: LogLine) -> None:
        if isinstance(line.event, Released):
            released.append(line.event)

    private = ("privacy.mode=record", "training.local_steps=1", "rules.rounds=3")
    run_scenario(averaging(name, *private), tmp_path / "run", watch)
    assert {(event.mechanism, event.unit) for event in released} == {("poisson-gaussian", "record")}
    assert all(event.epsilon is not None and event.epsilon <= 8 for event in released)
    assert len(released) == 3 * 8


@pytest.mark.parametrize("engine", ["sim", "live", "ray"])
@pytest.mark.parametrize("name", ["push-sum", "relay", "pairwise"])
def test_the_other_engines_refuse_it(engine: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"averaging '{name}', not '{engine}'") as refused:
        run_scenario(averaging(name, f"engine={engine}"), tmp_path / "run", lambda *_: None)
    assert "--engine array" in (refused.value.fix or "")


def test_no_other_runs_log_is_followed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not tell what averaging 'relay' needs"):
        run_scenario(averaging("relay"), tmp_path / "run", lambda *_: None, tape=tmp_path)
