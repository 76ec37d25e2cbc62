"""Mixing all nodes at once by torch gives the bits of NumPy, also where sums are rounded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.gossip.block_mixing import NOBODY, Block, hearing, row_sums
from tidings.scenarios.engines.array.row_sums import fast_row_sums

pytest.importorskip("torch")
BITS = 20


@given(
    seed=st.integers(0, 2**32),
    nodes=st.integers(1, 12),
    most=st.integers(0, 11),
    width=st.sampled_from([1, 7, 64, 192]),
    units=st.sampled_from([2**20, 2**30]),
)
def test_torch_adds_rows_up_to_the_bits_of_numpy(
    seed: int, nodes: int, most: int, width: int, units: int
):
    rng = np.random.default_rng(seed)
    sources = rng.integers(0, nodes, (nodes, most))
    sources[rng.random(sources.shape) < 0.3] = NOBODY
    heard = hearing(sources, np.full(sources.shape, 0.1, dtype=np.float32), nodes)
    block = Block(nodes, nodes, width)
    block.fill(rng.integers(-units, units, (nodes, width), dtype=np.int32), BITS)
    sums = row_sums(block.rows, heard)()
    assert fast_row_sums(block.rows, heard)().tobytes() == sums.tobytes()
    assert block.rows.ctypes.data % 64 == 0
