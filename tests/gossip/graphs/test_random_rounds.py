from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gossip.graph_kit import made
from tidings.crypto.errors import ConfigError
from tidings.gossip.graphs.random_rounds import epidemic, random_matching
from tidings.gossip.topology import Topology


@settings(derandomize=True, deadline=None, max_examples=80)
@given(st.integers(1, 50), st.integers(0, 2**64))
def test_a_matching_pairs_all_but_one_at_most(nodes: int, seed: int) -> None:
    links = random_matching(nodes, np.random.PCG64(seed))
    assert links.is_symmetric
    assert links.degrees.max() <= 1
    assert links.degrees.sum() == nodes // 2 * 2


@settings(derandomize=True, deadline=None, max_examples=80)
@given(st.integers(2, 50), st.integers(0, 2**64), st.data())
def test_in_an_epidemic_each_node_tells_as_many(nodes: int, seed: int, data: st.DataObject) -> None:
    degree = data.draw(st.integers(1, nodes - 1))
    links = epidemic(nodes, degree, np.random.PCG64(seed))
    assert (links.out_degrees == degree).all()
    assert (links.senders != links.receivers).all()
    weights = links.weights
    assert weights is not None
    assert np.array_equal(weights, 1 / (1 + links.degrees[links.receivers]))


def test_every_pair_is_equally_likely() -> None:
    # 15 matchings of 6 nodes, 6 sets of 2 for each of 4 tellers to tell; 6 standard errors
    bits = np.random.PCG64(3)
    draws = 6000
    matchings = Counter(tuple(random_matching(6, bits).senders) for _ in range(draws))
    assert len(matchings) == 15
    error = 6 * np.sqrt(draws / 15)
    assert all(abs(count - draws / 15) < error for count in matchings.values())
    told: Counter[tuple[int, ...]] = Counter()
    for _ in range(draws):
        back = epidemic(5, 2, bits).reversed()
        told.update((i, *back.heard(i)) for i in range(5))
    assert len(told) == 5 * 6
    error = 6 * np.sqrt(draws / 6)
    assert all(abs(count - draws / 6) < error for count in told.values())


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.sampled_from(["random-matching", "epidemic"]),
    st.integers(3, 40),
    st.integers(1, 30),
    st.integers(0, 2**40),
)
def test_a_period_connects_everybody_and_comes_again(
    kind: str, nodes: int, period: int, seed: int
) -> None:
    period = max(period, 2 * nodes.bit_length())  # few matchings may not be able to
    topology = made(kind, nodes, period=period, seed=seed)
    assert topology.is_connected
    assert topology.period == period
    for round in (1, period):
        assert topology.links(round) is topology.links(round + period)


def test_the_graphs_of_a_seed_are_pinned() -> None:
    # members on other machines and with other releases of NumPy must draw these very graphs
    pairs = made("random-matching", 7, seed=5)
    assert [_written(pairs, round) for round in (1, 2, 3)] == [
        "2 3 0 1 6 - 4",
        "3 4 - 0 1 6 5",
        "3 5 6 0 - 1 2",
    ]
    told = made("epidemic", 6, degree=2, seed=5)
    assert [_written(told, round) for round in (1, 2)] == [
        "13 034 15 24 025 -",
        "23 45 14 015 02 3",
    ]


def _written(topology: Topology, round: int) -> str:
    links = topology.links(round)
    return " ".join("".join(map(str, links.heard(i))) or "-" for i in range(links.nodes))


def test_a_sequence_in_pieces_is_drawn_again() -> None:
    # with three nodes and two rounds, one draw in three pairs the same nodes twice
    for seed in range(30):
        assert made("random-matching", 3, period=2, seed=seed).is_connected


def test_a_period_too_short_to_connect_is_refused() -> None:
    with pytest.raises(ConfigError, match="1 random graphs leave 8 nodes in pieces"):
        made("random-matching", 8, period=1)


@pytest.mark.parametrize("n", [10, 100, 1000])
def test_a_peer_keeps_few_links(n: int) -> None:
    topology = made("random-matching", n)
    assert topology.period == 2 * (n - 1).bit_length()
    assert max(len(topology.all_neighbours(i)) for i in range(n)) <= topology.period
