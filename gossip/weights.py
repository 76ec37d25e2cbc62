"""How much a node trusts each neighbour's model: the mixing matrix W and its rows.

All weightings come from one picture. Node i holds n_i samples (1 for uniform weights) and
sends them round: over the edge i <- j flows f_ij, and w_ij = f_ij / n_i. When every node gets
as much as it gives, n is a stationary distribution of W, so mixing preserves the average
weighted by n; with n = 1 everywhere, W is doubly stochastic.

- Undirected graph: f_ij = f_ji = min(n_i / (1 + d_i), n_j / (1 + d_j)), the rule of Metropolis
  and Hastings; 1 / (1 + max(d_i, d_j)) when n = 1 (Xiao, Boyd, Kim 2007).
- Graph with weights of its own (Base-(k+1)): f_ij = w_ij min(n_i, n_j). With unequal counts the
  average is reached in the limit, no longer after one sequence.
- Directed graph in which every node hears as many as hear it: the same f on every edge, the
  smallest n_i / (1 + d_i) of all nodes. More is not to be had: round a directed cycle the same
  flows everywhere, hence no more than the smallest count allows. So very uneven counts mix slowly
  there, and a weight depends on counts that a peer does not know. ``link_weights`` can tell it,
  peers cannot, and the rules of a network refuse it.
- Epidemic graph: every node averages what it was told with its own. Rows sum to 1, columns do not,
  so the average moves a little each round; there is no weighting by samples.

d_i is the number of nodes that i hears. The weight that remains is the node's own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..crypto.errors import ConfigError
from .graphs.links import FloatArray, IntArray, Links, directed
from .topology import Topology

Node = TypeVar("Node")
Samples = Mapping[int, int] | Sequence[int]


def link_weights(links: Links, samples: ArrayLike | None = None) -> FloatArray:
    """w_ij of every link i <- j, (E,) in the order of ``links.senders``.

    ``samples`` (N,) are positive counts. Raises ValueError for others, and for a graph that cannot
    be weighted, or not by samples: see above.
    """
    n = np.ones(links.nodes) if samples is None else np.asarray(samples, dtype=np.float64)
    if n.shape != (links.nodes,) or not (n > 0).all():
        raise ValueError(f"samples must be {links.nodes} positive counts")
    if links.weights is not None and samples is None:
        return links.weights
    to, by, degrees = links.receivers, links.senders, links.degrees
    if links.is_symmetric:
        return _symmetric(links.weights, n[to], n[by], degrees[to], degrees[by])
    if links.weights is None and np.array_equal(degrees, links.out_degrees):
        share: FloatArray = n / (1 + degrees)
        weights: FloatArray = share.min() / n[to]
        return weights
    raise ValueError("in a directed graph every node must hear as many nodes as hear it")


def _symmetric(
    own: FloatArray | None,
    n_i: FloatArray | float,
    n_j: FloatArray,
    d_i: IntArray | int,
    d_j: IntArray,
) -> FloatArray:
    """w_ij of some links of an undirected graph from the counts and degrees of their ends."""
    flow = (
        np.minimum(n_i / (1 + d_i), n_j / (1 + d_j)) if own is None else own * np.minimum(n_i, n_j)
    )
    weights: FloatArray = flow / n_i
    return weights


def mixing_matrix(links: Links, samples: ArrayLike | None = None) -> FloatArray:
    """W (N, N) of a round's links; its rows sum to 1. Raises ValueError as ``link_weights``."""
    W = np.zeros((links.nodes, links.nodes))
    W[links.receivers, links.senders] = link_weights(links, samples)
    np.fill_diagonal(W, 1.0 - W.sum(axis=1))
    return W


def metropolis_hastings(
    adjacency: NDArray[np.bool_], samples: ArrayLike | None = None
) -> FloatArray:
    """W (N, N) of a graph given as a matrix: ``adjacency[i, j]`` when i hears j.

    Raises ValueError as ``link_weights`` does.
    """
    hearing, heard = np.nonzero(adjacency)
    links = directed(len(adjacency), hearing, heard)
    symmetric = np.array_equal(adjacency, np.transpose(adjacency))
    return mixing_matrix(replace(links, is_symmetric=symmetric), samples)


def row_weights(
    topology: Topology, node: int, round: int, samples: Samples | None = None
) -> dict[int, float]:
    """The weights of those whom ``node`` hears in ``round``, in rising order; the rest is its own.

    The same numbers as the row of ``mixing_matrix`` without computing the others.
    ``samples`` holds the positive counts of the node and its neighbours, in an undirected graph.
    Raises ConfigError for samples in a directed one: there a weight depends on all counts.
    """
    if topology.is_directed and samples is not None:
        raise ConfigError(
            "weighting by samples needs neighbours that hear each other: round a directed cycle "
            "flows what the smallest count of all allows, and no peer knows that one",
            where=f"topology kind '{topology.kind}'",
            fix="use weighting = 'uniform' or an undirected topology",
        )
    links = topology.links(round)
    row = links.row(node)
    heard = links.senders[row]
    if samples is None and links.weights is not None:
        weights = links.weights[row]
    else:
        # a directed graph without weights of its own is regular, so both ends say the same
        own = None if links.weights is None else links.weights[row]
        n = _counts([node, *heard.tolist()], samples)
        d_j = links.starts[heard + 1] - links.starts[heard]
        weights = _symmetric(own, float(n[0]), n[1:], len(heard), d_j)
    return dict(zip(heard.tolist(), weights.tolist(), strict=True))


def drop_missing(weights: Mapping[Node, float], heard: Collection[Node]) -> dict[Node, float]:
    """The weights of the neighbours that were heard; what the others had returns to oneself.

    That is how it adds up by itself: a node's own weight is what the others' leave of 1.
    """
    return {node: weight for node, weight in weights.items() if node in heard}


def _counts(nodes: Sequence[int], samples: Samples | None) -> FloatArray:
    """n of some nodes. Raises ValueError for one that is not positive."""
    if samples is None:
        return np.ones(len(nodes))
    for node in nodes:
        if samples[node] <= 0:
            raise ValueError(
                f"node {node} has {samples[node]} samples; a weight needs a positive count"
            )
    return np.array([samples[node] for node in nodes], dtype=np.float64)
