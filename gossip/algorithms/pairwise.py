"""Asynchronous pairwise gossip: two nodes meet and both take the mean of their models.

Boyd, Ghosh, Prabhakar, Shah 2006; with training between the meetings it is AD-PSGD (Lian, Zhang,
Zhang, Liu 2018): whoever has trained meets a neighbour, which may be in the midst of its own
training and adds what comes of it later. Models lie on the integer grid, and a unit that does not
divide goes to one of the two: each meeting keeps the sum of all models, whatever the order and the
pace of the nodes. Meetings that share no node may happen at once, to the same bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..grid import GridVector


def meet(models: GridVector, pairs: NDArray[np.int64]) -> None:
    """Let ``pairs`` (B, 2) of nodes meet, in place on ``models`` int32 (N, P).

    Raises ValueError when a node is in two pairs, or meets itself.
    """
    if len(np.unique(pairs)) != pairs.size:
        raise ValueError("a node meets one other at a time")
    a, b = models[pairs[:, 0]], models[pairs[:, 1]]
    half = (a ^ b) >> 1  # what the two do not have in common; so no sum can overflow
    models[pairs[:, 0]] = (a & b) + half
    models[pairs[:, 1]] = (a | b) - half


def one_at_a_time(pairs: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """Meetings (M, 2) in their order, as batches of their numbers in which nobody meets two.

    A meeting is in the first batch behind those of the earlier meetings of its nodes: carried out
    batch by batch, they lead to the same bits as one after the other. A node that finds nobody is
    in a pair with itself.
    """
    last: dict[int, int] = {}
    batch = np.empty(len(pairs), dtype=np.int64)
    for number, (a, b) in enumerate(pairs.tolist()):
        batch[number] = last[a] = last[b] = 1 + max(last.get(a, -1), last.get(b, -1))
    order = np.argsort(batch, kind="stable")
    ends = np.flatnonzero(np.diff(batch[order])) + 1
    return np.split(order, ends) if len(order) else []
