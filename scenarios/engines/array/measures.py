"""What can be measured of all models at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ....gossip.alignment import alignment
from ....gossip.block_mixing import NOBODY
from ....gossip.grid import from_grid
from .arrays import Arrays
from .rounds import STEP_VALUES, pieces
from .tape import Wave
from .tiles import Tiles

FINE = np.float32(2.0**21)  # to sum models up in whole numbers


def consensus_distance(models: Tiles[np.float32]) -> float:
    """How far N models are from agreement: sqrt(mean_i |x_i - mean|^2), tile by tile."""
    return distance_of(squares(models, mean_of(column_sums(models), len(models))))


def column_sums(models: Tiles[np.float32]) -> NDArray[np.float64]:
    """The sums (T, W) of the columns, in units of 1 / FINE.

    They are whole numbers that float64 holds exactly while N |x| < 2^32. So those of some rows and
    those of the others add up to the same bits, wherever the cut is.
    """
    sums = [np.rint(tile * FINE).sum(axis=0, dtype=np.float64) for tile in models.memory]
    return np.array(sums)


def mean_of(sums: NDArray[np.float64], rows: int) -> NDArray[np.float32]:
    """The mean (T, W) of so many models, from their ``column_sums``."""
    mean: NDArray[np.float32] = (sums / rows / FINE).astype(np.float32)
    return mean


def squares(models: Tiles[np.float32], mean: NDArray[np.float32]) -> NDArray[np.float64]:
    """The squared distance (N,) of each model from ``mean`` (T, W)."""
    total = np.zeros(len(models))
    for tile, middle in zip(models.memory, mean, strict=True):
        apart = (tile - middle).astype(np.float64)
        apart *= apart
        total += apart.sum(axis=1)
    return total


def distance_of(squares: NDArray[np.float64]) -> float:
    """The consensus distance, from the ``squares`` (N,) of all nodes in their order."""
    return float(np.sqrt(squares.mean()))


def alignments(arrays: Arrays, wave: Wave, grid_bits: int) -> NDArray[np.float64]:
    """What each node of a wave, before it mixes, notes of those whom it hears: (B, K), 3 places."""
    found = np.zeros(wave.sources.shape)
    heard = wave.sources != NOBODY
    counts = heard.sum(axis=1)
    for count in np.unique(counts[counts > 0]).tolist():
        alike = np.flatnonzero(counts == count)
        together = max(1, STEP_VALUES // (arrays.models.columns * (count + 1)))
        for rows in pieces(slice(0, len(alike)), together):
            some = alike[rows]
            nodes = wave.mix[some]
            sources = wave.sources[some][heard[some]].reshape(-1, count)
            wanted = np.concatenate([nodes[:, None], sources], axis=1)
            copies = from_grid(arrays.public.rows(wanted.reshape(-1)), grid_bits)
            copies = copies.reshape(*wanted.shape, -1)
            cosines = alignment(arrays.models.rows(nodes), copies[:, 0], copies[:, 1:])
            places = np.nonzero(heard[some])
            found[some[places[0]], places[1]] = cosines.round(3).reshape(-1)
    return found
