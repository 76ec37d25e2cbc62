"""Factors multiply out to the same integers as Python's, whatever the layout."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gossip.factor_kit import layouts, random_factors
from tidings.gossip.factors import (
    LEVELS,
    MOST_RANK,
    MOST_SHIFT,
    Layout,
    Matrix,
    layout_of,
    numbers_of,
    product,
    values_of,
)
from tidings.gossip.grid import GridOverflow

PROPERTY = settings(derandomize=True, deadline=None, max_examples=100)


def plain_product(numbers: list[int], layout: Layout) -> list[int]:
    """The product in Python's integers, coordinate by coordinate."""
    v: list[int] = []
    at = 0
    for rows, columns, rank in layout:
        s = numbers[at : at + rank]
        u = numbers[at + rank : at + rank * (1 + rows)]
        w = numbers[at + rank * (1 + rows) : at + rank * (1 + rows + columns)]
        v += [
            sum(u[r * rows + i] * w[r * columns + j] << s[r] for r in range(rank))
            for i in range(rows)
            for j in range(columns)
        ]
        at += rank * (1 + rows + columns)
    return v


@PROPERTY
@given(layouts(), st.integers(0, 2**32), st.integers(0, 20))
def test_the_product_is_exact(layout: Layout, seed: int, shift: int) -> None:
    numbers = random_factors(layout, seed, shift, rows=3)
    v = product(numbers, layout)
    assert v.dtype == np.int32
    assert v.tolist() == [plain_product(row, layout) for row in numbers.tolist()]


@pytest.mark.parametrize("matrix", [Matrix(3, 9000, 3), Matrix(9000, 3, 2), Matrix(200, 200, 9)])
def test_the_product_of_several_tiles_is_exact(matrix: Matrix) -> None:
    numbers = random_factors((matrix,), 1, 20)
    assert product(numbers, (matrix,)).tolist() == plain_product(numbers.tolist(), (matrix,))


def test_the_largest_sums_are_exact() -> None:
    # all ranks but one cancel, and the last one is of the smallest step
    layout = (Matrix(65, 65, MOST_RANK),)
    numbers = np.full(numbers_of(layout), LEVELS, dtype=np.int32)
    numbers[:MOST_RANK] = MOST_SHIFT
    left = numbers[MOST_RANK:].reshape(2, MOST_RANK, 65)[0]
    left[1::2] = -LEVELS
    numbers[0], numbers[1] = 0, 1
    assert (product(numbers, layout) == LEVELS * LEVELS - 2 * LEVELS * LEVELS).all()


@PROPERTY
@given(st.integers(0, MOST_SHIFT), st.integers(-LEVELS, LEVELS), st.integers(-LEVELS, LEVELS))
def test_what_does_not_fit_is_refused(shift: int, u: int, v: int) -> None:
    layout = (Matrix(1, 1, 1),)
    numbers = np.array([shift, u, v], dtype=np.int32)
    if -(2**31) <= u * v << shift < 2**31:
        assert product(numbers, layout).tolist() == [u * v << shift]
    else:
        with pytest.raises(GridOverflow):
            product(numbers, layout)


@PROPERTY
@given(
    st.lists(st.lists(st.integers(0, 40), max_size=4).map(tuple), max_size=8).map(tuple),
    st.integers(1, MOST_RANK),
)
def test_a_layout_covers_the_model_with_no_more_numbers(
    shapes: tuple[tuple[int, ...], ...], rank: int
) -> None:
    layout = layout_of(shapes, rank)
    assert values_of(layout) == sum(math.prod(shape) for shape in shapes)
    for one in layout:
        assert one.rank <= min(one.rows, one.columns)
        if one.columns > 1:
            assert one.rank == rank
            assert 2 * rank * (one.rows + one.columns) <= one.values
    columns = [one.columns == 1 for one in layout]
    assert not any(a and b for a, b in pairwise(columns))


def test_a_layout_of_a_network() -> None:
    shapes = ((32, 64), (32,), (10, 32), (10,))
    assert layout_of(shapes, 2) == ((32, 64, 2), (32, 1, 1), (10, 32, 2), (10, 1, 1))
    assert layout_of(shapes, 4) == ((32, 64, 4), (362, 1, 1))
    assert layout_of(((16, 8, 3, 3), (16,)), 2) == ((16, 72, 2), (16, 1, 1))
