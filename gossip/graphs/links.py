"""Who hears whom in one round, for all nodes at once, as compressed sparse rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

IntArray = NDArray[np.intp]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Links:
    """Node i hears ``senders[starts[i]:starts[i + 1]]``, in rising order and never itself.

    ``weights`` (E,) are those of a graph that brings its own; None where the degrees decide
    (weights.py). ``is_symmetric``: whoever hears another is heard by it, with equal weight.
    The arrays are shared and cannot be written.
    """

    starts: IntArray
    senders: IntArray
    weights: FloatArray | None = None
    is_symmetric: bool = False

    def __post_init__(self) -> None:
        for array in (self.starts, self.senders, self.weights):
            if array is not None:
                array.setflags(write=False)

    @property
    def nodes(self) -> int:
        """N."""
        return len(self.starts) - 1

    @property
    def degrees(self) -> IntArray:
        """How many nodes each node hears, (N,)."""
        return np.diff(self.starts)

    @property
    def out_degrees(self) -> IntArray:
        """How many nodes hear each node, (N,)."""
        return np.bincount(self.senders, minlength=self.nodes)

    @property
    def receivers(self) -> IntArray:
        """The hearing end of each link, (E,)."""
        return np.repeat(np.arange(self.nodes), self.degrees)

    def heard(self, node: int) -> tuple[int, ...]:
        """The nodes that ``node`` hears, in rising order."""
        return tuple(self.senders[self.row(node)].tolist())

    def row(self, node: int) -> slice:
        """Where the links of ``node`` stand in ``senders`` and ``weights``."""
        return slice(int(self.starts[node]), int(self.starts[node + 1]))

    def reversed(self) -> Links:
        """The links with hearing and speaking ends exchanged."""
        if self.is_symmetric:
            return self
        return directed(self.nodes, self.senders, self.receivers, self.weights)


def directed(
    nodes: int, receivers: ArrayLike, senders: ArrayLike, weights: FloatArray | None = None
) -> Links:
    """The links receiver <- sender, given in any order.

    One given twice counts once; with weights none may be. Links to oneself are left out.
    """
    to = np.asarray(receivers, dtype=np.int64).ravel()
    by = np.asarray(senders, dtype=np.int64).ravel()
    if weights is None:
        pairs = _distinct((to * nodes + by)[to != by])
        to, by = pairs // nodes, pairs % nodes
        own = None
    else:
        order = np.lexsort((by, to))
        to, by, own = to[order], by[order], np.asarray(weights, dtype=np.float64)[order]
    starts = np.zeros(nodes + 1, dtype=np.intp)
    np.cumsum(np.bincount(to, minlength=nodes), out=starts[1:])
    return Links(starts=starts, senders=by.astype(np.intp), weights=own)


def undirected(nodes: int, edges: ArrayLike, weights: FloatArray | None = None) -> Links:
    """The links of ``edges`` (E, 2): the two ends of each hear each other, with its weight (E,)."""
    ends = np.asarray(edges, dtype=np.int64).reshape(-1, 2)
    twice = None if weights is None else np.concatenate([weights, weights])
    to, by = np.concatenate([ends, ends[:, ::-1]]).T
    return replace(directed(nodes, to, by, twice), is_symmetric=True)


def union(several: Sequence[Links]) -> Links:
    """Every link of some graphs, one at least, of the same nodes; without weights."""
    to = np.concatenate([links.receivers for links in several])
    by = np.concatenate([links.senders for links in several])
    symmetric = all(links.is_symmetric for links in several)
    return replace(directed(several[0].nodes, to, by), is_symmetric=symmetric)


def _distinct(numbers: IntArray) -> IntArray:
    # many times faster than np.unique, which hashes
    ordered = np.sort(numbers)
    return ordered[np.diff(ordered, prepend=-1) > 0]


def is_strongly_connected(links: Links) -> bool:
    """Whether the news of every node reaches every other one."""
    return _all_reach_node_0(links) and _all_reach_node_0(links.reversed())


def _all_reach_node_0(links: Links) -> bool:
    """Breadth first from node 0 to those it hears, to those they hear, and so on."""
    degrees = links.degrees
    seen = np.zeros(links.nodes, dtype=bool)
    border = np.zeros(1, dtype=np.intp)
    seen[border] = True
    while len(border):
        many = degrees[border]
        # the places of the rows of `border`, one after the other
        shift = np.repeat(links.starts[border] - np.cumsum(many) + many, many)
        heard = links.senders[shift + np.arange(len(shift))]
        border = _distinct(heard[~seen[heard]])
        seen[border] = True
    return bool(seen.all())
