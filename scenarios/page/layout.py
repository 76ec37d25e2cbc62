"""Where the peers of a network stand in a picture: so that pieces and clusters can be seen."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ON_A_CIRCLE = 48  # up to so many peers, a circle by number shows every link
STEPS = 60


def places(nodes: int, edges: Sequence[tuple[int, int]]) -> list[list[float]]:
    """A place (x, y) in [-1, 1] for each node, the same for the same graph.

    A small network stands on a circle. In a larger one nodes attract those that they are linked
    with, from a start by the two slowest modes of the graph (Hall 1970), which keeps clusters
    together; then they give each other room.
    """
    if nodes <= ON_A_CIRCLE or not edges:
        return [_rounded(point) for point in _circle(nodes)]
    spread = _relaxed(_modes(nodes, edges), np.array(edges))
    return [_rounded(point) for point in spread.tolist()]


def _circle(nodes: int) -> list[list[float]]:
    turns = [2 * math.pi * i / max(nodes, 1) for i in range(nodes)]
    return [[math.sin(turn), -math.cos(turn)] for turn in turns]


def _rounded(point: Sequence[float]) -> list[float]:
    return [round(point[0], 4), round(point[1], 4)]


def _modes(nodes: int, edges: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    a, b = np.array(edges).T
    adjacency = np.zeros((nodes, nodes))
    adjacency[a, b] = adjacency[b, a] = 1.0
    degree = adjacency.sum(axis=1)
    scale = 1 / np.sqrt(np.maximum(degree, 1))
    _, vectors = np.linalg.eigh(np.diag((degree > 0) * 1.0) - scale[:, None] * adjacency * scale)
    two = vectors[:, 1:3] * scale[:, None]
    # the sign of an eigenvector is chance: the largest entry is made positive
    two *= np.sign(two[np.abs(two).argmax(axis=0), range(2)])
    ranks = two.argsort(axis=0).argsort(axis=0)  # even shares of the room, whatever the tails
    grid: NDArray[np.float64] = ranks * (2 / max(nodes - 1, 1)) - 1
    start: NDArray[np.float64] = 0.5 * grid + 0.5 * two / np.abs(two).max()
    return start


def _relaxed(start: NDArray[np.float64], edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """A few steps of Fruchterman and Reingold (1991)."""
    at = start.copy()
    room = 1.6 / math.sqrt(len(at))
    a, b = edges.T
    for step in range(STEPS):
        apart = at[:, None, :] - at[None, :, :]
        square = np.maximum((apart**2).sum(axis=2), 1e-6)
        force = (apart * (room**2 / square)[:, :, None]).sum(axis=1)
        along = at[a] - at[b]
        pull = along * (np.sqrt((along**2).sum(axis=1)) / room)[:, None]
        np.add.at(force, a, -pull)
        np.add.at(force, b, pull)
        force -= 0.3 * at
        length = np.maximum(np.sqrt((force**2).sum(axis=1)), 1e-9)
        limit = 0.15 * (1 - step / STEPS)
        at += force * (np.minimum(length, limit) / length)[:, None]
    at -= (at.max(axis=0) + at.min(axis=0)) / 2
    scaled: NDArray[np.float64] = at / max(np.abs(at).max(), 1e-9)
    return scaled
