"""Push-sum on directed and lossy graphs, with its mass conserved to the last unit.

Where nodes hear others than those who hear them, no weights that each node finds by itself keep the
mean. In push-sum (Kempe, Dobra, Gehrke 2003) each node splits its value and a weight evenly among
itself and those who hear it; value over weight tends to the mean. Lost messages would lose mass for
ever; so each node sends the *sum of all that it ever sent*, and whoever gets a later one makes up
for those that were lost (Hadjicostis, Vaidya, Dominguez-Garcia 2016). Here both live on the integer
grid: shares are whole units, sums wrap around modulo 2^32, and what is under way can be told
exactly, as long as it is below 2^31 units.

With training this is stochastic gradient push (Assran et al. 2019): steps are taken at value over
weight, and what was learnt is added to the value.

Arrays have a row a node, N of them, or a row a link, E, of a graph that stays the same. The last of
P + 1 columns is the weight. All functions work in place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..graphs.links import FloatArray, Links
from ..grid import FloatVector, GridVector

WEIGHT = 2**24  # grid units of the weight that each node begins with

Sums = NDArray[np.uint32]
Which = NDArray[np.integer]


@dataclass(frozen=True, slots=True, kw_only=True)
class PushSum:
    """What nodes and links hold: ``mass`` (N, P+1), the running sums ``sent`` (N + S, P+1) that
    each node has given to each of its hearers, and ``got`` (E, P+1), the last of them that arrived.

    S spare rows are for older sums that are still on their way.
    """

    mass: Sums
    sent: Sums
    got: Sums


def begin(copies: GridVector, links: Links, spare: int = 0) -> PushSum:
    """All nodes at their values ``copies`` int32 (N, P), of weight one; nothing is under way."""
    weight = np.full((len(copies), 1), WEIGHT, dtype=np.int32)
    mass = np.concatenate([copies, weight], axis=1).view(np.uint32)
    sent = np.zeros((len(mass) + spare, mass.shape[1]), dtype=np.uint32)
    got = np.zeros((len(links.senders), mass.shape[1]), dtype=np.uint32)
    return PushSum(mass=mass, sent=sent, got=got)


def learn(state: PushSum, nodes: Which, change: GridVector) -> None:
    """Add what training changed, int32 (n, P), to the values of some nodes (n,)."""
    state.mass[nodes, :-1] += change.view(np.uint32)


def push(state: PushSum, nodes: Which, hearers: Which) -> GridVector:
    """Let ``nodes`` (n,), heard by so many each (n,), give their shares, int32 (n, P+1)."""
    hearers = hearers.astype(np.int64)[:, None]
    # rounded down: what does not divide stays with the node
    share = (state.mass[nodes].view(np.int32) // (hearers + 1)).astype(np.int32)
    state.mass[nodes] -= (share * hearers).astype(np.uint32)
    state.sent[nodes] += share.view(np.uint32)
    return share


def take(state: PushSum, nodes: Which, links: Which, rows: Which) -> None:
    """Let ``nodes`` (n,), all different, get over their ``links`` (n,) the sums ``rows`` (n,)."""
    fresh = state.sent[rows]
    state.mass[nodes] += fresh - state.got[links]
    state.got[links] = fresh


def models(state: PushSum, nodes: Which, grid_bits: int) -> FloatVector:
    """Value over weight of some nodes, float32 (n, P)."""
    held = state.mass[nodes].view(np.int32).astype(np.float64)
    weight = np.maximum(held[:, -1:], 1.0) / WEIGHT
    estimate: FloatVector = (held[:, :-1] / weight * 2.0**-grid_bits).astype(np.float32)
    return estimate


def total(state: PushSum, links: Links) -> Sums:
    """All mass, held or under way, modulo 2^32: (P+1,). Only ``learn`` changes it."""
    under_way = state.sent[links.senders] - state.got
    sums: Sums = state.mass.sum(axis=0, dtype=np.uint32) + under_way.sum(axis=0, dtype=np.uint32)
    return sums


def shares(links: Links) -> FloatArray:
    """Which part of its mass each link's sender gives over it, (E,)."""
    hearers = links.out_degrees[links.senders].astype(np.float64)
    return np.reciprocal(1.0 + hearers)
