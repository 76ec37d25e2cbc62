from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gossip.graph_kit import made, topologies
from tidings.crypto.errors import ConfigError
from tidings.gossip.consensus import spectral_gap
from tidings.gossip.topology import Topology
from tidings.gossip.weights import (
    drop_missing,
    link_weights,
    metropolis_hastings,
    mixing_matrix,
    row_weights,
)


def counts_of(topology: Topology) -> st.SearchStrategy[list[int]]:
    size = topology.nodes
    return st.lists(st.integers(1, 10_000), min_size=size, max_size=size)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(topologies(), st.integers(0, 60))
def test_uniform_weights_are_doubly_stochastic(topology: Topology, round: int) -> None:
    W = mixing_matrix(topology.links(round))
    assert np.abs(W.sum(axis=1) - 1).max() <= 1e-12
    if topology.kind != "epidemic":
        assert np.abs(W.sum(axis=0) - 1).max() <= 1e-12
    # of a Base graph, a node may take its neighbour's model for its own
    assert W.min() >= -1e-16
    assert topology.kind == "base" or (W.diagonal() > 0).all()
    if not topology.is_directed:
        assert np.array_equal(W - np.diag(W.diagonal()), (W - np.diag(W.diagonal())).T)
    if topology.kind not in ("base", "epidemic"):
        assert np.array_equal(W, metropolis_hastings(topology.adjacency(round)))


@settings(derandomize=True, deadline=None, max_examples=200)
@given(topologies(), st.integers(0, 60), st.data())
def test_weights_by_samples_keep_the_weighted_average(
    topology: Topology, round: int, data: st.DataObject
) -> None:
    samples = np.array(data.draw(counts_of(topology)), dtype=np.float64)
    if topology.kind == "epidemic":
        with pytest.raises(ValueError, match="directed"):
            link_weights(topology.links(round), samples)
        return
    W = mixing_matrix(topology.links(round), samples)
    pi = samples / samples.sum()
    assert np.abs(pi @ W - pi).max() <= 1e-12
    assert np.abs(W.sum(axis=1) - 1).max() <= 1e-12
    assert W.min() >= -1e-16
    assert (W[topology.adjacency(round)] > 0).all()


@settings(derandomize=True, deadline=None, max_examples=200)
@given(topologies(), st.integers(0, 60), st.booleans(), st.data())
def test_rows_equal_the_matrix(
    topology: Topology, round: int, by_samples: bool, data: st.DataObject
) -> None:
    by_samples = by_samples and not topology.is_directed
    samples = data.draw(counts_of(topology)) if by_samples else None
    W = mixing_matrix(topology.links(round), samples)
    rows = [row_weights(topology, node, round, samples) for node in range(topology.nodes)]
    for node, row in enumerate(rows):
        assert tuple(row) == topology.in_neighbours(node, round)
        assert list(row.values()) == W[node, list(row)].tolist()


def test_equal_counts_are_uniform_weights() -> None:
    for kind in ("ring", "exponential", "one-peer-exponential"):
        a = made(kind, 12).adjacency(2)
        assert metropolis_hastings(a, np.full(12, 7)) == pytest.approx(metropolis_hastings(a))


def test_known_weights() -> None:
    assert row_weights(made("ring", 5), 0, 0) == {1: 1 / 3, 4: 1 / 3}
    assert row_weights(made("one-peer-exponential", 8), 0, 2) == {6: 0.5}
    star = made("edges", 4, edges=[[0, 1], [0, 2], [0, 3]])
    assert row_weights(star, 1, 0) == {0: 0.25}
    # the node with three times the data gives and keeps more
    pair = made("complete", 2)
    assert row_weights(pair, 0, 0, [300, 100]) == {1: pytest.approx(1 / 6)}
    assert row_weights(pair, 1, 0, {0: 300, 1: 100}) == {0: 0.5}


def test_repeated_mixing_reaches_the_weighted_average() -> None:
    samples = np.array([1000, 10, 50, 200, 30])
    W = metropolis_hastings(made("ring", 5).adjacency(0), samples)
    assert spectral_gap(W) > 0
    limit = np.linalg.matrix_power(W, 100_000)
    assert limit == pytest.approx(np.tile(samples / samples.sum(), (5, 1)), abs=1e-6)


def test_what_cannot_be_weighted_is_refused() -> None:
    chain = np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=bool)
    with pytest.raises(ValueError, match="directed"):
        metropolis_hastings(chain)
    with pytest.raises(ValueError, match="positive"):
        metropolis_hastings(np.ones((2, 2), dtype=bool), [1, 0])
    with pytest.raises(ValueError, match="positive"):
        metropolis_hastings(np.ones((2, 2), dtype=bool), [1, 2, 3])
    with pytest.raises(ConfigError, match="hear each other"):
        row_weights(made("exponential", 3), 0, 0, [5, 5, 5])
    with pytest.raises(ValueError, match="node 1 has 0 samples"):
        row_weights(made("ring", 3), 0, 0, [5, 0, 5])
    ring = made("ring", 6)
    assert row_weights(ring, 0, 0, {0: 5, 1: 5, 5: 5}) == pytest.approx({1: 1 / 3, 5: 1 / 3})


def test_a_missing_neighbours_weight_returns_to_oneself() -> None:
    weights = row_weights(made("exponential", 10), 0, 0)
    heard = drop_missing(weights, {2, 9, 77})
    assert heard == {2: 0.2, 9: 0.2}
    assert list(heard) == [2, 9]
    assert drop_missing(weights, ()) == {}
