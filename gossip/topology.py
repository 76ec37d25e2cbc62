"""Who hears whom in which round.

Node numbers are the indices in the members' certificates. A graph is a pure function of the
network's rules, so every member computes the same one: only the raw stream of PCG64 is used,
which NumPy keeps the same across releases and machines.

- ``exponential`` is the static exponential graph of Ying et al. 2021 ("Exponential Graph is
  Provably Efficient for Decentralized Deep Training"): node i hears i - 2^k (mod n) for every
  k < ceil(log2 n). It is directed and regular; spectral gap 2 / (1 + ceil(log2 n)) for even n.
- ``one-peer-exponential`` (the same paper) takes one k a round, in turn; for n a power of two
  the average of all nodes is reached exactly after log2 n rounds.
- ``random-regular`` is a connected simple graph by random pairing of stubs (Steger and Wormald
  1999).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from ..crypto.errors import ConfigError
from .rules import TopologyRule

Neighbours = tuple[int, ...]

_DIRECTED = ("exponential", "one-peer-exponential")


class Topology:
    """The graph of a network; nodes are 0..nodes-1, rounds count from any start >= 0.

    Raises ConfigError when no connected graph of the asked kind exists.
    """

    def __init__(self, rule: TopologyRule) -> None:
        self.kind = rule.kind
        self.nodes = rule.nodes
        self.is_directed = rule.kind in _DIRECTED
        self._hops = (rule.nodes - 1).bit_length()  # ceil(log2 n)
        one_peer = rule.kind == "one-peer-exponential"
        self.period = max(1, self._hops) if one_peer else 1
        self._table: tuple[Neighbours, ...] = ()
        if rule.kind == "edges":
            self._table = _table(rule.nodes, rule.edges)
        elif rule.kind == "random-regular":
            edges = _random_regular(rule.nodes, rule.degree, rule.seed)
            self._table = _table(rule.nodes, edges)

    @property
    def is_static(self) -> bool:
        """Whether every round has the same graph."""
        return self.period == 1

    @property
    def is_connected(self) -> bool:
        """Whether the news of every node reaches every other one in time."""
        undirected = [self.all_neighbours(i) for i in range(self.nodes)]
        # a regular directed graph that is connected is strongly connected
        return _is_connected(undirected)

    def in_neighbours(self, node: int, round: int) -> Neighbours:
        """The nodes that ``node`` hears in ``round``, in rising order."""
        if self.is_directed:
            return self._shifted(node, [-hop for hop in self._hops_of(round)])
        return self._undirected(node)

    def out_neighbours(self, node: int, round: int) -> Neighbours:
        """The nodes that hear ``node`` in ``round``, in rising order."""
        if self.is_directed:
            return self._shifted(node, self._hops_of(round))
        return self._undirected(node)

    def all_neighbours(self, node: int) -> Neighbours:
        """The nodes that ``node`` hears or is heard by in any round: whom to link with."""
        if self.is_directed:
            hops = [1 << k for k in range(self._hops)]
            return self._shifted(node, [*hops, *(-hop for hop in hops)])
        return self._undirected(node)

    def adjacency(self, round: int) -> NDArray[np.bool_]:
        """The matrix a (N, N) of ``round``: a[i, j] when i hears j."""
        a = np.zeros((self.nodes, self.nodes), dtype=bool)
        for node in range(self.nodes):
            a[node, list(self.in_neighbours(node, round))] = True
        return a

    def _hops_of(self, round: int) -> list[int]:
        if self.kind == "one-peer-exponential" and self._hops:
            return [1 << (round % self._hops)]
        return [1 << k for k in range(self._hops)]

    def _shifted(self, node: int, hops: Iterable[int]) -> Neighbours:
        self._check(node)
        return tuple(sorted({(node + hop) % self.nodes for hop in hops}))

    def _undirected(self, node: int) -> Neighbours:
        self._check(node)
        if self.kind == "ring":
            return tuple(sorted({(node - 1) % self.nodes, (node + 1) % self.nodes} - {node}))
        if self.kind == "complete":
            return (*range(node), *range(node + 1, self.nodes))
        return self._table[node] if self._table else ()

    def _check(self, node: int) -> None:
        if not 0 <= node < self.nodes:
            raise ValueError(f"node {node} is not one of 0..{self.nodes - 1}")


def spectral_gap(W: NDArray[np.float64]) -> float:
    """1 minus the second largest modulus of the eigenvalues of a stochastic W (N, N).

    The larger, the faster the nodes agree; 1 for one node, 0 for a graph in pieces.
    """
    if len(W) == 1:
        return 1.0
    symmetric = np.array_equal(W, W.T)
    eigenvalues = np.linalg.eigvalsh(W) if symmetric else np.linalg.eigvals(W)
    return float(1.0 - np.sort(np.abs(eigenvalues))[-2])


def _table(nodes: int, edges: Iterable[tuple[int, int]]) -> tuple[Neighbours, ...]:
    sets: list[set[int]] = [set() for _ in range(nodes)]
    for a, b in edges:
        sets[a].add(b)
        sets[b].add(a)
    return tuple(tuple(sorted(s)) for s in sets)


def _is_connected(table: list[Neighbours]) -> bool:
    seen = {0}
    border = [0]
    while border:
        for other in table[border.pop()]:
            if other not in seen:
                seen.add(other)
                border.append(other)
    return len(seen) == len(table)


def _random_regular(nodes: int, degree: int, seed: int) -> list[tuple[int, int]]:
    """The edges of a connected simple graph in which every node has ``degree`` neighbours."""
    if degree == 1 and nodes > 2:
        raise ConfigError(
            "a network of pairs cannot agree: its graph is not connected",
            where="topology.degree",
            fix="use a degree of 2 or more",
        )
    bits = np.random.PCG64(seed)
    if degree == 2:  # the connected ones are the cycles, and pairing seldom finds one
        cycle = _shuffled(list(range(nodes)), bits)
        return list(zip(cycle, [*cycle[1:], cycle[0]], strict=True))
    # Dense graphs are drawn as what they lack: pairing gets stuck the more often the denser.
    dense = 2 * degree > nodes - 1
    drawn = nodes - 1 - degree if dense else degree
    while True:
        edges = _pairing(nodes, drawn, bits)
        if edges is None:
            continue
        if dense:
            pairs = ((a, b) for a in range(nodes) for b in range(a + 1, nodes))
            return [pair for pair in pairs if pair not in edges]
        if _is_connected(list(_table(nodes, edges))):
            return sorted(edges)


def _pairing(nodes: int, degree: int, bits: np.random.PCG64) -> set[tuple[int, int]] | None:
    """Pair stubs at random, re-drawing those that would make a loop or a double edge.

    None when no such pair is left to draw.
    """
    edges: set[tuple[int, int]] = set()
    stubs = [node for node in range(nodes) for _ in range(degree)]
    while stubs:
        stubs = _shuffled(stubs, bits)
        left: list[int] = []
        for a, b in _in_twos(stubs):
            if a == b or (a, b) in edges:
                left += (a, b)
            else:
                edges.add((a, b))
        ends = sorted(set(left))
        if left and all((a, b) in edges for i, a in enumerate(ends) for b in ends[i + 1 :]):
            return None
        stubs = left
    return edges


def _in_twos(stubs: list[int]) -> Iterator[tuple[int, int]]:
    for a, b in zip(stubs[::2], stubs[1::2], strict=True):
        yield min(a, b), max(a, b)


def _shuffled(items: list[int], bits: np.random.PCG64) -> list[int]:
    # Generator.permutation may change between NumPy releases; the raw stream does not
    order = np.argsort(bits.random_raw(len(items)), kind="stable")
    return [items[i] for i in order]
