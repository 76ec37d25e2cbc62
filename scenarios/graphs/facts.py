"""What can be said of a graph: degrees, links, and how fast its nodes agree."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...crypto.errors import ConfigError
from ...gossip.consensus import (
    MOST_DENSE,
    Consensus,
    consensus_of,
    consensus_of_gap,
    disagreement,
    keeps_average,
    products,
)
from ...gossip.graphs.links import Links
from ...gossip.topology import Topology
from ...gossip.topology_rule import TopologyRule
from ...gossip.weights import link_weights
from .naming import name_of

_LOOKED_AT = 64  # rounds of a long period, for the degrees


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphFacts:
    """A graph in figures.

    ``degree_max`` and ``degree_mean``: how many nodes a node hears in a round; ``links_max``: with
    how many others a peer has to link, for all rounds.
    """

    name: str
    nodes: int
    period: int
    is_directed: bool
    is_connected: bool
    keeps_average: bool
    degree_max: int
    degree_mean: float
    links_max: int
    consensus: Consensus

    @property
    def messages(self) -> float | None:
        """What a node sends until consensus, in the mean; None when that never comes."""
        rounds = self.consensus.rounds
        return None if rounds is None else rounds * self.degree_mean

    def as_json(self) -> dict[str, Any]:
        """All figures, for ``--json``."""
        return {
            "name": self.name,
            "nodes": self.nodes,
            "period": self.period,
            "directed": self.is_directed,
            "connected": self.is_connected,
            "keeps_average": self.keeps_average,
            "degree_max": self.degree_max,
            "degree_mean": self.degree_mean,
            "links_max": self.links_max,
            "spectral_gap": self.consensus.spectral_gap,
            "rounds_to_consensus": self.consensus.rounds,
            "exact": self.consensus.is_exact,
            "estimated": self.consensus.is_estimate,
            "messages_a_node": self.messages,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundFacts:
    """One round: who hears whom, and the share of any disagreement that is left after it."""

    round: int
    links: Links
    left: float

    def as_json(self) -> dict[str, Any]:
        """The round with its links as [hears, heard, weight]."""
        weights = link_weights(self.links).tolist()
        ends = zip(self.links.receivers.tolist(), self.links.senders.tolist(), weights, strict=True)
        return {"round": self.round, "left": self.left, "links": [list(link) for link in ends]}


def facts_of(rule: TopologyRule) -> GraphFacts:
    """The figures of a graph. Raises ConfigError when there is no such graph."""
    topology = Topology(rule)
    seen = [topology.links(round) for round in range(1, min(topology.period, _LOOKED_AT) + 1)]
    degrees = np.array([links.degrees for links in seen])
    return GraphFacts(
        name=name_of(rule),
        nodes=rule.nodes,
        period=topology.period,
        is_directed=topology.is_directed,
        is_connected=topology.is_connected,
        keeps_average=all(keeps_average(links) for links in seen),
        degree_max=int(degrees.max()),
        degree_mean=float(degrees.mean()),
        links_max=topology.links_max,
        consensus=_consensus(topology),
    )


def rounds_of(rule: TopologyRule, rounds: int) -> Iterator[RoundFacts]:
    """The rounds 1..rounds of a graph."""
    topology = Topology(rule)
    for round, (models, scale) in zip(range(rounds + 1), products(topology), strict=False):
        if round:
            left = disagreement(models) / scale
            yield RoundFacts(round=round, links=topology.links(round), left=left)


def _consensus(topology: Topology) -> Consensus:
    if not topology.is_static or topology.nodes <= MOST_DENSE:
        return consensus_of(topology)
    if not topology.is_connected:
        return consensus_of_gap(0.0)
    return consensus_of_gap(_sparse_gap(topology.links(1)), is_estimate=True)


def _sparse_gap(links: Links) -> float:
    """``spectral_gap`` of many nodes, by Lanczos' method on W - 11^T/n; W is normal."""
    try:
        from scipy.sparse import csr_matrix
        from scipy.sparse.linalg import LinearOperator, eigsh
    except ImportError:
        raise ConfigError(
            f"the spectral gap of more than {MOST_DENSE} nodes needs scipy",
            fix="pip install 'tidings[scenarios]'",
        ) from None
    n = links.nodes
    off = csr_matrix((link_weights(links), links.senders, links.starts), shape=(n, n))
    own = 1.0 - np.asarray(off.sum(axis=1)).ravel()

    def apply(x: Any) -> Any:
        apart = x - x.mean()
        mixed = off @ apart + own * apart
        return mixed if links.is_symmetric else off.T @ mixed + own * mixed

    start = np.random.Generator(np.random.PCG64(0)).standard_normal(n)
    operator = LinearOperator((n, n), matvec=apply, dtype=np.float64)
    (largest,) = eigsh(
        operator, k=1, ncv=80, tol=1e-10, maxiter=n, v0=start, return_eigenvectors=False
    )
    modulus = abs(float(largest))
    return 1.0 - (modulus if links.is_symmetric else math.sqrt(modulus))
