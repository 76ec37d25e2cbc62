"""Which family makes the graph of a rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache, partial

import numpy as np

from ...crypto.errors import ConfigError
from ..topology_rule import DIRECTED, TopologyRule
from . import lattices
from .exponential import hops, shifted
from .finite_time import base_graph
from .links import Links, directed, undirected, union
from .random_regular import random_regular
from .random_rounds import epidemic, random_matching, sequence

_REMEMBERED_ROUNDS = 64  # of one graph: more than any but long random periods have


@dataclass(frozen=True, slots=True)
class Graph:
    """The links at each place of a period, 0..period-1; then they come again."""

    period: int
    is_directed: bool
    links: Callable[[int], Links]
    ever: Callable[[], Links]  # who hears whom at any place
    around: Callable[[], Links]  # the same in both directions


@lru_cache(maxsize=16)
def graph_of(rule: TopologyRule) -> Graph:
    """The graph of a rule; peers in one process share it.

    Raises ConfigError when there is no such graph, or it has still to be drawn.
    """
    period, links = _made(rule)
    remembered = lru_cache(maxsize=_REMEMBERED_ROUNDS)(links)
    ever = cache(lambda: _ever(period, links))
    around = cache(lambda: _both_ways(ever()))
    return Graph(
        period=period,
        is_directed=rule.kind in DIRECTED,
        links=remembered,
        ever=ever,
        around=around,
    )


def _ever(period: int, links: Callable[[int], Links]) -> Links:
    everything = links(0)
    for begin in range(1, period, _REMEMBERED_ROUNDS):
        if len(everything.senders) == everything.nodes * (everything.nodes - 1):
            break  # a long period need not be gone through to its end
        places = range(begin, min(begin + _REMEMBERED_ROUNDS, period))
        everything = union([everything, *map(links, places)])
    return everything


def _both_ways(links: Links) -> Links:
    return undirected(links.nodes, np.column_stack([links.receivers, links.senders]))


def _made(rule: TopologyRule) -> tuple[int, Callable[[int], Links]]:
    n, degree = rule.nodes, rule.chosen_degree
    if rule.is_drawn:
        raise ConfigError(
            "this graph has still to be drawn: peers must agree on it whatever libraries they have",
            where=f"topology kind '{rule.kind}'",
            fix="make the network with `tidings network create`, or give its edges",
        )
    match rule.kind:
        case "one-peer-exponential":
            steps = hops(n)
            return max(1, len(steps)), lambda place: shifted(n, steps[place : place + 1])
        case "base":
            rounds = base_graph(n, degree)
            return len(rounds), rounds.__getitem__
        case "random-matching":
            draw = partial(random_matching, n)
            return rule.chosen_period, sequence(n, rule.chosen_period, rule.seed, draw)
        case "epidemic":
            draw = partial(epidemic, n, degree)
            return rule.chosen_period, sequence(n, rule.chosen_period, rule.seed, draw)
    links = _static(rule)
    return 1, lambda _: links


def _static(rule: TopologyRule) -> Links:
    n = rule.nodes
    if rule.kind in _OF_NODES:
        return _OF_NODES[rule.kind](n)
    if rule.kind == "exponential":
        return shifted(n, hops(n))
    if rule.kind == "random-regular":
        return random_regular(n, rule.chosen_degree, rule.seed)
    if rule.kind == "directed-edges":
        senders, receivers = np.array(rule.edges, dtype=np.int64).reshape(-1, 2).T
        return directed(n, receivers, senders)
    return undirected(n, rule.edges)  # none, and those whose edges are given


_OF_NODES: dict[str, Callable[[int], Links]] = {
    "ring": lattices.ring,
    "torus": lattices.torus,
    "hypercube": lattices.hypercube,
    "star": lattices.star,
    "path": lattices.path,
    "binary-tree": lattices.binary_tree,
    "complete": lattices.complete,
    "two-cliques": lattices.two_cliques,
}
