"""Factors carry what they can of a delta, never less than nothing, and the same bits for a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tidings.gossip.compression import captured
from tidings.gossip.factors import LEVELS, Layout, Matrix, factors_of, layout_of, product, values_of
from tidings.gossip.grid import FloatVector, to_grid
from tidings.gossip.low_rank import factored
from tidings.gossip.publishing import largest_parameter, next_step
from tidings.gossip.rules import Rules

SHAPES = ((6, 9), (6,), (4, 6), (4,))
ENDS = [0, 1, -1, 2**31 - 1, -(2**31), 2**30]
INT32 = st.one_of(st.sampled_from(ENDS), st.integers(-(2**31), 2**31 - 1), st.integers(-300, 300))
DELTAS = hnp.arrays(np.int32, st.tuples(st.integers(1, 4), st.just(88)), elements=INT32)
PROPERTY = settings(derandomize=True, deadline=None, max_examples=100)


def near_low_rank(layout: Layout, rows: int, seed: int, noise: float = 0.3) -> np.ndarray:
    """Deltas such as training makes: a few directions, and a bit of everything."""
    rng = np.random.Generator(np.random.PCG64(seed))
    parts = []
    for matrix in layout:
        shape = (rows, matrix.rows, matrix.columns)
        signal = rng.normal(size=(*shape[:2], 1)) @ rng.normal(size=(rows, 1, matrix.columns))
        parts.append((signal + noise * rng.normal(size=shape)).reshape(rows, -1))
    return np.rint(2000 * np.concatenate(parts, axis=1)).astype(np.int32)


@PROPERTY
@given(DELTAS, st.integers(1, 2))
def test_it_never_carries_less_than_nothing(delta: np.ndarray, rank: int) -> None:
    layout = layout_of(SHAPES, rank)
    q = product(factored(delta, layout), layout)
    exact = delta.astype(np.float64)
    lost = np.square(exact - q).sum(axis=-1)
    assert (lost <= np.square(exact).sum(axis=-1)).all()
    assert (captured(delta, q) >= 0).all()


@PROPERTY
@given(DELTAS, st.integers(1, 2))
def test_factors_are_few_levels(delta: np.ndarray, rank: int) -> None:
    layout = layout_of(SHAPES, rank)
    for exponents, left, right in factors_of(factored(delta, layout), layout):
        assert (exponents >= 0).all()
        assert (exponents <= 31).all()
        assert (np.abs(left) <= LEVELS).all()
        assert (np.abs(right) <= LEVELS).all()


@PROPERTY
@given(DELTAS, st.integers(1, 2))
def test_rows_do_not_see_each_other(delta: np.ndarray, rank: int) -> None:
    layout = layout_of(SHAPES, rank)
    together = factored(delta, layout)
    for row, expected in zip(delta, together, strict=True):
        assert factored(row, layout).tobytes() == expected.tobytes()
    assert factored(delta[:, None], layout)[:, 0].tobytes() == together.tobytes()
    two = np.stack([delta, delta[::-1]], axis=1)
    assert factored(two, layout)[:, 0].tobytes() == together.tobytes()


@pytest.mark.parametrize("shapes", [((32, 64), (32,), (10, 32), (10,)), ((64, 784), (64,))])
def test_large_rows_do_not_see_each_other(shapes: tuple[tuple[int, ...], ...]) -> None:
    # here BLAS has other kernels than for small ones
    layout = layout_of(shapes, 3)
    delta = near_low_rank(layout, 7, seed=1)
    together = factored(delta, layout)
    for some in (slice(0, 1), slice(1, 4), slice(4, 7)):
        assert factored(delta[some], layout).tobytes() == together[some].tobytes()
    assert factored(delta[6], layout).tobytes() == together[6].tobytes()


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_it_is_near_to_what_singular_vectors_carry(rank: int) -> None:
    layout = (Matrix(32, 64, rank),)
    delta = near_low_rank(layout, 8, seed=rank, noise=0.5)
    share = captured(delta, product(factored(delta, layout), layout))
    squares = np.square(np.linalg.svd(delta.reshape(8, 32, 64), compute_uv=False))
    best = squares[:, :rank].sum(axis=1) / squares.sum(axis=1)
    assert (share >= 0.92 * best).all()
    assert (share <= best + 1e-9).all()


def test_a_matrix_of_its_rank_comes_through_in_a_few_rounds() -> None:
    layout = layout_of(SHAPES, 1)
    left = rest = near_low_rank(layout, 1, seed=5, noise=0.0)
    for _ in range(8):
        rest = rest - product(factored(rest, layout), layout)
    assert np.abs(rest).max() < 0.01 * np.abs(left).max()


def test_small_deltas_are_carried_as_well() -> None:
    layout = (Matrix(32, 64, 2),)
    delta = near_low_rank(layout, 4, seed=3, noise=0.1) // 250  # some eight units of the grid
    assert (captured(delta, product(factored(delta, layout), layout)) > 0.5).all()
    zeros = np.zeros_like(delta)
    assert not factored(zeros, layout)[:, layout[0].rank :].any()


def test_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="88 values for 87"):
        factored(np.zeros(87, dtype=np.int32), layout_of(SHAPES, 1))


VALUES = st.one_of(st.sampled_from([1e9, -1e9, 2.0**10, -(2.0**10), 0.0]), st.floats(-2e3, 2e3))


@PROPERTY
@given(st.lists(hnp.arrays(np.float64, 88, elements=VALUES), min_size=1, max_size=6), st.data())
def test_no_release_drives_a_copy_off_the_grid(releases: list[FloatVector], data: Any) -> None:
    rules = Rules(compression="low-rank", rank=data.draw(st.integers(1, 2)), shapes=SHAPES)
    assert values_of(rules.layout) == 88
    copy = to_grid(np.zeros(88, dtype=np.float32), 20)
    for release in releases * 3:
        step = next_step(release.astype(np.float32), copy, rules)
        copy = step.copy
        assert np.abs(copy.astype(np.int64)).max() <= 1.5 * largest_parameter(20) * 2**20
