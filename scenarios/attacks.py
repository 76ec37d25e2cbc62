"""What malicious peers publish instead of what they learnt.

An attack of this kind breaks no rule of the wire: it is signed, well-formed and wrong, so only a
robust mixing rule can bound it. All attackers act together and, in the worst case of the
literature, see everything: the honest releases, the models that the round began with, the graph. A
feed says the same to all who follow it, for two truths would convict their author; attacks that
were published with a lie for each neighbour send here the mean of those lies.

Alone, an attacker needs only what it knows itself for

    sign-flip    the opposite of what it learnt
    noise        what it learnt and NOISE times its length in random directions
    free-rider   the model that the round began with: others train, it only takes
    sleeper      the truth for the first half of the rounds, its opposite in the second
    label-flip   what it learnt from labels turned around (``turned_around``)

and for these it sees what the others see:

    alie         a little is enough (Baruch, Baruch, Goldberg 2019): the honest mean, moved in each
                 coordinate by as many standard deviations as still hide among the honest
    ipm          inner-product manipulation (Xie, Koyejo, Gupta 2020): the honest mean's step,
                 shortened and turned around
    dissensus    He, Karimireddy, Jaggi 2022: what undoes the honest neighbours' pull
    spectral     spectral heterogeneity (Gaucher, Dieuleveut, Hendrikx 2025): what drives the honest
                 apart along the slowest mode of their graph

Vectors are float32 with one row a node, N of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..crypto.errors import ConfigError
from ..gossip.grid import FloatVector
from ..peer.learners.data import Dataset
from .faults import Liar

OwnAttack = Literal["sign-flip", "noise", "free-rider", "sleeper", "label-flip"]
SeeingAttack = Literal["alie", "ipm", "dissensus", "spectral"]
Attack = OwnAttack | SeeingAttack

OWN: tuple[OwnAttack, ...] = get_args(OwnAttack)
SEEING: tuple[SeeingAttack, ...] = get_args(SeeingAttack)

NOISE = 10.0  # times the length of an honest step
IPM_STEP = 0.5  # of the honest mean's step, backwards
LARGEST_SHARE = 1 - 1e-6  # of the honest among whom a lie must hide


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What attackers see of one round.

    ``before`` and ``releases`` (N, P) are each node's model as the round began and what it learnt;
    ``attackers`` (N,) tells who lies, ``weights`` (N, N) the mixing weights: [i, j] is how much i
    counts j.
    """

    before: FloatVector
    releases: FloatVector
    attackers: NDArray[np.bool_]
    weights: NDArray[np.float64]


def alone(
    attack: OwnAttack,
    before: FloatVector,
    z: FloatVector,
    generator: np.random.Generator,
    *,
    round: int,
    rounds: int,
) -> FloatVector:
    """What attackers publish who know ``before`` and ``z`` (..., P) of themselves alone."""
    match attack:
        case "sign-flip":
            return 2 * before - z
        case "sleeper":
            return 2 * before - z if 2 * round > rounds else z
        case "free-rider":
            return before
        case "noise":
            length = np.linalg.norm((z - before).astype(np.float64), axis=-1, keepdims=True)
            scale = np.float32(NOISE) * length.astype(np.float32) / np.sqrt(np.float32(z.shape[-1]))
            noisy: FloatVector = z + scale * generator.standard_normal(z.shape, dtype=np.float32)
            return noisy
        case "label-flip":  # the lie was in the records
            return z


def together(attack: SeeingAttack, sight: Sight) -> FloatVector:
    """What the A attackers publish who see everything, float32 (A, P), in the order of the rows."""
    match attack:
        case "alie":
            lies = _hidden(sight)
        case "ipm":
            lies = _backwards(sight)
        case "dissensus":
            lies = _to_hearers(sight, _undone(sight))
        case "spectral":
            lies = _to_hearers(sight, _driven_apart(sight))
    return np.broadcast_to(lies, (int(sight.attackers.sum()), lies.shape[-1])).astype(np.float32)


