"""Relayed sums on trees, RelaySum and RelaySGD (Vogels et al. 2021, algorithm 1).

On a tree each node tells each neighbour the sum of its own model and of all that its other
neighbours told it last, with the number of models in it. So every model reaches every node, once,
as many rounds later as there are links between: the mean is uniform and slow news are only late,
never mixed away. Where a message is lost, the last one from there still counts. A message differs
from neighbour to neighbour.

Models have a row a node, N of them; messages a row a link, E, in the order of ``Links``. All
functions but ``mean`` work in place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..graphs.links import IntArray, Links, is_strongly_connected
from ..grid import FloatVector

Which = NDArray[np.integer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Relayed:
    """What was ``told`` over each link last, and what was ``heard``: sums of models (E, P), and how
    many there are in each (E,). ``back`` (E,) is for each link the number of the one back.
    """

    back: IntArray
    told: FloatVector
    told_counts: NDArray[np.int64]
    heard: FloatVector
    heard_counts: NDArray[np.int64]


def nothing_yet(links: Links, parameters: int) -> Relayed:
    """The messages before the first round. Raises ValueError when the graph is not a tree."""
    pairs = set(zip(links.senders.tolist(), links.receivers.tolist(), strict=True))
    mutual = all((b, a) in pairs for a, b in pairs)
    if not mutual or len(pairs) != 2 * (links.nodes - 1) or not is_strongly_connected(links):
        raise ValueError("sums are relayed on trees only: elsewhere a model would arrive twice")
    edges = len(links.senders)
    return Relayed(
        back=_reverse(links),
        told=np.zeros((edges, parameters), np.float32),
        told_counts=np.zeros(edges, np.int64),
        heard=np.zeros((edges, parameters), np.float32),
        heard_counts=np.zeros(edges, np.int64),
    )


def tell(state: Relayed, links: Links, nodes: Which, models: FloatVector) -> None:
    """Let some nodes (n,), with what they learnt (n, P), tell their neighbours."""
    known, counts, heard, owner = _known(state, links, nodes, models)
    back = state.back[heard]
    state.told[back] = known[owner] - state.heard[heard]
    state.told_counts[back] = counts[owner] - state.heard_counts[heard]


def hear(state: Relayed, links: Which) -> None:
    """Let what was told last arrive over some links."""
    state.heard[links] = state.told[links]
    state.heard_counts[links] = state.told_counts[links]


def mean(
    state: Relayed, links: Links, nodes: Which, models: FloatVector
) -> tuple[FloatVector, NDArray[np.int64]]:
    """The mean (n, P) of what some nodes learnt (n, P) and all that they heard; of how many models
    it is, (n,).
    """
    known, counts, _, _ = _known(state, links, nodes, models)
    known /= counts[:, None].astype(np.float32)
    return known, counts


def _known(
    state: Relayed, links: Links, nodes: Which, models: FloatVector
) -> tuple[FloatVector, NDArray[np.int64], IntArray, IntArray]:
    """The nodes' own models and all that they heard, summed up; the number of models in each sum;
    and over which links they hear, with whose of the nodes each is.
    """
    starts = links.starts
    many = starts[nodes + 1] - starts[nodes]
    owner = np.repeat(np.arange(len(nodes)), many)
    heard = np.repeat(starts[nodes] - np.cumsum(many) + many, many) + np.arange(len(owner))
    sums = models.copy()
    np.add.at(sums, owner, state.heard[heard])
    counts = np.ones(len(nodes), dtype=np.int64)
    np.add.at(counts, owner, state.heard_counts[heard])
    return sums, counts, heard, owner


def _reverse(links: Links) -> IntArray:
    """For each link, the number of the one that leads back."""
    forth = np.lexsort((links.senders, links.receivers))
    back = np.lexsort((links.receivers, links.senders))
    reverse = np.empty(len(forth), dtype=np.intp)
    reverse[back] = forth
    return reverse
