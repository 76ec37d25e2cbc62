"""One round: what is published, whom it waits for, what it mixes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core_kit import Town, stepped
from tidings.crypto.identity import short_id
from tidings.gossip import effects as fx
from tidings.gossip import integers, wire
from tidings.gossip.checkpoint import Phase
from tidings.gossip.events import BudgetSpent, Mixed, Published, Refused, Released, Skipped
from tidings.gossip.feed import NO_HASH, payload_digest
from tidings.gossip.grid import LARGEST, SMALLEST, difference, from_grid, state_hash
from tidings.gossip.messages import EntryHeader, News, sign_entry
from tidings.gossip.publishing import largest_parameter

LONE = {"kind": "none", "nodes": 1}


@st.composite
def graphs(draw: st.DrawFn) -> dict:
    """A connected graph of 2 to 6 nodes: a random tree and some edges more."""
    nodes = draw(st.integers(2, 6))
    tree = {(draw(st.integers(0, b - 1)), b) for b in range(1, nodes)}
    pairs = [(a, b) for b in range(nodes) for a in range(b)]
    more = draw(st.sets(st.sampled_from(pairs)))
    return {"kind": "edges", "nodes": nodes, "edges": sorted(tree | more)}


def total(vectors: list[np.ndarray], weights: list[float] | None = None) -> np.ndarray:
    return np.average(np.stack(vectors).astype(np.float64), axis=0, weights=weights)


@settings(max_examples=25)
@given(
    graph=graphs(), compression=st.sampled_from(["none", "int8", "top-k-int8"]), seed=st.integers(0)
)
def test_mixing_keeps_the_mean_of_what_was_published(graph, compression, seed):
    town = Town(
        graph["nodes"], topology=graph, compression=compression, rounds=3, seed=seed % 2**32
    )
    town.start()
    for _ in range(2):
        town.run(1)
        published = [from_grid(s.own.copy, town.rules.grid_bits) for s in town.states]
        mixed = [state.model for state in town.states]
        assert np.abs(total(mixed) - total(published)).max() < 1e-6
        spread = max(np.abs(a - b).max() for a in published for b in published)
        assert max(np.abs(a - b).max() for a in mixed for b in mixed) <= spread + 1e-6


@settings(max_examples=15)
@given(graph=graphs(), samples=st.lists(st.integers(1, 50), min_size=6, max_size=6))
def test_mixing_by_samples_keeps_the_mean_over_all_records(graph, samples):
    class Uneven(Town):
        def make_state(self, index, *, boot=1):
            state = super().make_state(index, boot=boot)
            object.__setattr__(state.me, "samples", samples[index])
            return state

    town = Uneven(graph["nodes"], topology=graph, weighting="samples", rounds=2)
    town.start()
    town.run(1)
    counts = [float(n) for n in samples[: graph["nodes"]]]
    published = [from_grid(s.own.copy, town.rules.grid_bits) for s in town.states]
    mixed = [state.model for state in town.states]
    assert np.abs(total(mixed, counts) - total(published, counts)).max() < 1e-6


def test_a_complete_graph_agrees_after_one_round():
    town = Town(4, topology={"kind": "complete", "nodes": 4})
    town.start()
    town.run(1)
    for state in town.states:
        assert np.allclose(state.model, town.states[0].model, atol=1e-6)


# -- deadlines ---------------------------------------------------------------------------------


def test_the_weight_of_those_who_are_late_returns_to_oneself():
    town = Town(3)
    town.start()
    town.train(0)
    town.train(1)
    town.exchange()
    assert town.states[0].phase is Phase.WAITING
    town.pass_time(town.rules.deadline_s + 0.1)
    mixed = town.seen(0, Mixed)[0]
    assert mixed.neighbours == {short_id(town.keys[1]): pytest.approx(1 / 3)}
    assert mixed.missing == (short_id(town.keys[2]),)
    own, other = (
        from_grid(town.states[i].own.copy, town.rules.grid_bits).astype(np.float64) for i in (0, 1)
    )
    assert town.jobs[0] is not None
    assert np.allclose(town.jobs[0].model, own * 2 / 3 + other / 3, atol=1e-6)


def test_who_was_late_once_is_not_waited_for_until_it_is_heard_again():
    town = Town(3, rounds=6)
    town.start()
    for late in (True, False):
        town.train(0)
        town.train(2)
        town.exchange()
        if late:
            town.pass_time(town.rules.deadline_s + 0.1)
    assert len(town.seen(0, Mixed)) == 2  # the second round took no time
    town.train(1)  # heard again
    town.exchange()
    town.train(0)
    town.train(2)
    town.exchange()
    assert town.states[0].phase is Phase.WAITING


def test_who_is_alone_takes_its_time():
    """It would else run through all rounds in a moment, and draw after it who comes back."""
    town = Town(3, rounds=9)
    town.start()
    town.run(1)
    town.part(0, 1)
    town.part(0, 2)
    for round_ in (2, 3, 4):
        town.train(0)
        assert town.states[0].phase is Phase.WAITING
        town.fire(0, "deadline")
        assert len(town.seen(0, Mixed)) == round_


def test_a_late_neighbour_is_asked_before_the_deadline():
    town = Town(2)
    town.start()
    town.train(1)
    town.mail.clear()  # its entry is lost
    town.train(0)
    town.exchange()
    assert town.states[0].phase is Phase.WAITING
    town.pass_time(town.rules.deadline_s / 2)
    assert [event.missing for event in town.seen(0, Mixed)] == [()]


def test_a_neighbour_whose_link_breaks_is_not_waited_for():
    town = Town(3)
    town.start()
    town.train(0)
    town.train(2)
    town.exchange()
    assert town.states[0].phase is Phase.WAITING
    town.part(0, 1)
    assert town.states[0].phase is Phase.TRAINING
    assert list(town.seen(0, Mixed)[0].neighbours) == [short_id(town.keys[2])]


def test_a_neighbour_that_comes_back_is_waited_for_once_it_keeps_up():
    town = Town(3, rounds=9)
    town.start()
    town.run(1)
    town.crash(1)
    town.train(0)
    town.restart(1)
    town.exchange()
    assert town.states[1].phase is Phase.GATHERING or town.jobs[1] is not None
    town.train(2)
    town.exchange()
    assert town.states[0].round == 3  # the restart held nobody up
    town.train(1)
    town.exchange()
    town.train(0)
    town.train(2)
    town.exchange()
    assert town.states[0].phase is Phase.WAITING  # now it is one of them again
    town.train(1)
    town.exchange()
    assert town.states[0].round == 4


def test_what_a_neighbour_published_before_it_was_away_makes_nobody_wait_for_it():
    town = Town(3, rounds=9)
    town.start()
    town.run(1)
    town.train(1)
    town.mail.clear()  # it dies before anybody has its entry
    town.crash(1)
    for _ in range(2):
        town.train(0)
        town.train(2)
        town.exchange()
    town.restart(1)
    town.exchange()
    assert town.states[0].feeds[town.keys[1]].sequence == 2
    town.train(0)
    town.train(2)
    town.exchange()
    assert [state.round for state in town.states] == [5, 3, 5]


def test_the_last_words_of_one_that_is_gone_make_nobody_wait_for_it():
    town = Town(3, rounds=9)
    town.start()
    town.part(0, 2)
    town.train(0)
    town.exchange()  # peer 1 has it, peer 2 has not
    town.crash(0)
    town.pass_time(1.1 * town.rules.deadline_s)
    assert town.states[2].feeds[town.keys[0]].sequence == 1
    town.train(1)
    town.train(2)
    town.exchange()
    town.train(1)
    town.train(2)
    town.exchange()
    assert [state.round for state in town.states[1:]] == [3, 3]


def test_a_neighbour_that_is_ahead_is_mixed_with_as_it_was_in_that_round():
    town = Town(2, rounds=5)
    town.start()
    town.train(0)
    town.exchange()
    town.pass_time(town.rules.deadline_s + 0.1)  # peer 1 trains long; peer 0 goes on
    first = from_grid(town.states[0].own.copy, town.rules.grid_bits)
    town.train(0)
    town.exchange()
    assert town.states[0].own.sequence == 2
    town.train(1)
    own = from_grid(town.states[1].own.copy, town.rules.grid_bits)
    assert town.jobs[1] is not None
    assert np.allclose(town.jobs[1].model, (own + first) / 2, atol=1e-6)


def test_one_neighbour_in_the_same_round_is_reason_enough_to_stay():
    town = Town(3, rounds=9)
    town.start()
    town.run(1)
    town.part(0, 1)
    town.part(0, 2)
    town.part(1, 2)
    for _ in range(4):
        town.train(1)  # alone, it runs ahead, a deadline for each round
        town.fire(1, "deadline")
    town.join(0, 1)
    town.join(0, 2)
    town.exchange()
    town.train(0)
    town.exchange()
    assert town.states[0].feeds[town.keys[1]].round == 5
    assert not town.seen(0, Skipped)


# -- mixing forms ------------------------------------------------------------------------------


def test_one_that_comes_back_waits_little_for_neighbours_that_are_gone_as_well():
    town = Town(3, rounds=9)
    town.start()
    town.run(2)
    town.crash(2)
    state = town.restart(0)
    town.exchange()
    assert state.phase is Phase.GATHERING  # peer 2 may be about to greet
    town.pass_time(town.rules.deadline_s / 4 + 0.01)
    assert town.jobs[0] is not None


def test_one_that_begins_waits_for_all_as_long_as_a_round_may_take():
    town = Town(3, rounds=9)
    town.crash(2)
    town.start()
    town.pass_time(town.rules.deadline_s * 0.9)
    assert town.jobs[0] is None
    town.pass_time(town.rules.deadline_s * 0.2)
    assert town.jobs[0] is not None


def test_feedback_keeps_what_compression_dropped_and_restart_does_not():
    z = np.linspace(0.01, 0.9, 24, dtype=np.float32)
    ends = {}
    for form in ("restart", "feedback"):
        town = Town(1, topology=LONE, mixing=form, compression="top-k-int8", keep=0.25)
        town.start()
        town.give(0, fx.Trained(round=1, release=town.release(1, z)))
        state = town.states[0]
        published = from_grid(state.own.copy, town.rules.grid_bits)
        captured = town.seen(0, Published)[0].captured
        assert not np.allclose(published, z, atol=1e-2)
        assert 0 < captured < 1
        ends[form] = state.model
        if form == "restart":
            assert np.array_equal(state.model, published)
        else:
            assert np.allclose(state.model, z, atol=1e-6)
    assert not np.allclose(ends["restart"], ends["feedback"], atol=1e-2)


def test_with_feedback_the_dropped_part_goes_out_later():
    z = np.linspace(0.01, 0.9, 24, dtype=np.float32)
    town = Town(1, topology=LONE, mixing="feedback", compression="top-k-int8", keep=0.25, rounds=50)
    town.start()
    for round_ in range(1, 51):
        town.give(0, fx.Trained(round=round_, release=town.release(round_, z)))
    published = from_grid(town.states[0].own.copy, town.rules.grid_bits)
    assert np.allclose(published, z, atol=1e-3)


# -- budget ------------------------------------------------------------------------------------


def test_a_peer_whose_budget_is_spent_keeps_publishing_and_mixing():
    town = Town(2, rounds=4)
    town.start()
    town.run(1)
    memory = town.states[0].memory
    for round_ in (2, 3):
        job = town.jobs[0]
        assert job is not None
        release = town.release(round_, job.model)
        town.give(0, fx.Trained(round=round_, release=release, stopped="the budget is spent"))
        town.train(1)
        town.exchange()
    assert [event.round for event in town.seen(0, BudgetSpent)] == [2]
    assert [event.round for event in town.seen(0, Released)] == [1, 2, 3]
    assert [list(event.neighbours.values()) for event in town.seen(0, Mixed)] == [[0.5]] * 3
    # no training, no direction of descent: the momentum is that of the rounds with training
    assert np.array_equal(town.states[0].memory, memory)
    assert not np.array_equal(town.states[1].memory, memory)
    assert [state.round for state in town.states] == [4, 4]


# -- neighbours that go to extremes --------------------------------------------------------------


def end_of_the_grid(town: Town, author: int, sequence: int, value: int) -> News:
    """A valid entry of ``author`` that leads to a copy of nothing but ``value``."""
    own = town.states[author].own
    copy = np.full(town.genesis.size, value, dtype=np.int32)
    payload = integers.encode(difference(copy, town.genesis))
    header = EntryHeader(
        network_id=town.network_id,
        author=town.keys[author],
        sequence=sequence,
        round=sequence,
        samples=0,
        previous=own.head_hash if sequence > 1 else NO_HASH,
        state=state_hash(copy),
        payload_digest=payload_digest(payload),
    )
    entry = sign_entry(town.identities[author], header)
    own.append(entry, copy, payload)
    return News(entry=entry, base=0, payload=payload)


@pytest.mark.parametrize("compression", ["none", "int8", "int4", "top-k-int8"])
def test_a_neighbour_at_the_ends_of_the_grid_stops_nobody(compression):
    # peer 1 draws the mean to one end of the grid, where rounding up is too much, then to the other
    town = Town(2, rounds=50, compression=compression)
    for genesis in (town.genesis, *(state.genesis for state in town.states)):
        genesis[:] = 0  # so that one payload leads to the very end
    town.start()
    largest = largest_parameter(town.rules.grid_bits)
    for sequence in range(1, 46):
        news = end_of_the_grid(town, 1, sequence, LARGEST if sequence < 40 else SMALLEST)
        frame = wire.encode_news(news, key=town.group_key, entropy=town.states[1].me.entropy)
        town.give(0, fx.Received(link=town.keys[1], frame=bytes(frame)))
        job = town.jobs[0]
        assert job is not None
        # the trainer refuses what grew beyond bounds: it passes the model on as it is
        town.give(0, fx.Trained(round=sequence, release=town.release(sequence, job.model)))
        copy = from_grid(town.states[0].own.copy, town.rules.grid_bits)
        assert np.abs(copy).max() <= 1.02 * largest
    assert town.states[0].round == 46
    assert not town.seen(0, Refused)
    assert np.abs(town.states[0].model).max() > largest / 4  # the extremes did get through


def test_models_that_differ_stay_different_without_links():
    town = Town(2, rounds=2)
    for i in range(2):
        town.give(i, fx.Started())
        town.pass_time(town.rules.deadline_s)
        assert town.jobs[i] is not None
        z = stepped(town.jobs[i].model, i)
        town.give(i, fx.Trained(round=1, release=town.release(1, z)))
    town.pass_time(town.rules.deadline_s)
    assert not np.allclose(town.states[0].model, town.states[1].model, atol=1e-4)