def poisoned(shares: Sequence[Dataset], liars: Iterable[Liar]) -> list[Dataset]:
    """The shares, with the training labels of those who flip them turned around.

    Raises ConfigError where there are no labels.
    """
    given = list(shares)
    for liar in liars:
        if liar.behaviour == "label-flip":
            share = given[liar.node]
            classes = 1 + max(int(max(s.train_y.max(), s.test_y.max())) for s in shares)
            labels = turned_around(share.train_y, classes)
            given[liar.node] = replace(share, train_y=labels)
    return given


def turned_around(labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Labels 0..classes-1 in the opposite order.

    Raises ConfigError for targets that are no such labels.
    """
    if labels.ndim != 1 or labels.dtype.kind != "i":
        raise ConfigError(
            "only labels can be flipped; these targets are no class numbers",
            where="faults.liars",
            fix="choose another behaviour than 'label-flip'",
        )
    return classes - 1 - labels


# -- attackers that see everything ---------------------------------------------------------------


def _hidden(sight: Sight) -> NDArray[np.float64]:
    """The honest mean, as many standard deviations away as a majority still supports."""
    honest = sight.releases[~sight.attackers].astype(np.float64)
    n, m = len(sight.attackers), int(sight.attackers.sum())
    needed = n // 2 + 1 - m  # of the honest, to make a majority with the attackers
    share = np.clip((n - m - needed) / (n - m), 0.5, LARGEST_SHARE)
    spread = NormalDist().inv_cdf(float(share))
    moved: NDArray[np.float64] = honest.mean(axis=0) - spread * honest.std(axis=0)
    return moved


def _backwards(sight: Sight) -> NDArray[np.float64]:
    before = sight.before[~sight.attackers].astype(np.float64).mean(axis=0)
    after = sight.releases[~sight.attackers].astype(np.float64).mean(axis=0)
    turned: NDArray[np.float64] = before - IPM_STEP * (after - before)
    return turned


def _undone(sight: Sight) -> NDArray[np.float64]:
    """For each node (N, P), what all attackers together would have to tell it to undo the pull of
    its honest neighbours; itself, where it hears no attacker.
    """
    x = sight.releases.astype(np.float64)
    honest = np.where(sight.attackers, 0.0, sight.weights)
    pull = honest @ x - honest.sum(axis=1, keepdims=True) * x
    undone: NDArray[np.float64] = x - pull / _weight_of_attackers(sight)
    return undone


def _driven_apart(sight: Sight) -> NDArray[np.float64]:
    """For each node (N, P), where it should go for the slowest mode of the honest graph to grow
    as much as its honest neighbours' pull makes it shrink.
    """
    x = sight.releases.astype(np.float64)
    kept = np.flatnonzero(~sight.attackers)
    links = sight.weights[np.ix_(kept, kept)]
    links = (links + links.T) / 2
    np.fill_diagonal(links, 0.0)
    laplacian = np.diag(links.sum(axis=1)) - links
    mode = np.zeros(len(x))
    mode[kept] = np.linalg.eigh(laplacian)[1][:, min(1, len(kept) - 1)]
    share = np.where(sight.attackers, 0.0, sight.weights).sum(axis=1, keepdims=True)
    drive = share / _weight_of_attackers(sight) * np.outer(mode, mode @ x)
    driven: NDArray[np.float64] = x + drive
    return driven


def _weight_of_attackers(sight: Sight) -> NDArray[np.float64]:
    """How much each node counts all attackers together, (N, 1); infinite where it hears none."""
    weight = np.where(sight.attackers, sight.weights, 0.0).sum(axis=1, keepdims=True)
    return np.where(weight > 0, weight, np.inf)


def _to_hearers(sight: Sight, lies: NDArray[np.float64]) -> NDArray[np.float64]:
    """One row for each attacker, (A, P): the mean of the ``lies`` (N, P) for those who hear it.

    An attacker that nobody honest hears publishes what it learnt.
    """
    heard = sight.weights.T[sight.attackers] * ~sight.attackers
    hearers = heard > 0
    count = hearers.sum(axis=1, keepdims=True)
    mean: NDArray[np.float64] = (hearers @ lies) / np.maximum(count, 1)
    return np.where(count > 0, mean, sight.releases[sight.attackers])
