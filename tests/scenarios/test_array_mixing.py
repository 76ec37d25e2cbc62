"""Mixing all nodes at once: sums by torch have the bits of NumPy, distances those of each pair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.gossip.block_mixing import NOBODY, Block, hearing, row_sums
from tidings.gossip.grid import from_grid
from tidings.gossip.robust import distance
from tidings.scenarios.engines.array import distances
from tidings.scenarios.engines.array.row_sums import fast_row_sums
from tidings.scenarios.engines.array.tiles import Tiles, tiles_of

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


@pytest.mark.parametrize("held", [1, 100, 2**20])
@given(seed=st.integers(0, 2**32), vectors=st.integers(1, 2), columns=st.integers(1, 40))
def test_distances_are_those_of_each_pair(held: int, seed: int, vectors: int, columns: int):
    rng = np.random.default_rng(seed)
    rows, width = 7, 16
    shape = (vectors * tiles_of(columns, width), rows, width)
    public = Tiles(np.zeros(shape, dtype=np.int32), columns, vectors)
    units = rng.integers(-(2**30), 2**30, (rows, vectors, columns), dtype=np.int32)
    public.put(np.arange(rows), units)
    nodes = rng.permutation(rows)[: rng.integers(rows + 1)]
    sources = rng.integers(0, rows, (len(nodes), 3))
    sources[rng.random(sources.shape) < 0.3] = NOBODY
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distances, "HELD_VALUES", held)
        patch.setattr(distances, "STEP_VALUES", held)
        apart = distances.distances(public, nodes, sources, BITS)
        lengths = distances.lengths(public, nodes, BITS)
    copies = from_grid(units, BITS)
    assert apart.shape == (len(nodes), vectors, 3)
    for i, node in enumerate(nodes):
        assert lengths[i].tolist() == distance(copies[node], np.float32(0)).tolist()
        for k, source in enumerate(sources[i]):
            alone = distance(copies[node], copies[source])
            expected = np.zeros(vectors) if source == NOBODY else alone
            assert apart[i, :, k].tolist() == expected.tolist()
