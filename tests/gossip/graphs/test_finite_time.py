from __future__ import annotations

import numpy as np
import pytest

from tidings.gossip.consensus import mixed
from tidings.gossip.graphs.finite_time import base_graph
from tidings.gossip.weights import mixing_matrix


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_a_sequence_averages_exactly_whatever_the_number_of_nodes(k: int) -> None:
    for n in range(2, 201):
        models = np.eye(n)
        for links in base_graph(n, k):
            assert links.degrees.max() <= k
            models = mixed(links, models)
        assert np.abs(models - 1 / n).max() <= 1e-14, f"n = {n}"


@pytest.mark.parametrize("start", range(9))
def test_from_any_round_on_two_sequences_are_enough(start: int) -> None:
    sequence = base_graph(25, 1)
    assert len(sequence) == 9
    models = np.eye(25)
    for round in range(start, start + 2 * len(sequence) - 1):
        models = mixed(sequence[round % len(sequence)], models)
    assert np.abs(models - 1 / 25).max() <= 1e-14


def test_the_sequences_are_as_short_as_the_paper_says() -> None:
    # at most 2 log_{k+1} n + 2 rounds (Takezawa et al. 2023, theorem 1)
    for k in (1, 2, 3, 4):
        for n in range(2, 201):
            assert len(base_graph(n, k)) <= 2 * np.log(n) / np.log(k + 1) + 2
    assert [len(base_graph(n, 1)) for n in (3, 5, 6, 7, 33)] == [3, 5, 4, 5, 11]
    assert [len(base_graph(n, n - 1)) for n in (2, 7, 30)] == [1, 1, 1]


def test_a_known_sequence() -> None:
    # three nodes, one neighbour: 0 and 1 average, node 2 takes two thirds of their average and node
    # 0 gets what balances it, then 0 and 1 average again
    rounds = [mixing_matrix(links) for links in base_graph(3, 1)]
    assert rounds[0].tolist() == [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]]
    assert rounds[1] == pytest.approx(np.array([[1, 0, 2], [0, 3, 0], [2, 0, 1]]) / 3)
    assert rounds[2].tolist() == rounds[0].tolist()


def test_one_node_has_nothing_to_do() -> None:
    (links,) = base_graph(1, 3)
    assert links.heard(0) == ()
