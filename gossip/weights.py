"""How much a node trusts each neighbour's model: the mixing matrix W and its rows.

Both weightings come from one picture. Node i holds n_i samples (1 for uniform weights) and
sends them round: over the edge i <- j flows f_ij, and w_ij = f_ij / n_i. When every node gets
as much as it gives, n is a stationary distribution of W, so mixing preserves the average
weighted by n; with n = 1 everywhere, W is doubly stochastic.

- Undirected graph: f_ij = f_ji = min(n_i / (1 + d_i), n_j / (1 + d_j)), the rule of Metropolis
  and Hastings; 1 / (1 + max(d_i, d_j)) when n = 1 (Xiao, Boyd, Kim 2007).
- Directed graph in which every node hears as many as hear it: the same f on every edge, the
  smallest n_i / (1 + d_i) of all nodes. Very uneven counts mix slowly there.

d_i is the number of nodes that i hears. The weight that remains is the node's own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..crypto.errors import ConfigError
from .topology import Topology

Node = TypeVar("Node")
Samples = Mapping[int, int] | Sequence[int]


def metropolis_hastings(
    adjacency: NDArray[np.bool_], samples: ArrayLike | None = None
) -> NDArray[np.float64]:
    """W (N, N) of a graph; ``adjacency[i, j]`` when i hears j, ``samples`` (N,) positive counts.

    Rows sum to 1. Raises ValueError for samples that are not positive and for a directed graph
    in which some node hears more or fewer nodes than hear it.
    """
    links = np.array(adjacency, dtype=bool)
    np.fill_diagonal(links, False)
    n = np.ones(len(links)) if samples is None else np.asarray(samples, dtype=np.float64)
    if n.shape != (len(links),) or not (n > 0).all():
        raise ValueError(f"samples must be {len(links)} positive counts")
    share = n / (1 + links.sum(axis=1))
    if np.array_equal(links, links.T):
        flow = np.minimum(share[:, None], share[None, :])
    elif np.array_equal(links.sum(axis=0), links.sum(axis=1)):
        flow = np.full(links.shape, share.min())
    else:
        raise ValueError("in a directed graph every node must hear as many nodes as hear it")
    W: NDArray[np.float64] = np.where(links, flow, 0.0) / n[:, None]
    np.fill_diagonal(W, 1.0 - W.sum(axis=1))
    return W


def row_weights(
    topology: Topology, node: int, round: int, samples: Samples | None = None
) -> dict[int, float]:
    """The weights of those whom ``node`` hears in ``round``, in rising order; the rest is its own.

    The same numbers as the row of ``metropolis_hastings`` without building the matrix.
    ``samples`` holds the positive counts of the node and its neighbours, in an undirected graph.
    Raises ConfigError for samples in a directed one: there a weight depends on all counts.
    """
    if topology.is_directed and samples is not None:
        raise ConfigError(
            "weighting by samples needs neighbours that hear each other",
            where=f"topology kind '{topology.kind}'",
            fix="use weighting = 'uniform' or an undirected topology",
        )
    # a directed graph is regular, so every share is the smallest
    own = _share(topology, node, round, samples)
    count = 1.0 if samples is None else float(samples[node])
    neighbours = topology.in_neighbours(node, round)
    return {j: min(own, _share(topology, j, round, samples)) / count for j in neighbours}


def drop_missing(weights: Mapping[Node, float], heard: Collection[Node]) -> dict[Node, float]:
    """The weights of the neighbours that were heard; what the others had returns to oneself.

    That is how it adds up by itself: a node's own weight is what the others' leave of 1.
    """
    return {node: weight for node, weight in weights.items() if node in heard}


def _share(topology: Topology, node: int, round: int, samples: Samples | None) -> float:
    """n_i / (1 + d_i) of the node i: the most that it can send over each of its edges."""
    count = 1 if samples is None else samples[node]
    if count <= 0:
        raise ValueError(f"node {node} has {count} samples; a weight needs a positive count")
    return count / (1 + len(topology.in_neighbours(node, round)))
