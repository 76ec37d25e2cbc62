"""Mixing by blocks of columns gives the bits of every peer mixing by itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.gossip.block_mixing import mix_in_place, padded_neighbours
from tidings.gossip.mixing import mix


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 12),
    p=st.integers(1, 40),
    block_bytes=st.integers(1, 3000),
    restart=st.booleans(),
)
def test_blocks_have_the_bits_of_the_single_step(
    seed: int, n: int, p: int, block_bytes: int, restart: bool
) -> None:
    draw = np.random.default_rng(seed)
    edges = draw.random((n, n)) < 0.5
    np.fill_diagonal(edges, False)
    neighbours = [np.flatnonzero(row).tolist() for row in edges]
    weights = [draw.random(len(row)).tolist() for row in neighbours]
    copies = draw.normal(size=(n, p)).astype(np.float32)
    copies[draw.random((n, p)) < 0.2] = -0.0
    gamma = draw.random(n)
    base = copies if restart else draw.normal(size=(n, p)).astype(np.float32)
    alone = np.stack(
        [mix(base[i], copies[i], copies[neighbours[i]], weights[i], gamma[i]) for i in range(n)]
    )

    mix_in_place(base, copies, *padded_neighbours(neighbours, weights), gamma, block_bytes)

    assert base.tobytes() == alone.tobytes()


def test_weights_must_fit_the_neighbours() -> None:
    with pytest.raises(ValueError, match="peer 0"):
        padded_neighbours([[1], [0]], [[0.5, 0.5], [0.5]])
