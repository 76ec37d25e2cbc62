"""How fast the nodes of a graph agree, by linear algebra on its mixing matrices.

After the rounds 1..t the models are W_t ... W_1 x. What is not yet agreed upon of them is as large
as x times the spectral norm of (I - 11^T/n) W_t ... W_1, or less; where all W are doubly stochastic
that is ||W_t ... W_1 - 11^T/n||.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from .graphs.links import FloatArray, Links
from .topology import Topology
from .weights import link_weights, mixing_matrix

AGREED = 1e-10
EXACT = 1e-14  # what rounding leaves
MOST_DENSE = 2000  # nodes; above that, N x N matrices take too long
MOST_ROUNDS = 10_000  # of a graph that changes, all of which agree long before
_PROBES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Consensus:
    """How a graph agrees.

    ``spectral_gap`` is 1 minus the share of the disagreement that a round leaves at worst; of a
    graph that changes, in the geometric mean over ``rounds``. ``rounds`` is how many it takes until
    no more than AGREED is left, None when it never comes to that; ``is_exact`` when the last of
    them leaves nothing but rounding. ``is_estimate``: found with random models, not with all.
    """

    spectral_gap: float
    rounds: int | None
    is_exact: bool
    is_estimate: bool = False


def spectral_gap(W: FloatArray) -> float:
    """1 minus the second largest modulus of the eigenvalues of a stochastic W (N, N).

    The larger, the faster the nodes agree; 1 for one node, 0 for a graph in pieces.
    """
    if len(W) == 1:
        return 1.0
    symmetric = np.array_equal(W, W.T)
    eigenvalues = np.linalg.eigvalsh(W) if symmetric else np.linalg.eigvals(W)
    return float(1.0 - np.sort(np.abs(eigenvalues))[-2])


def consensus_of(topology: Topology) -> Consensus:
    """How the nodes of a graph agree from round 1 on.

    For a static graph of more than MOST_DENSE nodes, find the gap with a sparse solver and
    call ``consensus_of_gap``.
    """
    if topology.is_static:
        return consensus_of_gap(spectral_gap(mixing_matrix(topology.links(1))))
    is_estimate = topology.nodes > MOST_DENSE
    for round, (models, scale) in zip(range(MOST_ROUNDS), products(topology), strict=False):
        # the spectral norm takes long: not before it can be small enough
        if np.linalg.norm(models - models.mean(axis=0)) > AGREED * scale * len(models.T) ** 0.5:
            continue
        left = disagreement(models) / scale
        if left <= AGREED:
            exact = left <= EXACT * max(1.0, topology.nodes / 200)
            gap = 1.0 if exact else 1 - left ** (1 / round)
            return Consensus(
                spectral_gap=gap, rounds=round, is_exact=exact, is_estimate=is_estimate
            )
    return Consensus(spectral_gap=0.0, rounds=None, is_exact=False, is_estimate=is_estimate)


def consensus_of_gap(gap: float, *, is_estimate: bool = False) -> Consensus:
    """How the nodes of a static graph with a symmetric or normal W agree."""
    left = 1 - gap
    if left <= EXACT:
        return Consensus(spectral_gap=gap, rounds=1, is_exact=True, is_estimate=is_estimate)
    if gap <= EXACT:
        return Consensus(spectral_gap=max(gap, 0.0), rounds=None, is_exact=False)
    rounds = math.ceil(math.log(AGREED) / math.log1p(-gap))
    return Consensus(spectral_gap=gap, rounds=rounds, is_exact=False, is_estimate=is_estimate)


def products(topology: Topology) -> Iterator[tuple[FloatArray, float]]:
    """W_t ... W_1 after t = 0, 1, 2, ... rounds, and what its ``disagreement`` is to be divided by.

    Of more than MOST_DENSE nodes what the rounds make of random models, (N, 32): their disagreement
    is an estimate, a little too small.
    """
    models, scale = np.eye(topology.nodes), 1.0
    if topology.nodes > MOST_DENSE:
        chance = np.random.Generator(np.random.PCG64(0))
        models = chance.standard_normal((topology.nodes, _PROBES))
        scale = disagreement(models)
    for round in count(1):
        yield models, scale
        models = mixed(topology.links(round), models)


def disagreement(models: FloatArray) -> float:
    """The spectral norm of (I - 11^T/n) M, M (N, P)."""
    return float(np.linalg.norm(models - models.mean(axis=0), ord=2))


def mixed(links: Links, models: FloatArray) -> FloatArray:
    """W times ``models`` (N, P), float64, without making W."""
    weights, receivers, degrees = link_weights(links), links.receivers, links.degrees
    theirs = np.bincount(receivers, weights, minlength=links.nodes)
    result: FloatArray = (1.0 - theirs)[:, None] * models
    for k in range(int(degrees.max(initial=0))):
        rows = np.flatnonzero(degrees > k)
        at = links.starts[rows] + k
        result[rows] += weights[at, None] * models[links.senders[at]]
    return result


def keeps_average(links: Links) -> bool:
    """Whether a round leaves the average of all models as it is: the columns of W sum to 1 too."""
    weights = link_weights(links)
    given = np.bincount(links.senders, weights, minlength=links.nodes)
    heard = np.bincount(links.receivers, weights, minlength=links.nodes)
    return bool(np.abs(given - heard).max() <= 1e-12)
