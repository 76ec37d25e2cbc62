"""How a data set is shared out among peers.

Every function takes the labels of the records, int (n,), and gives one sorted array of record
numbers for each peer: each record goes to exactly one peer, no peer gets fewer than
``min_samples``. Only ``draws``, for more peers than there is data for, gives records to several.
Equal generators give equal shares. Dirichlet shares follow Hsu, Qi and Brown 2019, shards follow
McMahan et al. 2017 (FedAvg).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..crypto.errors import ConfigError

Labels: TypeAlias = NDArray[np.int64]
Shares: TypeAlias = list[NDArray[np.int64]]


class PartitionRule(BaseModel):
    """How a scenario shares its data out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["iid", "dirichlet", "shards", "quantity", "draws"] = "dirichlet"
    alpha: float = Field(
        default=0.5,
        gt=0,
        le=1e6,
        allow_inf_nan=False,
        description="of all but iid and shards: the smaller, the more uneven",
    )
    per_peer: int = Field(default=2, ge=1, description="of shards: how many each peer gets")
    min_samples: int = Field(default=10, ge=1, description="the fewest records of a peer")

    def divide(self, labels: Labels, peers: int, rng: np.random.Generator) -> Shares:
        """The record numbers of each peer, by this rule."""
        least = self.min_samples
        if self.kind == "iid":
            return iid(labels, peers, rng=rng, min_samples=least)
        if self.kind == "dirichlet":
            return dirichlet(labels, peers, alpha=self.alpha, rng=rng, min_samples=least)
        if self.kind == "shards":
            return shards(labels, peers, per_peer=self.per_peer, rng=rng, min_samples=least)
        if self.kind == "draws":
            return draws(labels, peers, alpha=self.alpha, rng=rng, samples=least)
        return quantity(labels, peers, alpha=self.alpha, rng=rng, min_samples=least)


def iid(labels: Labels, peers: int, *, rng: np.random.Generator, min_samples: int = 1) -> Shares:
    """Every peer gets as many records, drawn at random."""
    _check(len(labels), peers, min_samples)
    return _levelled(np.array_split(rng.permutation(len(labels)), peers), rng, min_samples)


def dirichlet(
    labels: Labels, peers: int, *, alpha: float, rng: np.random.Generator, min_samples: int = 1
) -> Shares:
    """Each class is shared out by its own draw from a symmetric Dirichlet(alpha).

    Small alpha: a peer knows few classes, and much or little of them. Large alpha: like ``iid``.
    """
    _check(len(labels), peers, min_samples)
    parts: list[list[NDArray[np.int64]]] = [[] for _ in range(peers)]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        for part, piece in zip(parts, _cut(members, _proportions(alpha, peers, rng)), strict=True):
            part.append(piece)
    return _levelled([np.concatenate([_NONE, *part]) for part in parts], rng, min_samples)


def shards(
    labels: Labels, peers: int, *, per_peer: int, rng: np.random.Generator, min_samples: int = 1
) -> Shares:
    """Sorts by class, cuts into ``peers`` x ``per_peer`` shards, deals each peer ``per_peer``."""
    _check(len(labels), peers, max(min_samples, per_peer))
    shuffled = rng.permutation(len(labels))  # so that records of one class come in random order
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    pieces = np.array_split(by_class, peers * per_peer)
    hands = rng.permutation(peers * per_peer).reshape(peers, per_peer)
    dealt = [np.concatenate([pieces[shard] for shard in hand]) for hand in hands]
    return _levelled(dealt, rng, min_samples)


def quantity(
    labels: Labels, peers: int, *, alpha: float, rng: np.random.Generator, min_samples: int = 1
) -> Shares:
    """All peers know all classes; how much they have is one draw from Dirichlet(alpha)."""
    _check(len(labels), peers, min_samples)
    order = rng.permutation(len(labels))
    return _levelled(_cut(order, _proportions(alpha, peers, rng)), rng, min_samples)


def draws(
    labels: Labels, peers: int, *, alpha: float, rng: np.random.Generator, samples: int
) -> Shares:
    """Each peer draws ``samples`` records from all of them, in its own proportions of the classes.

    The proportions are a draw from a symmetric Dirichlet(alpha) for each peer. A peer may draw
    a record twice, and several peers the same: so thousands of peers can be simulated with the
    records of a few.
    """
    _check(len(labels), peers, 0)
    classes, counts = np.unique(labels, return_counts=True)
    by_class = np.argsort(labels, kind="stable")
    first = np.cumsum(counts) - counts
    heaps = rng.standard_gamma(alpha, size=(peers, len(classes)))
    heaps[heaps.sum(axis=1) == 0, 0] = 1.0  # every gamma variate fell to 0
    shares = []
    for heap in np.cumsum(heaps, axis=1):
        drawn = np.searchsorted(heap, rng.random(samples) * heap[-1], side="right")
        places = first[drawn] + (rng.random(samples) * counts[drawn]).astype(np.int64)
        shares.append(np.sort(by_class[places]))
    return shares


_NONE = np.zeros(0, dtype=np.int64)


def _check(records: int, peers: int, min_samples: int) -> None:
    """ConfigError when there are too few records to go round."""
    if peers < 1:
        raise ConfigError(f"{peers} peers cannot share a data set", fix="have at least one peer")
    if records < peers * min_samples:
        raise ConfigError(
            f"{records} records are too few for {peers} peers of at least {min_samples} each",
            where="partition",
            fix="have fewer peers, fewer shards or a smaller min_samples",
        )


def _proportions(alpha: float, peers: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """One draw from a symmetric Dirichlet; a tiny alpha gives everything to one peer."""
    drawn = rng.dirichlet(np.full(peers, alpha))
    if not np.isfinite(drawn).all():  # every gamma variate fell to 0
        drawn = np.eye(peers)[rng.integers(peers)]
    return drawn


def _cut(records: NDArray[np.int64], proportions: NDArray[np.float64]) -> Shares:
    """Consecutive pieces of ``records`` in these proportions."""
    bounds = np.rint(np.cumsum(proportions)[:-1] * len(records)).astype(np.int64)
    return np.split(records, np.minimum(bounds, len(records)))


def _levelled(shares: Shares, rng: np.random.Generator, min_samples: int) -> Shares:
    """Sorted shares; those below ``min_samples`` get random records of the largest, one each."""
    shares = [rng.permutation(share) for share in shares]
    while len(poorest := min(shares, key=len)) < min_samples:
        poor = next(i for i, share in enumerate(shares) if share is poorest)
        rich = max(range(len(shares)), key=lambda i: len(shares[i]))
        shares[poor] = np.append(poorest, shares[rich][-1])
        shares[rich] = shares[rich][:-1]
    return [np.sort(share) for share in shares]
