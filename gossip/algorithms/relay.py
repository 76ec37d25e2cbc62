"""Relayed sums on trees, RelaySum and RelaySGD (Vogels et al. 2021, algorithm 1).

On a tree each node tells each neighbour the sum of its own model and of all that its other
neighbours told it a round ago, with the number of models in it. So every model reaches every node,
once, as many rounds later as there are links between: the mean is uniform and slow news are only
late, never mixed away. A message differs from neighbour to neighbour.

Models have a row a node, (N, P); messages a row a link, (E, P), in the order of ``Links``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..graphs.links import Links, is_strongly_connected
from ..grid import FloatVector


class Relayed(NamedTuple):
    """What arrived over each link: a sum of models (E, P), and how many there are in it (E,)."""

    sums: FloatVector
    counts: NDArray[np.int64]


def nothing_yet(links: Links, parameters: int) -> Relayed:
    """The messages before the first round. Raises ValueError when the graph is not a tree."""
    pairs = set(zip(links.senders.tolist(), links.receivers.tolist(), strict=True))
    mutual = all((b, a) in pairs for a, b in pairs)
    if not mutual or len(pairs) != 2 * (links.nodes - 1) or not is_strongly_connected(links):
        raise ValueError("sums are relayed on trees only: elsewhere a model would arrive twice")
    edges = len(links.senders)
    return Relayed(np.zeros((edges, parameters), np.float32), np.zeros(edges, np.int64))


def relay(models: FloatVector, heard: Relayed, links: Links) -> tuple[FloatVector, Relayed]:
    """The next models and messages, from what nodes learnt (N, P) and what they heard last.

    A node takes the mean of all models in what arrives now and of its own.
    """
    back = _reverse(links)
    known, counts = _gathered(models, heard, links)
    told = Relayed(
        known[links.senders] - heard.sums[back], counts[links.senders] - heard.counts[back]
    )
    known, counts = _gathered(models, told, links)
    known /= counts[:, None].astype(np.float32)
    return known, told


def _gathered(
    models: FloatVector, heard: Relayed, links: Links
) -> tuple[FloatVector, NDArray[np.int64]]:
    """Each node's own model and all that it heard, summed up, and the number of models in it."""
    sums = models.copy()
    np.add.at(sums, links.receivers, heard.sums)
    counts = np.ones(len(models), dtype=np.int64)
    np.add.at(counts, links.receivers, heard.counts)
    return sums, counts


def _reverse(links: Links) -> NDArray[np.intp]:
    """For each link, the number of the one that leads back."""
    forth = np.lexsort((links.senders, links.receivers))
    back = np.lexsort((links.receivers, links.senders))
    reverse = np.empty(len(forth), dtype=np.intp)
    reverse[back] = forth
    return reverse
