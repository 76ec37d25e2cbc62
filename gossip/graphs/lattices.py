"""Static undirected graphs that a formula gives: from trees to two cliques with a bridge."""

from __future__ import annotations

import numpy as np

from ..topology_rule import torus_sides
from .links import Links, undirected


def ring(nodes: int) -> Links:
    """Each node hears the one before and the one after it."""
    i = np.arange(nodes)
    return undirected(nodes, np.column_stack([i, (i + 1) % nodes]))


def torus(nodes: int) -> Links:
    """A grid that is closed in both directions, as square as the number of nodes allows."""
    grid = np.arange(nodes).reshape(torus_sides(nodes))
    right, down = np.roll(grid, -1, axis=1), np.roll(grid, -1, axis=0)
    pairs = [np.column_stack([grid.ravel(), other.ravel()]) for other in (right, down)]
    return undirected(nodes, np.concatenate(pairs))


def hypercube(nodes: int) -> Links:
    """Neighbours differ in one binary digit; ``nodes`` is a power of two."""
    i = np.arange(nodes)
    bits = range((nodes - 1).bit_length())
    pairs = [np.column_stack([i, i ^ (1 << bit)]) for bit in bits]
    return undirected(nodes, np.concatenate([np.zeros((0, 2), dtype=np.intp), *pairs]))


def star(nodes: int) -> Links:
    """Node 0 hears everybody, everybody hears node 0 alone."""
    others = np.arange(1, nodes)
    return undirected(nodes, np.column_stack([np.zeros_like(others), others]))


def path(nodes: int) -> Links:
    """A ring that is open at one place."""
    i = np.arange(1, nodes)
    return undirected(nodes, np.column_stack([i - 1, i]))


def binary_tree(nodes: int) -> Links:
    """Node i hears its parent (i - 1) // 2 and its children 2 i + 1 and 2 i + 2."""
    i = np.arange(1, nodes)
    return undirected(nodes, np.column_stack([(i - 1) // 2, i]))


def complete(nodes: int) -> Links:
    """Everybody hears everybody."""
    return undirected(nodes, _pairs(0, nodes))


def two_cliques(nodes: int) -> Links:
    """Two halves in which everybody hears everybody, and one edge between them."""
    half = (nodes + 1) // 2
    bridge = np.array([[half - 1, half]]) if nodes > 1 else np.zeros((0, 2), dtype=np.intp)
    return undirected(nodes, np.concatenate([_pairs(0, half), _pairs(half, nodes), bridge]))


def _pairs(begin: int, end: int) -> np.ndarray[tuple[int, int], np.dtype[np.intp]]:
    """All pairs of the nodes begin..end-1, (E, 2)."""
    return begin + np.column_stack(np.triu_indices(max(0, end - begin), k=1))
