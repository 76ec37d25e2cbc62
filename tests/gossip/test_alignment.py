"""Cosines of steps: what they are, and that they need no copy of a large model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.gossip import alignment as module
from tidings.gossip.alignment import alignment


def steps(seed: int, neighbours: int, parameters: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(neighbours + 2, parameters)).astype(np.float32)


@given(seed=st.integers(0, 2**32), neighbours=st.integers(1, 6), parameters=st.integers(1, 40))
def test_it_is_the_cosine_with_the_sum_of_the_other_steps(
    seed: int, neighbours: int, parameters: int
):
    before, own, *copies = steps(seed, neighbours, parameters)
    found = alignment(before, own, np.stack(copies))
    every = [own - before, *(copy - before for copy in copies)]
    longest = max(np.linalg.norm(step) for step in every)
    for k, cosine in enumerate(found, start=1):
        rest = sum(every[:k] + every[k + 1 :]).astype(np.float64)
        expected = float(every[k] @ rest) / (np.linalg.norm(every[k]) * np.linalg.norm(rest))
        # the more of the steps cancels out, the less do floats leave of the sum's direction
        cancelled = len(every) * (longest / np.linalg.norm(rest)) ** 2
        assert cosine == pytest.approx(expected, abs=2e-4 + 1e-6 * cancelled)


@given(
    seed=st.integers(0, 2**32),
    peers=st.integers(1, 5),
    neighbours=st.integers(0, 9),
    parameters=st.integers(1, 99),
)
def test_peers_at_once_come_to_the_bits_of_each_alone(
    seed: int, peers: int, neighbours: int, parameters: int
):
    every = np.stack([steps(seed + peer, neighbours, parameters) for peer in range(peers)])
    found = alignment(every[:, 0], every[:, 1], every[:, 2:])
    alone = [alignment(one[0], one[1], one[2:]) for one in every]
    assert found.tobytes() == np.stack(alone).tobytes()


def test_the_width_of_a_block_makes_no_difference(monkeypatch: pytest.MonkeyPatch):
    before, own, *copies = steps(3, 4, 1000)
    whole = alignment(before, own, np.stack(copies))
    monkeypatch.setattr(module, "BLOCK", 7)
    assert alignment(before, own, np.stack(copies)) == pytest.approx(whole, abs=1e-5)


def test_who_turns_round_points_away():
    before, own, *copies = steps(5, 5, 300)
    true = own - before
    copies = [before + true + 0.1 * (copy - before) for copy in copies]
    copies[2] = before - true
    found = alignment(before, own, np.stack(copies))
    assert found[2] < -0.9
    assert np.delete(found, 2).min() > 0.9


def test_a_step_without_a_length_has_no_direction():
    before, own, *copies = steps(1, 2, 10)
    copies[0] = before
    assert alignment(before, own, np.stack(copies))[0] == 0.0
    assert alignment(before, before, np.stack([before, before])).tolist() == [0.0, 0.0]
