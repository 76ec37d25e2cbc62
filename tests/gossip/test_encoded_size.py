"""Sizes that are worked out for many vectors are those of the codes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tidings.gossip.encoded_size import encoded_sizes
from tidings.gossip.integers import encode
from tidings.gossip.rice import BLOCK


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(0, 5),
    columns=st.one_of(st.integers(0, 70), st.sampled_from([BLOCK, BLOCK + 9])),
    spread=st.floats(0, 31),
    density=st.sampled_from([0.0, 0.001, 0.05, 0.4, 0.6, 1.0]),
    shift=st.integers(0, 12),
)
def test_sizes_are_those_of_the_codes(
    seed: int, rows: int, columns: int, spread: float, density: float, shift: int
) -> None:
    draw = np.random.default_rng(seed)
    values = draw.normal(size=(rows, columns)) * 2.0**spread * 4 ** draw.normal(size=(rows, 1))
    values *= draw.random((rows, columns)) < density
    v = (np.rint(values).clip(-(2**31) >> shift, (2**31 - 1) >> shift)).astype(np.int32) << shift
    assert encoded_sizes(v).tolist() == [len(encode(row)) for row in v]


@given(st.integers(0, 2**32 - 1), st.integers(1, 400), st.integers(0, 30), st.booleans())
def test_signs_have_a_size(seed: int, columns: int, shift: int, whole: bool) -> None:
    draw = np.random.default_rng(seed)
    v = draw.choice([-1, 1], size=(3, columns)).astype(np.int32) << shift
    if not whole:
        v[1, 0] = 0
    assert encoded_sizes(v).tolist() == [len(encode(row)) for row in v]


def test_the_smallest_value_has_a_size() -> None:
    v = np.array([[-(2**31), 0, 0], [-(2**31), 2**31 - 1, 1]], dtype=np.int32)
    assert encoded_sizes(v).tolist() == [len(encode(row)) for row in v]
