"""The core as a whole: whatever happens to a peer, and in whatever order, some things hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core_kit import Town
from tidings.gossip import effects as fx
from tidings.gossip.checkpoint import Phase
from tidings.gossip.events import (
    Equivocated,
    Evaluated,
    PeerFinished,
    PeerStarted,
    Published,
    RolledBack,
    Skipped,
)
from tidings.gossip.grid import from_grid

PEERS, ROUNDS = 3, 3

# What may happen to three peers: they train, frames arrive, time passes, links break, and a peer
# dies after so many effects more (in the midst of one input as a rule) and comes back.
peer = st.integers(0, PEERS - 1)
happening = st.one_of(
    st.tuples(st.just("train"), peer),
    st.tuples(st.just("deliver")),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 3.0, 11.0])),
    st.tuples(st.just("part"), peer, peer),
    st.tuples(st.just("join"), peer, peer),
    st.tuples(st.just("crash"), peer, st.integers(1, 12)),
    st.tuples(st.just("restart"), peer),
)


def happen(town: Town, what: tuple) -> None:
    match what:
        case ("train", i):
            if town.jobs[i] is not None and town.alive[i]:
                town.train(i)
        case ("deliver",):
            town.exchange()
        case ("wait", seconds):
            town.pass_time(seconds)
        case ("part", a, b):
            town.part(a, b)
        case ("join", a, b) if a != b:
            town.join(a, b)
        case ("crash", i, effects):
            town.crash_after(i, effects)
        case ("restart", i) if not town.alive[i]:
            town.restart(i)


@settings(max_examples=60)
@given(plan=st.lists(happening, max_size=40))
def test_whatever_crashes_no_number_is_used_twice_and_all_agree_in_the_end(plan):
    town = Town(PEERS, rounds=ROUNDS)
    town.start()
    for what in plan:
        happen(town, what)
    for i in range(PEERS):
        if not town.alive[i]:
            town.restart(i)
        town._left.clear()
        for other in range(i):
            town.join(other, i)
    town.finish()

    assert [state.phase for state in town.states] == [Phase.FINISHED] * PEERS
    for (author, sequence), states in town.truths().items():
        assert len(states) == 1, f"{author} told {len(states)} truths of its entry {sequence}"
    for i in range(PEERS):
        assert "equivocation" not in town.refusals(i)
        assert not town.seen(i, Equivocated)
        assert not town.seen(i, RolledBack)
        numbers = [event.sequence for event in town.seen(i, Published)]
        assert numbers == sorted(set(numbers))
        for j in range(PEERS):
            held = town.states[j].feeds[town.keys[i]]
            assert held.head_hash == town.states[i].own.head_hash
            assert np.array_equal(held.copy, town.states[i].own.copy)


@settings(max_examples=20)
@given(plan=st.lists(happening, max_size=25))
def test_equal_inputs_give_equal_effects(plan):
    def told(plan: list[tuple]) -> tuple:
        town = Town(PEERS, rounds=ROUNDS)
        town.start()
        for what in plan:
            happen(town, what)
        return town.events, list(town.mail), [len(kept) for kept in town.kept]

    assert told(plan) == told(plan)


def test_an_entry_is_stored_before_it_is_sent_or_noted():
    town = Town(2, rounds=2)
    town.start()
    job = town.jobs[0]
    assert job is not None
    release = town.release(job.round, job.model + np.float32(0.01))
    effects = town.give(0, fx.Trained(round=1, release=release))
    kinds = [
        type(e.event).__name__ if isinstance(e, fx.Record) else type(e).__name__ for e in effects
    ]
    keep = kinds.index("Keep")
    assert [r.entry.header.sequence for r in effects[keep].checkpoint.feeds] == [1]
    assert keep < kinds.index("Published") < kinds.index("Send")


def test_a_lone_peer_trains_every_round_and_says_when_it_has_finished():
    town = Town(1, topology={"kind": "none", "nodes": 1}, rounds=3)
    town.start()
    assert town.seen(0, PeerStarted)[0].sequence == 0
    for round_ in (1, 2, 3):
        assert town.jobs[0] is not None
        assert town.jobs[0].round == round_
        town.train(0)
    assert town.jobs[0] is None
    assert not town.seen(0, PeerFinished)  # the last model has not been tested yet
    town.give(0, fx.Tested(round=2, accuracy=0.5, loss=1.0, samples=4))
    assert not town.seen(0, PeerFinished)
    town.give(0, fx.Tested(round=3, accuracy=0.5, loss=1.0, samples=4))
    assert [event.round for event in town.seen(0, Evaluated)] == [2, 3]
    assert [event.round for event in town.seen(0, PeerFinished)] == [3]


def test_a_finished_peer_that_comes_back_is_tested_again_and_trains_no_more():
    town = Town(2, rounds=1)
    town.start()
    town.run(1)
    state = town.restart(0)
    assert state.phase is Phase.FINISHED
    assert town.jobs[0] is None
    town.give(0, fx.Tested(round=1, accuracy=0.5, loss=1.0, samples=4))
    assert town.seen(0, PeerFinished)


def test_training_waits_for_the_hello_of_each_neighbour():
    town = Town(3)
    for i in range(3):
        town.give(i, fx.Started())
    town.join(0, 1)
    town.exchange()
    assert town.states[0].phase is Phase.GATHERING
    town.join(0, 2)
    town.exchange()
    assert town.states[0].phase is Phase.TRAINING


def test_training_waits_no_longer_than_a_deadline():
    town = Town(3)
    town.give(0, fx.Started())
    town.pass_time(town.rules.deadline_s - 0.1)
    assert town.jobs[0] is None
    town.pass_time(0.2)
    assert town.jobs[0] is not None


@pytest.mark.parametrize("stop_in", [Phase.TRAINING, Phase.WAITING])
def test_a_peer_that_comes_back_carries_on_where_it_was(stop_in):
    town = Town(2, rounds=5, compression="int8")
    town.start()
    town.run(2)
    if stop_in is Phase.WAITING:
        town.train(0)
        town.exchange()
    before = town.states[0]
    assert before.phase is stop_in
    after = town.restart(0)
    town.exchange()
    assert (after.phase, after.round) == (stop_in, 3)
    assert after.own.sequence == before.own.sequence
    assert np.array_equal(after.model, before.model)
    assert np.array_equal(after.memory, before.memory)
    if stop_in is Phase.TRAINING:
        assert town.jobs[0] is not None
        assert np.array_equal(town.jobs[0].model, before.model)
        town.train(0)
    town.train(1)
    town.exchange()
    assert [state.round for state in town.states] == [4, 4]


def test_a_peer_that_was_away_joins_the_round_that_its_neighbours_are_in():
    town = Town(3, rounds=9)
    town.start()
    town.run(1)
    town.crash(0)
    for _ in range(4):
        town.train(1)
        town.train(2)
        town.exchange()
    town.restart(0)
    town.exchange()
    assert [(e.from_round, e.to_round) for e in town.seen(0, Skipped)] == [(2, 5)]
    town.train(0)
    town.exchange()
    # what the two had published in round 5 was there already: it is in round 6 with them
    assert [state.round for state in town.states] == [6, 6, 6]
    entry = town.states[0].own.entry
    assert entry is not None
    assert (entry.header.sequence, entry.header.round) == (2, 5)


def test_two_neighbours_that_come_back_together_do_not_keep_each_other_behind():
    town = Town(
        4, rounds=30
    )  # a ring: each of the two hears one that was away and one that was not
    town.start()
    town.run(1)
    town.crash(0)
    for away in range(6):
        if away == 3:
            town.crash(1)  # not quite as long as the other, but long
        for i in (1, 2, 3):
            if town.alive[i]:
                town.train(i)
        town.exchange()
    town.restart(0)
    town.restart(1)
    town.exchange()
    for _ in range(3):
        town.train_all()
    assert len({state.round for state in town.states}) == 1


def test_the_model_after_a_round_alone_is_what_was_published():
    town = Town(1, topology={"kind": "none", "nodes": 1}, rounds=2, compression="int4")
    town.start()
    town.train(0)
    state = town.states[0]
    assert np.array_equal(state.model, from_grid(state.own.copy, town.rules.grid_bits))


def test_an_answer_for_another_round_is_left_aside():
    town = Town(1, topology={"kind": "none", "nodes": 1}, rounds=2)
    town.start()
    release = town.release(2, np.ones(24, dtype=np.float32))
    assert town.give(0, fx.Trained(round=2, release=release)) == []
    assert town.states[0].own.sequence == 0
