"""How fast graphs agree, against the closed forms and against published figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gossip.graph_kit import made, topologies
from tidings.gossip.consensus import (
    AGREED,
    consensus_of,
    disagreement,
    keeps_average,
    mixed,
    products,
    spectral_gap,
)
from tidings.gossip.topology import Topology
from tidings.gossip.weights import mixing_matrix

NODES = (16, 25, 32, 64, 100)
# rounds until ||W_t ... W_1 - 11^T/n|| <= 1e-10; * nothing is left then
TABLE = {
    ("ring", None): "443 1088 1786 7162 17492",
    ("torus", None): "46 72 185 185 290",
    ("exponential", None): "46 35 57 69 81",
    ("one-peer-exponential", None): "4* 70 5* 6* 98",
    ("base", 1): "4* 9* 5* 6* 11*",
    ("base", 2): "4* 6* 5* 6* 8*",
    ("base", 4): "2* 2* 3* 3* 3*",
}
LARGEST_DEGREE = {"ring": 2, "torus": 4, "one-peer-exponential": 1}


@pytest.mark.parametrize(("kind", "degree"), TABLE)
def test_the_consensus_table(kind: str, degree: int | None) -> None:
    graphs = [made(kind, n, degree=degree) for n in NODES]
    found = [consensus_of(topology) for topology in graphs]
    assert " ".join(f"{c.rounds}{'*' if c.is_exact else ''}" for c in found) == TABLE[kind, degree]
    for topology in graphs:
        rounds = range(1, topology.period + 1)
        largest = max(int(topology.links(round).degrees.max()) for round in rounds)
        expected = degree or LARGEST_DEGREE.get(kind, math.ceil(math.log2(topology.nodes)))
        assert largest <= expected if kind == "base" else largest == expected


@settings(derandomize=True, deadline=None, max_examples=40)
@given(topologies(most=12, pieces=False))
def test_the_rounds_are_those_of_multiplying_the_matrices(topology: Topology) -> None:
    n = topology.nodes
    found = consensus_of(topology)
    product, round = np.eye(n), 0
    apart = np.eye(n) - 1 / n
    while np.linalg.norm(apart @ product, ord=2) > AGREED:
        round += 1
        product = mixing_matrix(topology.links(round)) @ product
    assert found.rounds is not None
    # by a formula or by multiplying, the last round may turn on rounding; of one node 0 are enough
    assert abs(found.rounds - round) <= 1
    if found.is_exact:
        assert np.abs(apart @ product).max() <= 1e-14


def test_a_graph_in_pieces_never_agrees() -> None:
    for topology in (made("none", 4), made("edges", 4, edges=[[0, 1], [2, 3]])):
        found = consensus_of(topology)
        assert found.rounds is None
        assert found.spectral_gap == 0
        assert not found.is_exact


@settings(derandomize=True, deadline=None, max_examples=60)
@given(topologies(most=12), st.integers(0, 30))
def test_mixing_without_a_matrix_is_the_matrix(topology: Topology, round: int) -> None:
    models = np.random.default_rng(round).normal(size=(topology.nodes, 3))
    links = topology.links(round)
    W = mixing_matrix(links)
    assert np.abs(mixed(links, models) - W @ models).max() <= 1e-14
    assert keeps_average(links) == bool(np.abs(W.sum(axis=0) - 1).max() <= 1e-12)


def test_more_nodes_than_a_matrix_can_have_are_estimated() -> None:
    found = consensus_of(made("base", 2_500))
    assert found.is_estimate
    assert found.is_exact
    assert found.rounds == made("base", 2_500).period
    # the dense and the estimated way agree where both can go
    matching = made("random-matching", 300)
    dense = consensus_of(matching)
    models, scale = next(iter(products(made("random-matching", 2_500))))
    assert models.shape == (2_500, 32)
    assert disagreement(models) == scale
    assert dense.rounds is not None
    estimated = consensus_of(made("random-matching", 2_500)).rounds
    assert estimated is not None
    assert dense.rounds - 10 <= estimated <= dense.rounds + 20


@pytest.mark.parametrize("n", [3, 4, 7, 10, 25, 100])
def test_spectral_gap_of_the_ring(n: int) -> None:
    W = mixing_matrix(made("ring", n).links(0))
    eigenvalues = [(1 + 2 * math.cos(2 * math.pi * k / n)) / 3 for k in range(1, n)]
    assert spectral_gap(W) == pytest.approx(1 - max(map(abs, eigenvalues)), abs=1e-9)
    assert spectral_gap(W) == pytest.approx(2 / 3 * (1 - math.cos(2 * math.pi / n)), abs=1e-9)


@pytest.mark.parametrize(("a", "b"), [(3, 4), (4, 4), (5, 5), (4, 8), (9, 11), (10, 10)])
def test_spectral_gap_of_the_torus(a: int, b: int) -> None:
    W = mixing_matrix(made("torus", a * b).links(0))
    expected = 2 / 5 * (1 - math.cos(2 * math.pi / max(a, b)))
    assert spectral_gap(W) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("n", [4, 8, 10, 16, 24, 64, 100])
def test_spectral_gap_of_the_static_exponential_graph(n: int) -> None:
    W = mixing_matrix(made("exponential", n).links(0))
    assert spectral_gap(W) == pytest.approx(2 / (1 + math.ceil(math.log2(n))), abs=1e-9)


@pytest.mark.parametrize("n", [4, 8, 32])
def test_spectral_gap_of_the_hypercube(n: int) -> None:
    W = mixing_matrix(made("hypercube", n).links(0))
    assert spectral_gap(W) == pytest.approx(2 / (1 + math.log2(n)), abs=1e-9)


def test_spectral_gap_at_the_ends() -> None:
    assert spectral_gap(np.ones((1, 1))) == 1
    assert spectral_gap(np.full((5, 5), 0.2)) == pytest.approx(1)
    assert spectral_gap(np.eye(4)) == 0


@pytest.mark.parametrize("n", [2, 4, 8, 16, 32, 64])
def test_one_peer_exponential_is_exact_after_log2_n_rounds(n: int) -> None:
    t = made("one-peer-exponential", n)
    product = np.eye(n)
    for round in range(5, 5 + t.period):  # any start will do
        product = mixing_matrix(t.links(round)) @ product
    assert t.period == math.log2(n)
    assert np.array_equal(product, np.full((n, n), 1 / n))
