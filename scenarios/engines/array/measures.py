"""What can be measured of all models at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ....gossip.alignment import alignment
from ....gossip.block_mixing import NOBODY
from ....gossip.grid import from_grid
from .arrays import Arrays
from .tape import Wave
from .tiles import Tiles


def consensus_distance(models: Tiles[np.float32]) -> float:
    """How far N models are from agreement: sqrt(mean_i |x_i - mean|^2), tile by tile."""
    total = 0.0
    for tile in models.memory:
        apart = tile - tile.mean(axis=0, dtype=np.float64).astype(np.float32)
        total += float(np.einsum("ij,ij->", apart, apart, dtype=np.float64))
    return float(np.sqrt(total / len(models)))


def alignments(arrays: Arrays, wave: Wave, grid_bits: int) -> NDArray[np.float64]:
    """What each node of a wave, before it mixes, notes of those whom it hears: (B, K), 3 places."""
    found = np.zeros(wave.sources.shape)
    before = arrays.models.rows(wave.mix)
    for i, node in enumerate(wave.mix):
        there = wave.sources[i] != NOBODY
        rows = np.concatenate([[node], wave.sources[i, there]])
        copies = from_grid(arrays.public.rows(rows), grid_bits)
        found[i, there] = alignment(before[i], copies[0], copies[1:]).round(3)
    return found
