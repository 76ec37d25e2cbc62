"""Adding up the events of a run: what is known of each peer, round, link and feed so far."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import singledispatchmethod

import numpy as np
from numpy.typing import NDArray

from ..gossip.events import (
    BudgetSpent,
    Equivocated,
    Evaluated,
    Event,
    LinkDown,
    LinkUp,
    MembersChanged,
    Mixed,
    PeerFinished,
    PeerStarted,
    Published,
    Received,
    Refused,
    Released,
    RolledBack,
    Sent,
    Skipped,
)
from .copies import CopyChecker
from .run_log import LogLine, RunFinished, RunStarted
from .summary_values import Rollback

Sketch = NDArray[np.float64]


def sketched_distance(sketches: Collection[Sketch]) -> float | None:
    """The consensus distance sqrt(mean_i ||x_i - mean||^2) of models, from their sketches.

    An estimate: the sketches are linear maps of the models to 64 numbers, so the mean's sketch is
    the sketches' mean, and squared lengths are right in expectation. None without sketches, or
    when a model has diverged past what floats hold.
    """
    if not sketches:
        return None
    with np.errstate(all="ignore"):
        rows = np.stack(list(sketches))
        distance = float(np.sqrt(np.mean(np.sum((rows - rows.mean(axis=0)) ** 2, axis=1))))
    return distance if math.isfinite(distance) else None


@dataclass(slots=True)
class PeerTally:
    """One peer so far; `epsilon` and `delta` are its largest."""

    id: str = ""
    index: int = -1
    starts: int = 0
    finished: bool = False
    rounds: set[int] = field(default_factory=set)
    last: Evaluated | None = None
    released: Released | None = None
    epsilon: float | None = None
    delta: float | None = None
    releases: int = 0
    budget_spent_round: int | None = None
    sent: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    missing: int = 0
    skipped: int = 0
    sketch: Sketch | None = None


@dataclass(slots=True)
class RoundTally:
    """What the peers reported of one round; the last word of each peer counts."""

    accuracy: dict[str, float] = field(default_factory=dict)
    sketches: dict[str, Sketch] = field(default_factory=dict)
    epsilon: float | None = None


@dataclass(slots=True)
class LinkTally:
    """How often a link came and went, and why it last went."""

    up: int = 0
    down: int = 0
    why: str = ""


@dataclass(slots=True)
class RefusalTally:
    """Refusals of one peer, sender and reason, and what the last was about."""

    count: int = 0
    detail: str = ""


class Tally:
    """Adds up events one by one; summary.py turns it into a summary, at the end or at any time."""

    def __init__(self) -> None:
        self.run: RunStarted | None = None
        self.outcome = ""
        self._first: float | None = None
        self._last = 0.0
        self.peers: dict[str, PeerTally] = {}
        self.rounds: dict[int, RoundTally] = {}
        self._names: dict[str, str] = {}
        self.networks: dict[str, None] = {}
        self.edges: dict[tuple[str, str], Counter[str]] = {}
        self.links: dict[tuple[str, str], LinkTally] = {}
        self.refusals: dict[tuple[str, str, str], RefusalTally] = {}
        self.roads: Counter[str] = Counter()
        self.proofs: dict[tuple[str, int, str], dict[str, None]] = {}
        self.rolled_back: dict[Rollback, None] = {}
        self.revoked: dict[str, None] = {}
        self.copies = CopyChecker()
        self._sketch_size: int | None = None

    def add(self, line: LogLine) -> None:
        """Take one line into account; kinds that are not known count for nothing."""
        if self._first is None:
            self._first = line.time
        self._last = line.time
        if isinstance(line.event, Event):
            self._take(line.event, line.peer)

    @property
    def duration_s(self) -> float:
        """From the first event to the last, in seconds of the run's own clock."""
        return 0.0 if self._first is None else self._last - self._first

    @property
    def furthest_round(self) -> int:
        """The last round that any peer mixed; where nobody mixes, that anything was said of."""
        mixed = set[int]().union(*(peer.rounds for peer in self.peers.values()))
        return max(mixed or self.rounds, default=0)

    def name_of(self, peer_id: str) -> str:
        """The name of the peer with this short id, the id itself when no log names it."""
        return self._names.get(peer_id, peer_id)

    def _peer(self, name: str) -> PeerTally:
        return self.peers.setdefault(name, PeerTally())

    def _round(self, number: int) -> RoundTally:
        return self.rounds.setdefault(number, RoundTally())

    @singledispatchmethod
    def _take(self, event: Event, peer: str) -> None:
        """Kinds of which the summary tells nothing."""

    @_take.register
    def _run_started(self, event: RunStarted, peer: str) -> None:
        self.run = event

    @_take.register
    def _run_finished(self, event: RunFinished, peer: str) -> None:
        self.outcome = event.outcome

    @_take.register
    def _peer_started(self, event: PeerStarted, peer: str) -> None:
        entry = self._peer(peer)
        entry.id, entry.index = event.id, event.index
        entry.starts += 1
        entry.finished = False
        # the first name stays: a copied folder under another name does not rename the original
        self._names.setdefault(event.id, peer)
        self.networks[event.network] = None

    @_take.register
    def _peer_finished(self, event: PeerFinished, peer: str) -> None:
        self._peer(peer).finished = True

    @_take.register
    def _link_up(self, event: LinkUp, peer: str) -> None:
        self._peer(peer)
        self.links.setdefault((peer, event.neighbour), LinkTally()).up += 1

    @_take.register
    def _link_down(self, event: LinkDown, peer: str) -> None:
        self._peer(peer)
        link = self.links.setdefault((peer, event.neighbour), LinkTally())
        link.down += 1
        link.why = event.why

    @_take.register
    def _released(self, event: Released, peer: str) -> None:
        entry, row = self._peer(peer), self._round(event.round)
        entry.releases += 1
        # a release that passes a model on without training names no mechanism of its own
        if entry.released is None or event.mechanism != "post-processing":
            entry.released = event
        entry.epsilon = largest(entry.epsilon, event.epsilon)
        entry.delta = largest(entry.delta, event.delta)
        row.epsilon = largest(row.epsilon, event.epsilon)

    @_take.register
    def _budget_spent(self, event: BudgetSpent, peer: str) -> None:
        entry = self._peer(peer)
        if entry.budget_spent_round is None:
            entry.budget_spent_round = event.round

    @_take.register
    def _published(self, event: Published, peer: str) -> None:
        self._peer(peer)
        self.copies.published(peer, event.sequence, event.state)

    @_take.register
    def _sent(self, event: Sent, peer: str) -> None:
        cost = {"bytes": event.size_bytes, "messages": 1}
        self._peer(peer).sent.update(cost)
        self.edges.setdefault((peer, event.to), Counter()).update(cost)

    @_take.register
    def _received(self, event: Received, peer: str) -> None:
        self._peer(peer).received.update({"bytes": event.size_bytes, "messages": 1})
        if event.message == "news" and event.state:
            self.roads[event.road] += 1
            self.copies.received(peer, event.author, event.sequence, event.state)

    @_take.register
    def _refused(self, event: Refused, peer: str) -> None:
        self._peer(peer).refused += 1
        refusals = self.refusals.setdefault((peer, event.sender, event.reason), RefusalTally())
        refusals.count += 1
        refusals.detail = event.detail

    @_take.register
    def _mixed(self, event: Mixed, peer: str) -> None:
        entry = self._peer(peer)
        entry.rounds.add(event.round)
        entry.missing += len(event.missing)
        if self._sketch_size is None and event.sketch:
            self._sketch_size = len(event.sketch)
        if event.sketch and len(event.sketch) == self._sketch_size:
            entry.sketch = np.array(event.sketch, dtype=np.float64)
            self._round(event.round).sketches[peer] = entry.sketch

    @_take.register
    def _skipped(self, event: Skipped, peer: str) -> None:
        self._peer(peer).skipped += max(0, event.to_round - event.from_round)

    @_take.register
    def _evaluated(self, event: Evaluated, peer: str) -> None:
        entry = self._peer(peer)
        if math.isfinite(event.accuracy):
            entry.last = event
            self._round(event.round).accuracy[peer] = event.accuracy

    @_take.register
    def _equivocated(self, event: Equivocated, peer: str) -> None:
        key = (event.author, event.sequence, event.proof)
        self.proofs.setdefault(key, {})[peer] = None

    @_take.register
    def _rolled_back_event(self, event: RolledBack, peer: str) -> None:
        self._peer(peer)
        rollback = Rollback(
            peer=peer, own_sequence=event.own_sequence, seen_sequence=event.seen_sequence
        )
        self.rolled_back[rollback] = None

    @_take.register
    def _members_changed(self, event: MembersChanged, peer: str) -> None:
        self.revoked.update(dict.fromkeys(event.revoked))


def largest(one: float | None, other: float | None) -> float | None:
    """The larger of two numbers that may be missing or not numbers."""
    if other is None or math.isnan(other):
        return one
    return other if one is None else max(one, other)
