"""Layouts and factors to try things with."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tidings.gossip.factors import LEVELS, Layout, Matrix, factors_of, numbers_of
from tidings.gossip.grid import GridVector


@st.composite
def matrices(draw: st.DrawFn) -> Matrix:
    """Any matrix that a payload may name, small."""
    rows, columns = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    return Matrix(rows, columns, draw(st.integers(1, min(rows, columns))))


def layouts() -> st.SearchStrategy[Layout]:
    """A few such matrices."""
    return st.lists(matrices(), min_size=1, max_size=5).map(tuple)


def random_factors(layout: Layout, seed: int, shift: int, rows: int | None = None) -> GridVector:
    """Levels of all sizes with exponents up to ``shift``: (F,), or (rows, F)."""
    rng = np.random.Generator(np.random.PCG64(seed))
    shape = (numbers_of(layout),) if rows is None else (rows, numbers_of(layout))
    numbers = rng.integers(-LEVELS, LEVELS + 1, shape).astype(np.int32)
    for factors in factors_of(numbers, layout):
        factors.exponents[...] = rng.integers(0, shift + 1, factors.exponents.shape)
    return numbers
