"""Mixing by blocks of columns gives the bits of every peer mixing by itself."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tidings.gossip.block_mixing import NOBODY, Block, hearing, row_sums
from tidings.gossip.grid import from_grid
from tidings.gossip.mixing import plain_pull

BITS = 20


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 12),
    p=st.integers(1, 40),
    width=st.integers(1, 40),
    rows=st.integers(0, 12),
    alike=st.booleans(),
    reach=st.sampled_from([1.0, 2.0**10]),
)
def test_blocks_have_the_bits_of_the_single_step(
    seed: int, n: int, p: int, width: int, rows: int, alike: bool, reach: float
) -> None:
    draw = np.random.default_rng(seed)
    public = np.rint(draw.normal(size=(n, p)) * reach * 2**BITS).clip(-(2**30), 2**30)
    public = public.astype(np.int32)
    edges = draw.random((n, n)) < 0.5
    np.fill_diagonal(edges, False)
    mixing = min(rows, n)  # these are the first of all
    neighbours = [np.flatnonzero(edges[row]).tolist() for row in range(mixing)]
    weights = [
        [0.1] * len(row) if alike else draw.choice([0.1, 0.25], len(row)).tolist()
        for row in neighbours
    ]
    copies = from_grid(public, BITS)
    alone = [
        plain_pull(copies[i], copies[row], np.float32(w))
        for i, (row, w) in enumerate(zip(neighbours, weights, strict=True))
    ]

    most = max(map(len, neighbours), default=0)
    sources = np.full((mixing, most), NOBODY)
    w = np.zeros((mixing, most), dtype=np.float32)
    for i, row in enumerate(neighbours):
        sources[i, : len(row)], w[i, : len(row)] = row, weights[i]
    heard = hearing(sources, w, n)
    blocks = []
    for begin in range(0, p, width):
        columns = public[:, begin : begin + width]
        block = Block(n, mixing, columns.shape[1])
        block.fill(columns, BITS)
        blocks.append(block.pull(heard, row_sums(block.rows, heard)))

    together = np.hstack(blocks)
    assert together.tobytes() == np.float32(alone).reshape(mixing, p).tobytes()
