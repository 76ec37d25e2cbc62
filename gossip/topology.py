"""Who hears whom in which round.

Node numbers are the indices in the members' certificates. A graph is a pure function of the
network's rules, so every member computes the same one; graphs/ has the families. A graph that
changes goes through its period again and again, and round 1 begins it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .graphs.families import graph_of
from .graphs.links import Links, is_strongly_connected
from .topology_rule import TopologyRule

Neighbours = tuple[int, ...]


class Topology:
    """The graph of a network; nodes are 0..nodes-1, rounds count from any start >= 0.

    Raises ConfigError when no connected graph of the asked kind exists.
    """

    def __init__(self, rule: TopologyRule) -> None:
        self.kind = rule.kind
        self.nodes = rule.nodes
        self._graph = graph_of(rule)
        self.period = self._graph.period
        self.is_directed = self._graph.is_directed

    @property
    def is_static(self) -> bool:
        """Whether every round has the same graph."""
        return self.period == 1

    @property
    def is_connected(self) -> bool:
        """Whether the news of every node reaches every other one in time."""
        return is_strongly_connected(self._graph.ever())

    @property
    def links_max(self) -> int:
        """With how many others a node has to link at most, for all rounds."""
        return int(self.all_links().degrees.max())

    @property
    def lead(self) -> int:
        """By how many rounds a neighbour that was not met lately may rightly be ahead.

        Whoever waits holds up those who hear it, and so on to everybody: within a period, and
        where a random period is longer, within a few times log2 of the nodes.
        """
        return min(self.period, 4 * max(1, (self.nodes - 1).bit_length()))

    def links(self, round: int) -> Links:
        """Who hears whom in ``round``, of all nodes."""
        return self._graph.links((round - 1) % self.period)

    def in_neighbours(self, node: int, round: int) -> Neighbours:
        """The nodes that ``node`` hears in ``round``, in rising order."""
        return self.links(round).heard(self._checked(node))

    def out_neighbours(self, node: int, round: int) -> Neighbours:
        """The nodes that hear ``node`` in ``round``, in rising order."""
        links = self.links(round)
        if not self.is_directed:
            return links.heard(self._checked(node))
        return tuple(links.receivers[links.senders == self._checked(node)].tolist())

    def all_neighbours(self, node: int) -> Neighbours:
        """The nodes that ``node`` hears or is heard by in any round: whom to link with."""
        return self.all_links().heard(self._checked(node))

    def ever_heard(self, node: int) -> Neighbours:
        """The nodes that ``node`` hears in any round: whose feeds it follows."""
        return self._graph.ever().heard(self._checked(node))

    def all_links(self) -> Links:
        """Who hears or is heard by whom in any round, of all nodes."""
        return self._graph.around()

    def adjacency(self, round: int) -> NDArray[np.bool_]:
        """The matrix a (N, N) of ``round``: a[i, j] when i hears j."""
        links = self.links(round)
        a = np.zeros((self.nodes, self.nodes), dtype=bool)
        a[links.receivers, links.senders] = True
        return a

    def _checked(self, node: int) -> int:
        if not 0 <= node < self.nodes:
            raise ValueError(f"node {node} is not one of 0..{self.nodes - 1}")
        return node
