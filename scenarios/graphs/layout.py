"""Where the nodes of a graph stand in its picture."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...gossip.topology_rule import TopologyRule, torus_sides

MOST_ON_CIRCLE = 128

Places = NDArray[np.float64]  # (N, 2)


def places_of(rule: TopologyRule, graph: Any) -> Places:
    """A place for each node: what the kind of the graph looks like, a spring layout for others.

    ``graph`` is the networkx graph of all its links.
    """
    n = rule.nodes
    if rule.kind == "torus":
        rows, columns = np.divmod(np.arange(n), torus_sides(n)[1])
        return np.column_stack([columns, -rows]).astype(np.float64)
    if rule.kind == "star" and n > 1:
        return np.concatenate([np.zeros((1, 2)), _circle(n - 1)])
    if rule.kind == "hypercube":
        return _hypercube(n)
    if rule.kind == "two-cliques":
        half = (n + 1) // 2
        # turned so that the ends of the bridge face each other
        left = _circle(half, begin=math.pi / 2 + 2 * math.pi / half)
        right = _circle(n - half, begin=-math.pi / 2) + np.array([3.0, 0.0])
        return np.concatenate([left, right])
    if n <= MOST_ON_CIRCLE:
        return _circle(n)
    import networkx as nx

    spring = nx.spring_layout(graph, seed=0)
    return np.array([spring[node] for node in range(n)])


def _circle(n: int, begin: float = 0.0) -> Places:
    # node 0 on top, then clockwise: rings and exponential graphs look like what they are
    turn = begin + 2 * math.pi * np.arange(n) / max(n, 1)
    return np.column_stack([np.sin(turn), np.cos(turn)])


def _hypercube(n: int) -> Places:
    """Each binary digit moves a node in a direction of its own."""
    digits = max(1, (n - 1).bit_length())
    bits = (np.arange(n)[:, None] >> np.arange(digits)) & 1
    turn = math.pi * np.arange(digits) / digits
    # not all as far, or nodes of an odd number of digits would hide each other
    length = 1.0 + 0.6 * np.arange(digits) / digits
    moved: Places = bits @ (np.column_stack([np.cos(turn), np.sin(turn)]) * length[:, None])
    return moved
