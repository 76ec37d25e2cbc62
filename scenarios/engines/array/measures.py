"""What can be measured of all models at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ....gossip.alignment import alignment
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
    """How the steps of those whom the nodes of a wave hear agree with all others', (B, K).

    As a peer notes it (gossip/alignment.py), before it mixes; 0 where nobody is heard.
    """
    found = np.zeros(wave.sources.shape)
    before = arrays.models.rows(wave.mix)
    own = from_grid(arrays.public.rows(wave.mix), grid_bits)
    for i, sources in enumerate(wave.sources):
        heard = np.flatnonzero(sources >= 0)
        if len(heard):
            copies = from_grid(arrays.public.rows(sources[heard]), grid_bits)
            found[i, heard] = alignment(before[i], own[i], copies).round(3)
    return found
