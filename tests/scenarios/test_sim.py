"""The simulator: equal seeds give equal runs, faults do what they say, and copies agree."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scenarios.small import Simulated, simulate, small
from tidings.gossip import effects as fx
from tidings.gossip.core import handle
from tidings.gossip.events import (
    Equivocated,
    Evaluated,
    LinkDown,
    LinkUp,
    Mixed,
    PeerFinished,
    PeerStarted,
    Published,
    Received,
    Refused,
    Released,
    Sent,
    Skipped,
)
from tidings.gossip.state import State
from tidings.gossip.weights import row_weights
from tidings.scenarios.attacks import SEEING
from tidings.scenarios.engines import sim
from tidings.scenarios.engines.sim import TRUST_MODEL
from tidings.scenarios.faults import SILENCE_S, Behaviour, Crash, Cut, Faults, Liar
from tidings.scenarios.run_log import RunLog
from tidings.scenarios.runner import run_scenario
from tidings.scenarios.scenario import Scenario, load_scenario

ROOT = Path(__file__).parents[2]
# attackers that see what all others learnt are no simulation of what one peer can do
BEHAVIOURS = [each for each in get_args(Behaviour) if each not in SEEING]


def assert_copies_agree(run: Simulated) -> None:
    """Every honest follower of an honest author holds its public copy, byte for byte."""
    liars = {node.state.me.key for node in run.nodes if node.lying is not None}
    by_key = {node.state.me.key: node.state for node in run.nodes}
    compared = 0
    for node in run.nodes:
        if node.state.me.key in liars:
            continue
        assert not set(node.state.proofs) - liars, "an honest peer was convicted"
        for author, feed in node.state.feeds.items():
            if author in liars:
                continue
            own = by_key[author].own
            assert feed.sequence == own.sequence > 0
            assert feed.copy.tobytes() == own.copy.tobytes()
            compared += feed is not own
    assert compared > 0


# --- properties --------------------------------------------------------------------------------


@st.composite
def faulty_scenarios(draw: st.DrawFn) -> Scenario:
    """Any small network with anything that may go wrong in it."""
    peers = draw(st.integers(3, 6))
    nodes = st.integers(0, peers - 1)
    times = st.floats(0.0, 3.0).map(lambda time: round(time, 3))
    groups = draw(st.lists(st.integers(0, 1), min_size=peers, max_size=peers))
    cuts = [
        Cut(
            from_s=start,
            to_s=start + draw(st.floats(0.1, 4.0)),
            groups=tuple(tuple(n for n in range(peers) if groups[n] == side) for side in (0, 1)),
        )
        for start in draw(st.lists(times, max_size=2))
    ]
    crashes = [
        Crash(node=node, at_s=draw(times), for_s=draw(st.floats(0.0, 3.0)))
        for node in draw(st.sets(nodes, max_size=2))
    ]
    liars = [
        Liar(
            node=node,
            behaviour=draw(st.sampled_from(BEHAVIOURS)),
            from_round=draw(st.integers(1, 6)),
        )
        for node in draw(st.sets(nodes, max_size=1))
    ]
    faults = Faults(
        loss=draw(st.sampled_from([0.0, 0.02, 0.15])),
        delay_s=draw(st.sampled_from([0.0, 0.02, 0.3])),
        jitter_s=draw(st.sampled_from([0.0, 0.1])),
        straggle=draw(st.sampled_from([0.0, 3.0])),
        cuts=tuple(cuts),
        crashes=tuple(crashes),
        liars=tuple(liars),
    )
    kind = draw(st.sampled_from(["ring", "complete", "exponential", "one-peer-exponential"]))
    scenario = small(
        f"peers={peers}",
        f"seed={draw(st.integers(0, 10**6))}",
        "rules.rounds=8",
        f'rules.topology={{kind="{kind}"}}',
        f"rules.compression={draw(st.sampled_from(['none', 'int8', 'int4', 'top-k-int8']))}",
        f"rules.mixing={draw(st.sampled_from(['restart', 'feedback']))}",
    )
    return scenario.model_copy(update={"faults": faults})


@settings(max_examples=30)
@given(scenario=faulty_scenarios())
def test_whatever_goes_wrong_honest_peers_end_with_equal_copies(scenario: Scenario) -> None:
    run = simulate(scenario)
    assert run.outcome == "finished"
    assert_copies_agree(run)
    for node in range(scenario.peers):
        sequences = [event.sequence for _, _, event in run.of(Published, node)]
        assert sequences == list(range(1, len(sequences) + 1)), "a number was used twice"


@pytest.mark.nightly
@settings(max_examples=1000)
@given(scenario=faulty_scenarios())
def test_whatever_goes_wrong_many_times_over(scenario: Scenario) -> None:
    run = simulate(scenario)
    assert run.outcome == "finished"
    assert_copies_agree(run)


# --- equal seeds -------------------------------------------------------------------------------

RUNS = {
    "quickstart": ("engine=sim", "seed=7", "rules.rounds=3"),
    "partition": (
        "rules.rounds=8",
        "faults.cuts.0.from_s=0.3",
        "faults.cuts.0.to_s=1.5",
        "faults.loss=0.05",
    ),
    "liar": ("rules.rounds=10", "faults.liars.0.from_round=2"),
}


def run_all_of_them(folder: Path) -> None:
    folder.mkdir()
    for name, sets in RUNS.items():
        run_scenario(load_scenario(name, sets), folder / name, lambda *_: None)


def test_equal_seeds_give_byte_equal_logs_in_any_process(tmp_path: Path) -> None:
    # sets are iterated in another order there
    hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    code = (
        "import sys; from pathlib import Path; from tests.scenarios import test_sim; "
        "test_sim.run_all_of_them(Path(sys.argv[1]))"
    )
    other_process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "there")],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PYTHONHASHSEED": hash_seed},
    )
    run_all_of_them(tmp_path / "here")
    assert other_process.wait(timeout=240) == 0
    for name in RUNS:
        one, other = (tmp_path / where / name / "events.jsonl" for where in ("here", "there"))
        assert one.read_bytes() == other.read_bytes()
        assert sum(isinstance(line.event, Evaluated) for line in RunLog(one.parent)) >= 20


def test_another_seed_gives_another_run() -> None:
    one, same, other = (simulate(small("rules.rounds=2", f"seed={seed}")) for seed in (7, 7, 8))
    assert one.lines == same.lines
    accuracies = [[e.accuracy for _, _, e in run.of(Evaluated)] for run in (one, other)]
    assert accuracies[0] != accuracies[1]
    assert one.id(0) != other.id(0)


# --- faults ------------------------------------------------------------------------------------


def with_faults(faults: Faults, *sets: str) -> Simulated:
    return simulate(small(*sets).model_copy(update={"faults": faults}))


def test_nothing_is_refused_or_missed_where_nothing_goes_wrong() -> None:
    run = with_faults(Faults())
    assert run.outcome == "finished"
    assert not list(run.of(Refused))
    assert all(len(event.neighbours) == 4 for _, _, event in run.of(Mixed))
    assert_copies_agree(run)
    assert run.tally.peers["peer-0"].last is not None
    assert run.tally.peers["peer-0"].last.accuracy > 0.8


def test_peers_start_before_they_hear_of_others() -> None:
    run = with_faults(Faults(delay_s=0.0), "rules.rounds=1")
    first = {}
    for line in run.lines:
        first.setdefault(line.peer, type(line.event))
    assert set(first.values()) == {PeerStarted}


def test_a_cut_parts_the_network_and_it_heals() -> None:
    halves = ((0, 1, 2), (3, 4, 5))
    cut = Cut(from_s=1.0, to_s=3.0, groups=halves)
    run = with_faults(
        Faults(cuts=(cut,), train_s=0.1), "peers=6", "rules.rounds=40", "partition.alpha=0.1"
    )
    assert run.outcome == "finished"
    assert_copies_agree(run)

    ids = [run.id(index) for index in range(6)]
    side_of = {ids[node]: side for side, group in enumerate(halves) for node in group}
    alone, together = [], []
    for time, peer, event in run.of(Mixed):
        own = side_of[ids[int(peer[-1])]]
        beyond = [name for name in event.neighbours if side_of[name] != own]
        if cut.from_s + SILENCE_S < time < cut.to_s:
            alone.append(event.round)
            assert not beyond
            assert len(event.missing) == 3
        elif time > cut.to_s + 1.0:
            together.append(event.round)
            assert len(beyond) == 3
    assert len(set(alone)) > 5
    assert len(set(together)) > 5

    distance = {
        number: spread.distance
        for number, spread in run.tally.spreads().items()
        if spread.count == 6
    }
    before, apart, after = distance[min(alone) - 2], distance[max(alone)], distance[40]
    assert before is not None and apart is not None and after is not None  # noqa: PT018
    assert apart > 2 * before
    assert apart > 2 * after

    downs = [(time, event) for time, _, event in run.of(LinkDown)]
    assert {time for time, _ in downs} == {cut.from_s + SILENCE_S}
    assert {event.why for _, event in downs} == {"silent"}
    assert sum(time == cut.to_s for time, _, _ in run.of(LinkUp)) == len(downs) == 18


def test_a_short_cut_goes_unnoticed_but_swallows_frames() -> None:
    cut = Cut(from_s=0.3, to_s=0.3 + SILENCE_S / 2, groups=((0, 1), (2, 3, 4)))
    run = with_faults(Faults(cuts=(cut,)))
    assert not list(run.of(LinkDown))
    assert any(event.missing for _, _, event in run.of(Mixed)) or any(
        event.message == "pull" for _, _, event in run.of(Sent)
    )
    assert_copies_agree(run)


def test_a_cut_that_never_heals_does_not_keep_the_run_waiting() -> None:
    cut = Cut(from_s=0.5, to_s=1e9, groups=((0, 1), (2, 3, 4)))
    run = with_faults(Faults(cuts=(cut,)))
    assert run.outcome == "finished, but some copies stayed behind"
    assert run.simulation.now < 60
    assert len(list(run.of(Evaluated, 0))) == 10


def test_a_crash_loses_what_was_under_way_and_nothing_that_was_stored() -> None:
    crash = Crash(node=2, at_s=2.05, for_s=1.0)
    back = crash.at_s + crash.for_s
    run = with_faults(Faults(crashes=(crash,), delay_s=0.1, train_s=0.2), "rules.rounds=20")
    assert run.outcome == "finished"
    assert_copies_agree(run)

    own = [line for line in run.lines if line.peer == "peer-2"]
    assert not [line for line in own if crash.at_s < line.time < back]
    assert all(event.why == "the connection was reset" for _, _, event in run.of(LinkDown))
    assert {time for time, _, _ in run.of(LinkDown)} == {crash.at_s}

    first, second = (event for _, _, event in run.of(PeerStarted, 2))
    last_before = [event for time, _, event in run.of(Published, 2) if time < crash.at_s][-1]
    assert (first.round, first.sequence) == (1, 0)
    assert second.sequence == last_before.sequence > 2
    assert second.round in (last_before.round, last_before.round + 1)

    sequences = [event.sequence for _, _, event in run.of(Published, 2)]
    assert sequences == list(range(1, len(sequences) + 1))


def test_a_crash_ends_training_before_it_costs_anything() -> None:
    # it dies in the middle of its first training and comes back at once
    crash = Crash(node=1, at_s=0.5, for_s=0.0)
    run = with_faults(
        Faults(crashes=(crash,), train_s=0.8), "privacy.mode=record", "rules.rounds=3"
    )
    releases = [(time, event.round) for time, _, event in run.of(Released, 1)]
    assert [number for _, number in releases] == [1, 2, 3]
    assert releases[0][0] > 0.5 + 0.8
    ledger = run.nodes[1].citizen.trainer.gate.spent()
    assert ledger.releases == 3


def test_what_is_under_way_when_a_node_dies_is_lost_though_it_is_back_by_then() -> None:
    crash = Crash(node=2, at_s=2.05, for_s=0.1)
    run = with_faults(Faults(crashes=(crash,), delay_s=0.5), "rules.deadline_s=5.0")
    heard = [time for time, _, _ in run.of(Received, 2) if time > crash.at_s]
    assert min(heard) == pytest.approx(crash.at_s + crash.for_s + 0.5)
    assert_copies_agree(run)


def test_what_is_sent_into_a_cut_is_lost_though_it_is_over_by_then() -> None:
    cut = Cut(from_s=1.09, to_s=1.4, groups=((0, 1), (2, 3, 4)))
    run = with_faults(Faults(cuts=(cut,), delay_s=0.5, straggle=0.5), "rules.deadline_s=5.0")
    names = {f"peer-{index}": index for index in range(5)}
    ids = {run.id(index): index for index in range(5)}
    sent = [
        event
        for time, peer, event in run.of(Sent)
        if cut.from_s <= time < cut.to_s and cut.separates(names[peer], ids[event.to])
    ]
    assert sent, "the cut met nothing"
    for time, peer, event in run.of(Received):
        met = cut.from_s <= time < cut.to_s or cut.from_s <= time - 0.5 < cut.to_s
        assert not (met and cut.separates(names[peer], ids[event.sender]))
    assert_copies_agree(run)


def test_a_timer_does_not_survive_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    # it dies while it waits, and waits for hellos when a timer of its former life is due
    scenario = small("rules.rounds=3", "rules.deadline_s=2.0")
    calm = Faults(delay_s=0.5, train_s=0.2)
    published = next(
        time
        for time, _, _ in simulate(scenario.model_copy(update={"faults": calm})).of(Published, 1)
    )
    crash = Crash(node=1, at_s=published + 0.4, for_s=0.05)
    planned: dict[str, float] = {}
    fired: list[str] = []

    def watched(state: State, event: fx.Input, now: float) -> list[fx.Effect]:
        effects = handle(state, event, now)
        if state.index == crash.node:
            if isinstance(event, fx.TimerFired):
                fired.append(event.timer)
                assert planned.pop(event.timer, None) == now
            if now >= crash.at_s + crash.for_s and isinstance(event, fx.Started):
                planned.clear()
            planned.update({e.timer: e.at for e in effects if isinstance(e, fx.SetTimer)})
        return effects

    monkeypatch.setattr(sim, "handle", watched)
    faults = calm.model_copy(update={"crashes": (crash,)})
    simulate(scenario.model_copy(update={"faults": faults}))
    assert fired


def test_who_is_shut_out_gets_no_link_again() -> None:
    faults = Faults(
        liars=(Liar(node=2, behaviour="equivocate"),),
        crashes=(Crash(node=2, at_s=1.0, for_s=0.1), Crash(node=0, at_s=1.0, for_s=0.1)),
    )
    run = with_faults(faults, "rules.rounds=40")
    assert all(time < 1.0 for time, _, _ in run.of(Equivocated))
    back = [(peer, event.neighbour) for time, peer, event in run.of(LinkUp) if time > 1.0]
    assert sorted(back) == sorted(
        pair
        for other in (1, 3, 4)
        for pair in [(f"peer-{other}", run.id(0)), ("peer-0", run.id(other))]
    )


def test_lost_frames_are_made_good() -> None:
    run = with_faults(Faults(loss=0.2), "rules.rounds=12")
    sent, received = (len(list(run.of(kind))) for kind in (Sent, Received))
    refused = len(list(run.of(Refused)))
    assert 0.7 < (received + refused) / sent < 0.9
    assert run.outcome == "finished"
    assert_copies_agree(run)


def test_jitter_delays_frames_but_a_link_keeps_their_order() -> None:
    run = with_faults(Faults(delay_s=0.0, jitter_s=0.9, train_s=0.0), "rules.deadline_s=20.0")
    assert not list(run.of(Refused))
    news: dict[tuple[str, str], list[int]] = {}
    for _, peer, event in run.of(Received):
        if event.message == "news" and event.author == event.sender:
            news.setdefault((peer, event.sender), []).append(event.sequence)
    assert len(news) == 20
    assert all(numbers == sorted(numbers) for numbers in news.values())
    assert run.simulation.now > 1.0


def test_each_node_has_its_pace() -> None:
    run = with_faults(Faults(train_s=0.5, straggle=1.0, delay_s=0.0), "rules.rounds=2")
    began = max(time for time, _, event in run.of(LinkUp))
    first = {peer: time - began for time, peer, event in run.of(Released) if event.round == 1}
    assert len(set(first.values())) == 5
    assert min(first.values()) >= 0.5
    assert max(first.values()) <= 1.0
    assert np.ptp(list(first.values())) > 0.1


# --- what a simulation claims --------------------------------------------------------------------


def test_a_simulated_release_claims_no_protection() -> None:
    run = simulate(small("privacy.mode=record", "rules.rounds=1"))
    assert {event.trust_model for _, _, event in run.of(Released)} == {TRUST_MODEL}
    assert "protects nobody" in TRUST_MODEL


def test_torch_uses_one_thread() -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(2)
    seen: list[int] = []
    simulate(
        small('learner={kind="torch", module="tidings.scenarios.models:mlp"}', "rules.rounds=1")
    )
    thread = Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert [torch.get_num_threads(), *seen] == [1, 1]


def first_finish(run: Simulated) -> float:
    return min(time for time, _, _ in run.of(PeerFinished))


# -- asynchronous rounds -------------------------------------------------------------------------


def test_asynchronous_rounds_wait_for_nobody() -> None:
    uneven = ("faults.train_s=0.1", "faults.straggle=9.0")
    waiting = simulate(small(*uneven))
    free = simulate(small(*uneven, "rules.pace=asynchronous"))
    assert first_finish(free) < first_finish(waiting) / 2
    assert not any(event.staleness for _, _, event in waiting.of(Mixed))
    rounds_behind = [n for _, _, e in free.of(Mixed) for n in e.staleness.values()]
    assert min(rounds_behind) < 0 < max(rounds_behind)  # the fast hear old news, the slow new
    assert free.outcome == "finished"
    assert_copies_agree(free)
    assert len(free.tally.accuracies()[10]) == len(waiting.tally.accuracies()[10]) == 5


def test_a_sleeper_does_not_hold_up_asynchronous_neighbours() -> None:
    asleep = "faults.crashes=[{node=2, at_s=0.2, for_s=60.0}]"
    run = simulate(small(asleep, "rules.pace=asynchronous", "rules.deadline_s=5.0"))
    ends = {peer: time for time, peer, _ in run.of(PeerFinished)}
    assert max(time for peer, time in ends.items() if peer != "peer-2") < 5.0  # not one deadline
    assert ends["peer-2"] > 60.0
    assert_copies_agree(run)


@pytest.mark.parametrize("kind", ["base", "random-matching", "epidemic", "watts-strogatz"])
def test_every_graph_is_mixed_over_with_its_own_weights(kind: str) -> None:
    topology = f'rules.topology={{kind="{kind}", degree=2}}'
    done = simulate(small(topology, "peers=10", "rules.rounds=7"))
    assert done.outcome == "finished"
    graph = done.nodes[0].state.topology
    assert graph.kind == kind
    mixed = list(done.of(Mixed))
    assert len(mixed) == 70
    index = {node.citizen.name: node.citizen.index for node in done.nodes}
    for _, name, event in mixed:
        assert not event.missing
        expected = row_weights(graph, index[name], event.round)
        assert event.neighbours == {done.id(other): w for other, w in expected.items()}
    assert not list(done.of(Skipped))
