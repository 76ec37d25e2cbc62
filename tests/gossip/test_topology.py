from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gossip.graph_kit import made, topologies
from tidings.crypto.errors import ConfigError
from tidings.gossip.topology import Topology


@settings(derandomize=True, deadline=None, max_examples=150)
@given(topologies(), st.integers(0, 50))
def test_all_views_of_a_graph_agree(topology: Topology, round: int) -> None:
    a = topology.adjacency(round)
    for node in range(topology.nodes):
        assert topology.in_neighbours(node, round) == tuple(np.flatnonzero(a[node]).tolist())
        assert topology.out_neighbours(node, round) == tuple(np.flatnonzero(a[:, node]).tolist())
    assert not a.diagonal().any()
    assert np.array_equal(a, topology.adjacency(round + topology.period))
    if not topology.is_directed:
        assert np.array_equal(a, a.T)
    ever = np.logical_or.reduce([topology.adjacency(r) for r in range(topology.period)])
    for node in range(topology.nodes):
        links = tuple(np.flatnonzero(ever[node] | ever[:, node]).tolist())
        assert topology.all_neighbours(node) == links
        assert topology.ever_heard(node) == tuple(np.flatnonzero(ever[node]).tolist())
    connected = nx.is_strongly_connected(nx.DiGraph(ever))
    assert topology.is_connected == connected
    assert connected or topology.kind in ("none", "edges")


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(4, 40), st.data())
def test_random_regular_is_regular_and_the_same_for_all(nodes: int, data: st.DataObject) -> None:
    degree = data.draw(st.integers(2, nodes - 1).filter(lambda d: d * nodes % 2 == 0))
    seed = data.draw(st.integers(0, 2**32))
    one, two = (made("random-regular", nodes, degree=degree, seed=seed) for _ in range(2))
    assert (one.adjacency(0).sum(axis=1) == degree).all()
    assert np.array_equal(one.adjacency(0), two.adjacency(9))


def test_random_regular_is_pinned() -> None:
    # members on other machines and with other releases of NumPy must draw this very graph
    t = made("random-regular", 8, degree=3, seed=5)
    expected = "256 567 045 467 237 012 013 134"
    assert [t.in_neighbours(i, 0) for i in range(8)] == [
        tuple(map(int, e)) for e in expected.split()
    ]
    other = made("random-regular", 8, degree=3, seed=6)
    assert not np.array_equal(t.adjacency(0), other.adjacency(0))


@pytest.mark.parametrize("seed", [209, 317, 418])
def test_a_draw_in_two_pieces_is_drawn_again(seed: int) -> None:
    # with these seeds the first pairing makes two complete graphs of four nodes
    t = made("random-regular", 8, degree=3, seed=seed)
    assert t.is_connected


def test_random_regular_scales() -> None:
    t = made("random-regular", 3000, degree=6, seed=1)
    assert t.is_connected
    assert {len(t.in_neighbours(i, 0)) for i in range(3000)} == {6}


def test_a_graph_of_pairs_is_refused() -> None:
    with pytest.raises(ConfigError, match="pairs"):
        made("random-regular", 4, degree=1)
    assert made("random-regular", 2, degree=1).in_neighbours(0, 0) == (1,)


@pytest.mark.parametrize(
    "kind", ["none", "ring", "star", "hypercube", "torus", "complete", "two-cliques", "exponential"]
)
def test_one_node_stands_alone(kind: str) -> None:
    t = made(kind, 1)
    assert t.in_neighbours(0, 3) == t.out_neighbours(0, 3) == t.all_neighbours(0) == ()
    assert t.is_static


def test_two_nodes_hear_each_other_once() -> None:
    kinds = ("ring", "star", "hypercube", "two-cliques", "base", "random-matching")
    for kind in (*kinds, "complete", "exponential", "one-peer-exponential"):
        t = made(kind, 2)
        assert t.in_neighbours(0, 7) == (1,)
        assert t.out_neighbours(1, 7) == (0,)


def test_known_neighbours() -> None:
    assert made("ring", 5).in_neighbours(0, 0) == (1, 4)
    assert made("exponential", 10).in_neighbours(0, 0) == (2, 6, 8, 9)
    assert made("exponential", 10).out_neighbours(0, 0) == (1, 2, 4, 8)
    one = made("one-peer-exponential", 10)
    assert one.period == 4
    assert not one.is_static
    assert [one.in_neighbours(0, r) for r in range(1, 6)] == [(9,), (8,), (6,), (2,), (9,)]
    assert made("torus", 12).in_neighbours(0, 0) == (1, 3, 4, 8)
    assert made("hypercube", 8).in_neighbours(5, 0) == (1, 4, 7)
    assert made("star", 4).adjacency(0).sum(axis=1).tolist() == [3, 1, 1, 1]
    cliques = made("two-cliques", 7)
    assert [cliques.in_neighbours(i, 0) for i in (0, 3, 4)] == [(1, 2, 3), (0, 1, 2, 4), (3, 5, 6)]
    path = made("edges", 3, edges=[[0, 1], [1, 2], [2, 1]])
    assert [path.in_neighbours(i, 0) for i in range(3)] == [(1,), (0, 2), (1,)]
    assert not made("edges", 4, edges=[[0, 1], [2, 3]]).is_connected


def test_a_node_outside_the_graph_is_refused() -> None:
    for kind in ("ring", "exponential", "none"):
        with pytest.raises(ValueError, match="not one of"):
            made(kind, 4).in_neighbours(4, 0)


def test_ten_thousand_nodes_have_their_links_at_once() -> None:
    for kind in ("torus", "exponential", "base", "random-matching", "epidemic"):
        topology = made(kind, 10_000)
        links = topology.links(3)
        assert links.nodes == 10_000
        assert topology.is_connected
        some = [0, 17, 9_999]
        assert [links.heard(i) for i in some] == [topology.in_neighbours(i, 3) for i in some]
