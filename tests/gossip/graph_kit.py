"""Graphs of every kind, for the tests of graphs, weights and consensus."""

from __future__ import annotations

from hypothesis import strategies as st

from tidings.gossip.topology import Topology
from tidings.gossip.topology_rule import DIRECTED, TopologyRule

ANY_NUMBER = ("none", "ring", "star", "complete", "two-cliques", "exponential")
CHANGING = ("one-peer-exponential", "base", "random-matching", "epidemic")


def made(kind: str, nodes: int, **more: object) -> Topology:
    return Topology(TopologyRule.model_validate({"kind": kind, "nodes": nodes, **more}))


@st.composite
def topologies(
    draw: st.DrawFn, *, most: int = 33, directed: bool = True, pieces: bool = True
) -> Topology:
    """A graph of any kind; ``directed`` ones and ones in ``pieces`` only if asked for."""
    kinds = {*ANY_NUMBER, *CHANGING, "torus", "hypercube", "random-regular", "edges"}
    kinds -= set() if directed else DIRECTED
    kind = draw(st.sampled_from(sorted(kinds - (set() if pieces else {"none", "edges"}))))
    seed = draw(st.integers(0, 2**40))
    if kind == "hypercube":
        return made(kind, 2 ** draw(st.integers(0, most.bit_length() - 1)))
    if kind == "torus":
        side = st.integers(2, max(2, int(most**0.5)))
        return made(kind, draw(side) * draw(side))
    nodes = draw(st.integers(1, most))
    if kind == "random-regular":
        nodes = max(nodes, 4)
        degree = draw(st.integers(2, nodes - 1).filter(lambda d: d * nodes % 2 == 0))
        return made(kind, nodes, degree=degree, seed=seed)
    if kind == "epidemic":
        nodes = max(nodes, 2)
        return made(kind, nodes, degree=draw(st.integers(1, nodes - 1)), seed=seed)
    if kind == "base":
        return made(kind, nodes, degree=draw(st.integers(1, 6)))
    if kind == "edges" and nodes > 1:
        pair = st.tuples(st.integers(0, nodes - 1), st.integers(0, nodes - 1))
        edges = draw(st.lists(pair.filter(lambda e: e[0] != e[1]), min_size=1, max_size=40))
        return made(kind, nodes, edges=edges)
    return made(kind, nodes, seed=seed)
