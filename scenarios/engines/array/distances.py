"""How far apart public copies are, for the robust rules that go by it.

Most nodes hear those who hear them, and a distance is the same from both ends: it is taken once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ....gossip.block_mixing import NOBODY, Sources
from ....gossip.grid import FloatVector, from_grid
from ....gossip.robust import distance
from .rounds import STEP_VALUES, pieces
from .tape import Nodes
from .tiles import Tiles

HELD_VALUES = 2**21  # parameters of the copies that are held at a time


def distances(
    public: Tiles[np.int32], nodes: Nodes, sources: Sources, grid_bits: int
) -> NDArray[np.float64]:
    """How far the copies in the rows ``sources`` (B, K) are from those in ``nodes`` (B,), in each
    of the V vectors of a release: (B, V, K), 0 where nobody is.
    """
    there = sources != NOBODY
    ends = np.stack([np.broadcast_to(nodes[:, None], sources.shape)[there], sources[there]])
    keys = ends.min(axis=0) * len(public) + ends.max(axis=0)
    pairs, pair_of = np.unique(keys, return_inverse=True)
    found = np.zeros((*sources.shape, public.vectors))
    found[there] = _between(public, *np.divmod(pairs, len(public)), grid_bits)[pair_of]
    return found.swapaxes(1, 2)


def lengths(public: Tiles[np.int32], nodes: Nodes, grid_bits: int) -> NDArray[np.float64]:
    """The lengths (n, V) of the copies in the rows ``nodes`` (n,)."""
    found = np.empty((len(nodes), public.vectors))
    for some in pieces(slice(0, len(nodes)), _rows_of(public, STEP_VALUES)):
        copies = from_grid(public.whole_rows(nodes[some]), grid_bits)
        found[some] = distance(copies, np.float32(0))
    return found


def _between(
    public: Tiles[np.int32], ones: Nodes, others: Nodes, grid_bits: int
) -> NDArray[np.float64]:
    """The distances (n, V) of the copies in the rows ``ones`` (n,) from those in ``others``."""
    found = np.empty((len(ones), public.vectors))
    held = _rows_of(public, HELD_VALUES)
    all_fit = len(np.union1d(ones, others)) <= held
    together = len(ones) if all_fit else held // 2  # pairs, of two rows each
    for some in pieces(slice(0, len(ones)), max(1, together)):
        rows, places = np.unique([ones[some], others[some]], return_inverse=True)
        copies = from_grid(public.whole_rows(rows), grid_bits)
        found[some] = _within(copies, *places.reshape(2, -1))
    return found


def _within(copies: FloatVector, ones: Nodes, others: Nodes) -> NDArray[np.float64]:
    """The distances (n, V) of the rows ``ones`` (n,) of ``copies`` (R, V, P) from ``others``."""
    found = np.empty((len(ones), copies.shape[1]))
    for some in pieces(slice(0, len(ones)), max(1, STEP_VALUES // copies[0].size)):
        found[some] = distance(copies[ones[some]], copies[others[some]])
    return found


def _rows_of(public: Tiles[np.int32], values: int) -> int:
    """How many rows come to about so many values."""
    return max(1, values // (public.vectors * public.columns))
