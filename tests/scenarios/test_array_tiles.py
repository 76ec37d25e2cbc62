"""Matrices in tiles, and what is measured on them: how they are cut up shows nowhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.gossip.alignment import alignment
from tidings.gossip.block_mixing import NOBODY
from tidings.gossip.grid import from_grid
from tidings.gossip.rules import Rules, TopologyRule
from tidings.gossip.topology import Topology
from tidings.scenarios.engines.array import measures
from tidings.scenarios.engines.array.arrays import Arrays
from tidings.scenarios.engines.array.graph import Graph
from tidings.scenarios.engines.array.tape import Lockstep
from tidings.scenarios.engines.array.tiles import (
    TILE_VALUES,
    WIDTH,
    Tiles,
    tiles_of,
    width_for,
)

NODES, PARAMETERS, NEIGHBOURS = 6, 70, 3


@given(nodes=st.integers(1, 20_000), columns=st.integers(1, 10**6))
def test_tiles_hold_all_columns_and_little_more(nodes: int, columns: int):
    width = width_for(nodes, columns)
    tiles = tiles_of(columns, width)
    assert width % WIDTH == 0
    assert width == WIDTH or nodes * width <= TILE_VALUES
    assert 0 <= tiles * width - columns < WIDTH * tiles


@given(
    width=st.integers(1, 12),
    columns=st.integers(1, 30),
    vectors=st.integers(1, 3),
    which=st.lists(st.integers(0, 6), min_size=1, max_size=7, unique=True),
)
def test_rows_come_out_as_they_went_in(width: int, columns: int, vectors: int, which: list[int]):
    memory = np.zeros((vectors * tiles_of(columns, width), 7, width), dtype=np.int32)
    tiles = Tiles(memory, columns, vectors)
    rows = np.array(which)
    values = np.arange(1, len(rows) * vectors * columns + 1, dtype=np.int32)
    values = values.reshape(len(rows), vectors, columns)
    tiles.put(rows, values)
    assert (tiles.whole_rows(rows) == values).all()
    assert (tiles.rows(rows) == values[:, 0]).all()
    assert memory.sum() == values.sum()  # nothing beside them
    by_tile = [tiles.columns_of(tile)[:, rows] for tile in range(tiles.count)]
    joined = np.concatenate(by_tile, axis=2)[:, :, :columns]
    assert (joined.swapaxes(0, 1) == values).all()


@pytest.mark.parametrize("together", [1, 2**20])
@given(seed=st.integers(0, 2**32))
def test_alignments_are_those_of_each_node_with_whom_it_hears(together: int, seed: int):
    rng = np.random.default_rng(seed)
    rules = Rules(topology=TopologyRule(kind="ring", nodes=NODES), optimiser="sgd")
    arrays = Arrays.begin(np.zeros(PARAMETERS, dtype=np.int32), rules)
    everyone = np.arange(NODES)
    models = rng.normal(size=(NODES, 1, PARAMETERS)).astype(np.float32)
    arrays.models.put(everyone, models)
    copies = rng.integers(-(2**20), 2**20, models.shape, dtype=np.int32)
    arrays.public.put(everyone, copies)
    wave = next(iter(Lockstep(Graph(Topology(rules.topology)), 1, round_s=1.0).waves()))
    sources = rng.integers(0, NODES, (NODES, NEIGHBOURS))
    sources[rng.random(sources.shape) < 0.4] = NOBODY
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "STEP_VALUES", together)
        found = measures.alignments(arrays, replace(wave, sources=sources), rules.grid_bits)
    public = from_grid(copies[:, 0], rules.grid_bits)
    for node, row in enumerate(sources):
        there = row != NOBODY
        alone = alignment(models[node, 0], public[node], public[row[there]])
        assert found[node, there].tolist() == alone.round(3).tolist()
        assert not found[node, ~there].any()
