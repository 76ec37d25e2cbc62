"""Who hears whom in which round and with what weight, as arrays over all nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ....gossip.block_mixing import NOBODY, Sources
from ....gossip.graphs.links import Links
from ....gossip.topology import Topology
from ....gossip.weights import link_weights

Weights = NDArray[np.float64]
Weigh = Callable[[Links], Weights]
KEPT_ROUNDS = 32  # graphs that are kept, of those that change from round to round


class Graph:
    """A topology and its mixing weights; ``samples`` are the nodes' counts, None: all weigh alike.

    ``weigh`` tells the weights of a round's links (E,), where they are not those of mixing. Raises
    ConfigError for samples in a directed graph.
    """

    def __init__(
        self, topology: Topology, samples: Sequence[int] | None = None, weigh: Weigh | None = None
    ) -> None:
        self.topology = topology
        self.nodes = topology.nodes
        counts = None if samples is None else [max(1, count) for count in samples]
        self._weigh = weigh or (lambda links: link_weights(links, counts))
        self._row = lru_cache(maxsize=KEPT_ROUNDS)(self._made)
        self._followed = lru_cache(maxsize=1)(self._all_followed)
        self._heard_by = lru_cache(maxsize=KEPT_ROUNDS)(self._heard_by_made)

    def neighbours(self, round: int) -> Sources:
        """Whom each node hears in ``round``: (N, K), in rising order, then NOBODY."""
        return self._row(self._in_period(round))[0]

    def weights(self, round: int) -> Weights:
        """How much each neighbour counts in ``round``: float64 (N, K), 0 where there is none."""
        return self._row(self._in_period(round))[1]

    def followed(self, nodes: NDArray[np.int64]) -> Sources:
        """Whom some ``nodes`` (n,) hear in any round: (n, K), in rising order, then NOBODY."""
        return self._followed()[nodes]

    def _all_followed(self) -> Sources:
        links = self.ever()
        degrees = np.bincount(links // self.nodes, minlength=self.nodes)
        there = np.arange(int(degrees.max(initial=0))) < degrees[:, None]
        followed = np.full(there.shape, NOBODY, dtype=np.int64)
        followed[there] = links % self.nodes
        return followed

    def ever(self) -> NDArray[np.int64]:
        """All links of all rounds, as i * N + j where i hears j; in rising order."""
        rounds = [self.neighbours(round) for round in range(1, self.topology.period + 1)]
        me = np.arange(self.nodes)[:, None] * self.nodes
        keys = [(me + sources)[sources != NOBODY] for sources in rounds]
        return np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *keys]))

    def hearers(
        self, nodes: NDArray[np.int64], rounds: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """By how many ``nodes`` (n,) are heard, each in its round, (n,); and who these are."""
        distinct = np.unique(rounds).tolist()
        tables = {r: self._heard_by(self._in_period(r)) for r in distinct}
        counts = np.zeros(len(nodes), dtype=np.int64)
        for r, (first, _) in tables.items():
            here = nodes[rounds == r]
            counts[rounds == r] = first[here + 1] - first[here]
        begins = np.cumsum(counts) - counts
        found = np.empty(int(counts.sum()), dtype=np.int64)
        for r, (first, hearers) in tables.items():
            here = np.flatnonzero(rounds == r)
            each = counts[here]
            inside = np.arange(int(each.sum())) - np.repeat(np.cumsum(each) - each, each)
            found[np.repeat(begins[here], each) + inside] = hearers[
                np.repeat(first[nodes[here]], each) + inside
            ]
        return counts, found

    def _heard_by_made(self, round: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Who hears each node: those of node i are at first[i] to first[i + 1] of the second."""
        links = self.topology.links(round)
        counts = np.bincount(links.senders, minlength=self.nodes)
        first = np.concatenate([[0], np.cumsum(counts)])
        return first, links.receivers[np.argsort(links.senders, kind="stable")]

    def _in_period(self, round: int) -> int:
        """The first round that has the graph of this one."""
        return (round - 1) % self.topology.period + 1

    def at(self, nodes: NDArray[np.int64], rounds: NDArray[np.int64]) -> tuple[Sources, Weights]:
        """Neighbours and weights (M, K) of some ``nodes`` (M,), each in a round of its own."""
        distinct = np.unique(rounds)
        tables = [(self.neighbours(int(r)), self.weights(int(r))) for r in distinct]
        width = max((sources.shape[1] for sources, _ in tables), default=0)
        found = np.full((len(nodes), width), NOBODY, dtype=np.int64)
        weights = np.zeros((len(nodes), width))
        for r, (sources, table) in zip(distinct, tables, strict=True):
            here = np.flatnonzero(rounds == r)
            found[here, : sources.shape[1]] = sources[nodes[here]]
            weights[here, : sources.shape[1]] = table[nodes[here]]
        return found, weights

    def _made(self, round: int) -> tuple[Sources, Weights]:
        links = self.topology.links(round)
        there = np.arange(int(links.degrees.max(initial=0))) < links.degrees[:, None]
        sources = np.full(there.shape, NOBODY, dtype=np.int64)
        weights = np.zeros(there.shape)
        sources[there] = links.senders
        weights[there] = self._weigh(links)
        return sources, weights
