"""Push-sum on directed and lossy graphs, with its mass conserved to the last unit.

Where nodes hear others than those who hear them, no weights that each node finds by itself keep the
mean. In push-sum (Kempe, Dobra, Gehrke 2003) each node splits its value and a weight evenly among
itself and those who hear it; value over weight tends to the mean. Lost messages would lose mass for
ever; so each node sends the *sum of all that it ever sent*, and whoever gets a later one makes up
for those that were lost (Hadjicostis, Vaidya, Dominguez-Garcia 2016). Here both live on the integer
grid: shares are whole units, sums wrap around modulo 2^32, and what is under way can be told
exactly, as long as it is below 2^31 units.

With training this is stochastic gradient push (Assran et al. 2019): steps are taken at value over
weight, and what was learnt is added to the value (``learnt``).

Vectors have a row a node, N of them, or a row a link, E. The last of P + 1 columns is the weight.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..graphs.links import Links
from ..grid import FloatVector, GridVector

WEIGHT = 2**24  # grid units of the weight that each node begins with

Sums = NDArray[np.uint32]


@dataclass(frozen=True, slots=True, kw_only=True)
class PushSum:
    """What nodes and links hold: ``mass`` (N, P+1), the running sums ``sent`` (N, P+1) that each
    node has given to each of its hearers, and ``got`` (E, P+1), the last of them that arrived.
    """

    mass: Sums
    sent: Sums
    got: Sums


def begin(copies: GridVector, links: Links) -> PushSum:
    """All nodes at their values ``copies`` int32 (N, P), of weight one; nothing is under way."""
    weight = np.full((len(copies), 1), WEIGHT, dtype=np.int32)
    mass = np.concatenate([copies, weight], axis=1).view(np.uint32)
    nothing = np.zeros_like(mass)
    return PushSum(mass=mass, sent=nothing, got=nothing[links.senders])


def push(state: PushSum, links: Links, arrived: NDArray[np.bool_]) -> PushSum:
    """One round on a graph that stays the same; ``arrived`` (E,) tells which messages did."""
    hearers = links.out_degrees.astype(np.int64)[:, None]
    # rounded down: what does not divide stays with the node
    share = state.mass.view(np.int32) // (hearers + 1)
    mass = state.mass - (share * hearers).astype(np.uint32)
    sent = state.sent + share.astype(np.uint32)
    there = np.flatnonzero(arrived)
    fresh = sent[links.senders[there]]
    np.add.at(mass, links.receivers[there], fresh - state.got[there])
    got = state.got.copy()
    got[there] = fresh
    return PushSum(mass=mass, sent=sent, got=got)


def learnt(state: PushSum, change: GridVector) -> PushSum:
    """Add what training changed, int32 (N, P), to the values."""
    mass = state.mass.copy()
    mass[:, :-1] += change.view(np.uint32)
    return replace(state, mass=mass)


def models(state: PushSum, grid_bits: int) -> FloatVector:
    """Value over weight, float32 (N, P)."""
    held = state.mass.view(np.int32).astype(np.float64)
    weight = np.maximum(held[:, -1:], 1.0) / WEIGHT
    estimate: FloatVector = (held[:, :-1] / weight * 2.0**-grid_bits).astype(np.float32)
    return estimate


def total(state: PushSum, links: Links) -> Sums:
    """All mass, held or under way, modulo 2^32: (P+1,). No round changes it."""
    under_way = state.sent[links.senders] - state.got
    sums: Sums = state.mass.sum(axis=0, dtype=np.uint32) + under_way.sum(axis=0, dtype=np.uint32)
    return sums
