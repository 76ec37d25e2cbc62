"""What can be measured of all models at once."""

from __future__ import annotations

import numpy as np

from .tiles import Tiles


def consensus_distance(models: Tiles[np.float32]) -> float:
    """How far N models are from agreement: sqrt(mean_i |x_i - mean|^2), tile by tile."""
    total = 0.0
    for tile in models.memory:
        apart = tile - tile.mean(axis=0, dtype=np.float64).astype(np.float32)
        total += float(np.einsum("ij,ij->", apart, apart, dtype=np.float64))
    return float(np.sqrt(total / len(models)))
