from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tidings.gossip import grid

INT32 = st.integers(-(2**31), 2**31 - 1)
VECTORS = hnp.arrays(np.int32, st.integers(0, 40), elements=INT32)
PAIRS = st.integers(0, 40).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.int32, n, elements=INT32), hnp.arrays(np.int32, n, elements=INT32)
    )
)


@settings(derandomize=True, deadline=None)
@given(
    hnp.arrays(np.float32, 20, elements=st.floats(-(2.0**10), 2.0**10, width=32)),
    st.integers(8, 20),
)
def test_rounding_moves_a_value_by_at_most_half_a_unit(x: np.ndarray, bits: int) -> None:
    back = grid.to_grid(x, bits).astype(np.float64) / 2**bits
    assert np.abs(back - x).max() <= 0.5 / 2**bits


@settings(derandomize=True, deadline=None)
@given(hnp.arrays(np.int32, 20, elements=st.integers(-(2**24), 2**24)), st.integers(8, 28))
def test_grid_points_survive_the_way_to_float_and_back(p: np.ndarray, bits: int) -> None:
    assert np.array_equal(grid.to_grid(grid.from_grid(p, bits), bits), p)


def test_halves_round_to_even_and_ends_saturate() -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5], dtype=np.float32) / 2**20
    assert grid.to_grid(x, 20).tolist() == [0, 2, 2, 0, -2]
    far = np.array([1e6, -1e6, 3e38], dtype=np.float32)
    assert grid.to_grid(far, 20).tolist() == [2**31 - 1, -(2**31), 2**31 - 1]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_no_number_has_no_place(bad: float) -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        grid.to_grid(np.array([0.0, bad], dtype=np.float32), 20)


@settings(derandomize=True, deadline=None)
@given(PAIRS)
def test_addition_is_exact_or_refused(pair: tuple[np.ndarray, np.ndarray]) -> None:
    p, q = pair
    exact = p.astype(object) + q.astype(object)
    if all(grid.SMALLEST <= v <= grid.LARGEST for v in exact):
        assert grid.add(p, q).tolist() == exact.tolist()
        assert grid.add(p, q).dtype == np.int32
        assert grid.add(p, q, out=q) is q
        assert q.tolist() == exact.tolist()
    else:
        with pytest.raises(grid.GridOverflow):
            grid.add(p, q)


@pytest.mark.parametrize("place", [0, 2**14 - 1, 2**14, 40_000])
@pytest.mark.parametrize("row", [0, 1])
def test_an_overflow_is_noticed_wherever_it_is(place: int, row: int) -> None:
    p = np.zeros((2, 40_001), dtype=np.int32)
    q = np.ones_like(p)
    assert (grid.add(p, q) == 1).all()
    p[row, place] = grid.LARGEST
    with pytest.raises(grid.GridOverflow):
        grid.add(p, q)


@settings(derandomize=True, deadline=None)
@given(PAIRS)
def test_a_difference_leads_back_and_never_past_its_end(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    start, to = pair
    delta = grid.difference(to, start)
    reached = grid.add(start, delta)
    exact = to.astype(object) - start.astype(object)
    fits = np.array([grid.SMALLEST <= v <= grid.LARGEST for v in exact], dtype=bool)
    assert np.array_equal(reached[fits], to[fits])
    assert ((np.minimum(start, to) <= reached) & (reached <= np.maximum(start, to))).all()


def test_free_leading_axes() -> None:
    rng = np.random.Generator(np.random.PCG64(1))
    x = rng.normal(size=(3, 2, 5)).astype(np.float32)
    p = grid.to_grid(x, 20)
    assert np.array_equal(p[2, 1], grid.to_grid(x[2, 1], 20))
    assert np.array_equal(grid.from_grid(p, 20)[0], grid.from_grid(p[0], 20))


@settings(derandomize=True, deadline=None)
@given(VECTORS)
def test_the_hash_is_of_the_values_not_of_the_memory_layout(p: np.ndarray) -> None:
    strided = np.repeat(p, 2)[::2]
    assert grid.state_hash(strided) == grid.state_hash(p)
    assert grid.state_hash(p.astype(">i4")) == grid.state_hash(p)
    assert len(grid.state_hash(p)) == 32
    if p.size:
        other = p.copy()
        other[-1] ^= 1
        assert grid.state_hash(other) != grid.state_hash(p)


def test_the_hash_is_pinned() -> None:
    # every machine and every release must name the same copy alike
    p = np.array([0, 1, -1, 2**31 - 1, -(2**31)], dtype=np.int32)
    assert (
        grid.state_hash(p).hex()
        == "5e08cf68cc94a2e3443fb0060c241ed1d63b07c2072d243e445d42d7e16aeddc"
    )
