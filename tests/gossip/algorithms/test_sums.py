"""Sums that are pushed, relayed or met for: nothing is lost and all agree on the mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.gossip.algorithms import pairwise, push_sum, relay
from tidings.gossip.graphs.links import Links
from tidings.gossip.rules import TopologyRule
from tidings.gossip.topology import Topology

PROPERTY = settings(derandomize=True, deadline=None, max_examples=40)
BITS = 20
seeds = st.integers(0, 2**32 - 1)


def links_of(kind: str, nodes: int, **more: object) -> Links:
    rule = TopologyRule.model_validate({"kind": kind, "nodes": nodes, **more})
    return Topology(rule).links(1)


def tree(nodes: int, seed: int) -> Links:
    rng = np.random.default_rng(seed)
    edges = [(int(rng.integers(0, b)), b) for b in range(1, nodes)]
    return links_of("edges", nodes, edges=edges)


# -- push-sum ----------------------------------------------------------------------------------


def push_round(state: push_sum.PushSum, links: Links, arrived: np.ndarray) -> None:
    """All push; of the messages (E,) some arrive."""
    push_sum.push(state, np.arange(links.nodes), links.out_degrees)
    for link in np.flatnonzero(arrived):
        push_sum.take(state, links.receivers[[link]], np.array([link]), links.senders[[link]])


@PROPERTY
@given(seeds, st.integers(2, 24), st.sampled_from(["exponential", "ring", "one-peer-exponential"]))
def test_push_sum_loses_no_unit_of_mass_when_a_third_is_lost(seed: int, n: int, kind: str) -> None:
    rng, links = np.random.default_rng(seed), links_of(kind, n)
    copies = rng.integers(-(2**24), 2**24, (n, 5), dtype=np.int32)
    state = push_sum.begin(copies, links)
    expected = push_sum.total(state, links)
    assert expected[:-1].tolist() == [int(c) % 2**32 for c in copies.sum(axis=0, dtype=np.int64)]
    for _ in range(30):
        some = rng.permutation(n)[: n // 2]
        change = rng.integers(-999, 999, (len(some), 5), dtype=np.int32)
        push_sum.learn(state, some, change)
        expected[:-1] += change.sum(axis=0, dtype=np.int64).astype(np.uint32)
        push_round(state, links, rng.random(len(links.senders)) > 0.3)
        assert np.array_equal(push_sum.total(state, links), expected)


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_push_sum_finds_the_mean_on_a_directed_graph_that_loses_messages(loss: float) -> None:
    # nobody hears as many as hear it, so no averaging with rows that sum to 1 would find the mean
    senders, degrees = [3, 0, 3, 0, 1, 0, 2], [1, 2, 2, 2]
    links = Links(starts=np.cumsum([0, *degrees]), senders=np.array(senders))
    rng = np.random.default_rng(5)
    copies = rng.integers(-(2**21), 2**21, (4, 300), dtype=np.int32)
    state = push_sum.begin(copies, links)
    for _ in range(150):
        push_round(state, links, rng.random(len(links.senders)) >= loss)
    for _ in range(0 if loss == 0 else 60):  # the last messages arrive
        push_round(state, links, np.ones(len(links.senders), dtype=bool))
    mean = copies.mean(axis=0) * 2.0**-BITS
    assert np.abs(push_sum.models(state, np.arange(4), BITS) - mean).max() < 1e-4


# -- relayed sums ------------------------------------------------------------------------------


def relay_round(
    state: relay.Relayed, links: Links, models: np.ndarray, arrived: np.ndarray | None = None
) -> np.ndarray:
    """All tell; all, or some, of the messages (E,) arrive; the means."""
    everyone = np.arange(links.nodes)
    relay.tell(state, links, everyone, models)
    some = np.arange(len(links.senders)) if arrived is None else np.flatnonzero(arrived)
    relay.hear(state, some)
    return relay.mean(state, links, everyone, models)[0]


@PROPERTY
@given(seeds, st.integers(2, 20), st.sampled_from([0.0, 0.3]))
def test_relayed_sums_bring_every_model_to_every_node_once(
    seed: int, nodes: int, loss: float
) -> None:
    links = tree(nodes, seed)
    rng = np.random.default_rng(seed)
    models = rng.normal(size=(nodes, 7)).astype(np.float32)
    state = relay.nothing_yet(links, 7)
    for _ in range(nodes if loss else 0):
        relay_round(state, links, models, rng.random(len(links.senders)) >= loss)
        assert (held(state, links) <= nodes).all()  # what is late is not there twice
    for _ in range(nodes):
        mixed = relay_round(state, links, models)
    assert np.abs(mixed - models.mean(axis=0)).max() < 1e-5
    assert (held(state, links) == nodes).all()


def held(state: relay.Relayed, links: Links) -> np.ndarray:
    """How many models there are in each node's mean."""
    counts = np.ones(links.nodes, dtype=np.int64)
    np.add.at(counts, links.receivers, state.heard_counts)
    return counts


def test_news_are_as_late_as_they_are_far() -> None:
    links = links_of("path", 4)
    state = relay.nothing_yet(links, 1)
    for round_ in range(6):  # node 0 has a new model in every round
        models = np.float32([[round_], [0], [0], [0]])
        mixed = relay_round(state, links, models)
        for node in (1, 2, 3):  # its neighbour has it at once, each link more takes a round
            late = round_ - (node - 1)
            if round_ >= 2:  # by then everybody has heard of all
                assert mixed[node, 0] == max(late, 0) / 4


def test_where_there_is_no_tree_nothing_is_relayed() -> None:
    for links in (links_of("ring", 4), links_of("exponential", 4)):
        with pytest.raises(ValueError, match="trees only"):
            relay.nothing_yet(links, 3)


# -- meetings ----------------------------------------------------------------------------------


@PROPERTY
@given(seeds, st.integers(2, 9), st.integers(0, 60))
def test_batches_of_meetings_are_the_meetings_one_by_one(seed: int, n: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    meetings = np.array([rng.choice(n, 2, replace=False) for _ in range(count)], dtype=np.int64)
    meetings = meetings.reshape(-1, 2)
    models = rng.integers(-(2**31), 2**31, (n, 6), dtype=np.int32)
    alone, batched = models.copy(), models.copy()
    for pair in meetings:
        pairwise.meet(alone, pair[None])
    batches = pairwise.one_at_a_time(meetings)
    for batch in batches:
        pairwise.meet(batched, meetings[batch])
    assert sorted(number for batch in batches for number in batch) == list(range(count))
    assert np.array_equal(alone, batched)
    assert np.array_equal(alone.sum(axis=0, dtype=np.int64), models.sum(axis=0, dtype=np.int64))
    assert (alone.max(axis=0) <= models.max(axis=0)).all()
    assert (alone.min(axis=0) >= models.min(axis=0)).all()


def test_who_meets_agrees_to_the_unit() -> None:
    models = np.int32([[7, -7, 2**31 - 1], [2, -2, -(2**31)]])
    pairwise.meet(models, np.array([[0, 1]]))
    assert models.tolist() == [[4, -5, -1], [5, -4, 0]]


def test_nobody_meets_two_at_once() -> None:
    models = np.zeros((4, 2), dtype=np.int32)
    for pairs in ([[0, 1], [1, 2]], [[3, 3]]):
        with pytest.raises(ValueError, match="one other at a time"):
            pairwise.meet(models, np.array(pairs))
