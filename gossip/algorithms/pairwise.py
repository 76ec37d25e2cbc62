"""Asynchronous pairwise gossip: two nodes meet and both take the mean of their models.

Boyd, Ghosh, Prabhakar, Shah 2006; with training between the meetings it is AD-PSGD (Lian, Zhang,
Zhang, Liu 2018). Each meeting keeps the mean of all models, whatever the order and the pace of the
nodes. Meetings that share no node may happen at once, to the same bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..grid import FloatVector


def meet(models: FloatVector, pairs: NDArray[np.int64]) -> None:
    """Let ``pairs`` (B, 2) of nodes meet, in place on ``models`` (N, P).

    Raises ValueError when a node is in two pairs, or meets itself.
    """
    if len(np.unique(pairs)) != pairs.size:
        raise ValueError("a node meets one other at a time")
    mean = models[pairs[:, 0]] + models[pairs[:, 1]]
    mean *= np.float32(0.5)
    models[pairs[:, 0]] = mean
    models[pairs[:, 1]] = mean


def one_at_a_time(pairs: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Meetings (M, 2) in their order, as batches in which no node meets two others.

    A meeting is in the first batch behind those of the earlier meetings of its nodes: carried out
    batch by batch, they lead to the same bits as one after the other.
    """
    last: dict[int, int] = {}
    batch = np.empty(len(pairs), dtype=np.int64)
    for number, (a, b) in enumerate(pairs.tolist()):
        batch[number] = last[a] = last[b] = 1 + max(last.get(a, -1), last.get(b, -1))
    return [pairs[batch == level] for level in range(int(batch.max(initial=-1)) + 1)]
