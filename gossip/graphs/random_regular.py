"""Random regular graphs, by random pairing of stubs (Steger and Wormald 1999)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...crypto.errors import ConfigError
from .links import Links, is_strongly_connected, undirected


def random_regular(nodes: int, degree: int, seed: int) -> Links:
    """A connected simple graph in which every node has ``degree`` neighbours.

    Raises ConfigError where there is none.
    """
    if degree == 1 and nodes > 2:
        raise ConfigError(
            "a network of pairs cannot agree: its graph is not connected",
            where="topology.degree",
            fix="use a degree of 2 or more, or kind 'random-matching'",
        )
    bits = np.random.PCG64(seed)
    if degree == 2:  # the connected ones are the cycles, and pairing seldom finds one
        cycle = _shuffled(list(range(nodes)), bits)
        return undirected(nodes, list(zip(cycle, [*cycle[1:], cycle[0]], strict=True)))
    # Dense graphs are drawn as what they lack: pairing gets stuck the more often the denser.
    dense = 2 * degree > nodes - 1
    drawn = nodes - 1 - degree if dense else degree
    while True:
        edges = _pairing(nodes, drawn, bits)
        if edges is None:
            continue
        if dense:
            pairs = ((a, b) for a in range(nodes) for b in range(a + 1, nodes))
            return undirected(nodes, [pair for pair in pairs if pair not in edges])
        links = undirected(nodes, sorted(edges))
        if is_strongly_connected(links):
            return links


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
