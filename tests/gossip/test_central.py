"""What a coordinator does: exact means whatever the order, and fair draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tidings.gossip.central import LARGEST_WEIGHT, WeightedMean, draw_participants

vectors = hnp.arrays(
    np.int32,
    st.tuples(st.integers(1, 6), st.integers(1, 5)),
    elements=st.integers(-(2**31), 2**31 - 1),
)


@st.composite
def weighted(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Grid vectors with a weight each."""
    rows = draw(vectors)
    weights = st.integers(1, LARGEST_WEIGHT // len(rows))
    return rows, np.array([draw(weights) for _ in rows], dtype=np.int64)


def mean_of(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    mean = WeightedMean(rows.shape[1])
    mean.add(rows, weights)
    return mean.value()


@given(weighted())
def test_the_mean_is_exact_to_half_a_unit(given_: tuple[np.ndarray, np.ndarray]):
    rows, weights = given_
    found = mean_of(rows, weights)
    assert found.dtype == np.int32
    total = int(weights.sum())
    for column, value in zip(rows.T.tolist(), found.tolist(), strict=True):
        exact = sum(w * x for w, x in zip(weights.tolist(), column, strict=True))
        assert abs(2 * (value * total - exact)) <= total  # whole numbers: no rounding here


@given(weighted(), st.randoms())
def test_order_and_portions_do_not_matter(given_: tuple[np.ndarray, np.ndarray], random):
    rows, weights = given_
    order = list(range(len(rows)))
    random.shuffle(order)
    mean = WeightedMean(rows.shape[1])
    while order:
        part = [order.pop() for _ in range(random.randint(1, len(order)))]
        mean.add(rows[part], weights[part])
    assert np.array_equal(mean.value(), mean_of(rows, weights))


@given(vectors, st.integers(1, 1000))
def test_what_all_agree_on_stays_and_equal_weights_are_one(rows: np.ndarray, weight: int):
    same = np.repeat(rows[:1], len(rows), axis=0)
    ones = np.ones(len(rows), dtype=np.int64)
    assert np.array_equal(mean_of(same, ones), rows[0])
    assert np.array_equal(mean_of(rows, ones * weight), mean_of(rows, ones))


def test_twice_the_weight_counts_as_two_clients():
    rows = np.array([[0, 10], [30, -40]], dtype=np.int32)
    assert mean_of(rows, np.array([2, 1])).tolist() == [10, -7]
    assert mean_of(rows[[0, 0, 1]], np.array([1, 1, 1])).tolist() == [10, -7]


@pytest.mark.parametrize(
    "weights", [[1], [1, 0], [1, -1], [0.5, 0.5], [1, LARGEST_WEIGHT]], ids=str
)
def test_weights_that_cannot_be_are_refused(weights: list[float]):
    mean = WeightedMean(3)
    with pytest.raises(ValueError, match="weight"):
        mean.add(np.zeros((2, 3), dtype=np.int32), weights)
    with pytest.raises(ValueError, match="no mean of nothing"):
        mean.value()


@given(st.integers(1, 60), st.floats(0.01, 1.0), st.integers(0, 2**32))
def test_a_share_of_the_clients_takes_part(clients: int, share: float, seed: int):
    drawn = draw_participants(clients, share, np.random.default_rng(seed))
    assert len(drawn) == max(round(share * clients), 1)
    assert len(set(drawn.tolist())) == len(drawn)
    assert drawn.tolist() == sorted(drawn.tolist())
    assert 0 <= drawn[0] <= drawn[-1] < clients


def test_everybody_is_drawn_equally_often():
    rng = np.random.default_rng(1)
    counts = np.bincount(
        np.concatenate([draw_participants(20, 0.25, rng) for _ in range(2000)]), minlength=20
    )
    # 500 each, binomial with standard deviation 19.4
    assert np.abs(counts - 500).max() < 4 * 19.4


@pytest.mark.parametrize(("clients", "share"), [(0, 0.5), (5, 0.0), (5, 1.5)])
def test_draws_of_nobody_are_refused(clients: int, share: float):
    with pytest.raises(ValueError, match="take part"):
        draw_participants(clients, share, np.random.default_rng(0))
