"""Adding up the events of a run: what is known of each peer, round, link and feed so far."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from ..gossip.events import Event
from .copies import CopyChecker
from .log_line import LogLine
from .records import Record
from .run_events import RunStarted
from .summary_values import Rollback
from .table_reader import TableRows
from .tally_values import (
    LinkTally,
    PeerTally,
    Pull,
    RefusalTally,
    Road,
    RoundTally,
    Spread,
    largest,
)
from .traffic import TRAFFIC, Traffic

PULL_ROUNDS = 5  # alignments are added up over so many rounds
SKETCHES_AT_ONCE = 128
MAX_MARKED = 600  # peers; the clocks of more are not compared (scenarios/clock_skew.py)
MAX_TRANSITIONS = 200_000  # of links, kept with their times


def sketched_distance(sketches: Sequence[Sequence[float]]) -> float | None:
    """The consensus distance of models from their sketches; None without, or when one diverged."""
    return Spread(sketches).distance


class Tally:
    """Adds up events one by one; summary.py turns it into a summary, at the end or at any time.

    The order of the events of one peer matters, that of different peers does not, so logs may be
    read one after another.
    """

    def __init__(self) -> None:
        self.run: RunStarted | None = None
        self.outcome = ""
        self.first_time: float | None = None
        self.last_time = 0.0
        self.peers: dict[str, PeerTally] = {}
        self.rounds: dict[int, RoundTally] = {}
        self._names: dict[str, str] = {}
        self.networks: dict[str, None] = {}
        self.log_version = 0  # the highest that a log names
        self.links: dict[tuple[str, str], LinkTally] = {}
        self.transitions: list[tuple[float, str, str, bool]] = []  # time, peer, neighbour's id, up
        self.refusals: dict[tuple[str, str, str], RefusalTally] = {}
        self.roads: dict[str, int] = {}
        self.proofs: dict[tuple[str, int, str], dict[str, None]] = {}
        self.proven_at: dict[tuple[str, str], float] = {}  # by author's id and reporter
        self.rolled_back: dict[Rollback, None] = {}
        self.revoked: dict[str, None] = {}
        self.warnings: dict[tuple[str, str], int] = {}
        self.pulls: dict[int, dict[str, Pull]] = {}  # by rounds // PULL_ROUNDS, then by short id
        self.copies = CopyChecker()
        self._traffic = Traffic()
        self._sketch_size: int | None = None
        self._waiting: list[tuple[int, tuple[float, ...]]] = []  # sketches of rounds
        self._handlers: dict[str, Callable[[Any, PeerTally, str, float], None]] = {
            "peer-started": self._peer_started,
            "peer-finished": self._peer_finished,
            "link-up": self._link_up,
            "link-down": self._link_down,
            "released": self._released,
            "budget-spent": self._budget_spent,
            "published": self._published,
            "sent": self._sent,
            "received": self._received,
            "refused": self._refused,
            "mixed": self._mixed,
            "skipped": self._skipped,
            "evaluated": self._evaluated,
            "equivocated": self._equivocated,
            "rolled-back": self._rolled_back,
            "members-changed": self._members_changed,
            "transport-warning": self._transport_warning,
        }

    def add(self, line: LogLine) -> None:
        """Take one line into account; kinds that are not known count for nothing."""
        if isinstance(line.event, Event):
            self._take(line.event, line.event.kind, line.peer, line.time)
        else:
            self._see(line.time)

    def add_records(self, records: Iterable[Record]) -> None:
        """Take many lines into account; after the last of them ``settle``."""
        if isinstance(records, TableRows) and records.kind in TRAFFIC:
            self._traffic.add(records)
            return
        entry = PeerTally()
        peer: Any = None
        for record in records:
            kind = record.kind
            # most lines are of these two kinds, and many of one peer follow each other
            if kind in ("sent", "received"):
                if record.peer != peer:
                    peer = record.peer
                    entry = self._peer(peer, record.time)
                if kind == "sent":
                    self._sent(record, entry, peer, record.time)
                else:
                    self._received(record, entry, peer, record.time)
            else:
                self._take(record, kind, record.peer, record.time)

    def settle(self) -> None:
        """Take into account what was only collected so far: frames that stood in tables."""
        for kind, name, other, figures in self._traffic.sums():
            entry = self._peer(name, figures.first_time)
            entry.first_time = min(entry.first_time, figures.first_time)
            entry.last_time = max(entry.last_time, figures.last_time)
            roads = entry.to if kind == "sent" else entry.heard
            road = roads.setdefault(other, Road())
            road.bytes += figures.bytes
            road.messages += figures.messages

    def _see(self, time: float) -> None:
        self.first_time = time if self.first_time is None else min(self.first_time, time)
        self.last_time = max(self.last_time, time)

    def _peer(self, name: str, time: float) -> PeerTally:
        entry = self.peers.get(name)
        if entry is None:
            entry = self.peers[name] = PeerTally(first_time=time, last_time=time)
            entry.holds = self.copies.held_by(name)
        return entry

    def _take(self, event: Any, kind: str, peer: str, time: float) -> None:
        handle = self._handlers.get(kind)
        if handle is None:
            self._see(time)
            self._of_the_engine(event, kind)
            return
        entry = self._peer(peer, time)
        entry.last_time = time
        handle(event, entry, peer, time)

    @property
    def duration_s(self) -> float:
        """From the first event to the last, in seconds of the run's own clock."""
        firsts = [peer.first_time for peer in self.peers.values()]
        if self.first_time is None or not firsts:
            return self.last_time - (self.first_time or 0.0)
        lasts = [peer.last_time for peer in self.peers.values()]
        return max(self.last_time, *lasts) - min(self.first_time, *firsts)

    @property
    def furthest_round(self) -> int:
        """The last round that any peer mixed; where nobody mixes, that anything was said of."""
        mixed = max((peer.furthest for peer in self.peers.values()), default=-1)
        said = max((peer.last.round for peer in self.peers.values() if peer.last), default=0)
        return mixed if mixed >= 0 else max(self.rounds, default=said)

    def name_of(self, peer_id: str) -> str:
        """The name of the peer with this short id, the id itself when no log names it."""
        return self._names.get(peer_id, peer_id)

    def accuracies(self) -> dict[int, list[float]]:
        """The accuracies that were reported of each round, one for each peer."""
        found = {number: list(row.accuracies) for number, row in self.rounds.items()}
        for peer in self.peers.values():
            if peer.last is not None and peer.last.round > peer.told_accuracy:
                found.setdefault(peer.last.round, []).append(peer.last.accuracy)
        return found

    def spreads(self) -> dict[int, Spread]:
        """How far apart the models of each round are, by their sketches."""
        self._add_sketches()
        found = {number: row.spread.copy() for number, row in self.rounds.items()}
        for peer in self.peers.values():
            if peer.sketch and peer.sketch_round > peer.told_sketch:
                found.setdefault(peer.sketch_round, Spread()).add(np.array([peer.sketch]))
        return found

    def _round(self, number: int) -> RoundTally:
        row = self.rounds.get(number)
        if row is None:
            row = self.rounds[number] = RoundTally()
        return row

    # -- what the engine notes ---------------------------------------------------------------

    def _of_the_engine(self, event: Any, kind: str) -> None:
        match kind:
            case "run-started":
                self.run = event
                self.log_version = max(self.log_version, event.log_version)
            case "run-finished":
                self.outcome = event.outcome
            case "consensus-measured":
                self._round(event.round).measured = event.distance

    # -- what a peer notes -------------------------------------------------------------------

    def _peer_started(self, event: Any, entry: PeerTally, peer: str, time: float) -> None:
        entry.id, entry.index = event.id, event.index
        entry.starts += 1
        entry.finished = False
        # the first name stays: a copied folder under another name does not rename the original
        self._names.setdefault(event.id, peer)
        self.networks[event.network] = None
        self.log_version = max(self.log_version, event.log_version)

    def _peer_finished(self, event: Any, entry: PeerTally, peer: str, time: float) -> None:
        entry.finished = True
        entry.finished_at = min(entry.finished_at, time)

    def _link_up(self, event: Any, entry: PeerTally, peer: str, time: float) -> None:
        self.links.setdefault((peer, event.neighbour), LinkTally()).up += 1
        self._note_transition(time, peer, event.neighbour, True)

    def _link_down(self, event: Any, entry: PeerTally, peer: str, time: float) -> None:
        link = self.links.setdefault((peer, event.neighbour), LinkTally())
        link.down += 1
        link.why = event.why
        self._note_transition(time, peer, event.neighbour, False)

    def _note_transition(self, time: float, peer: str, neighbour: str, up: bool) -> None:
        if len(self.transitions) < MAX_TRANSITIONS:
            self.transitions.append((time, peer, neighbour, up))

    def _released(self, event: Any, entry: PeerTally, peer: str, time: float) -> None:
        entry.releases += 1
        # a release that passes a model on without training names no mechanism of its own
        if entry.released is None or event.mechanism != "post-processing":
            entry.released = event
        if event.epsilon is not None:
            entry.epsilon_before = entry.epsilon
            entry.epsilon = largest(entry.epsilon, event.epsilon)
            row = self._round(event.round)
            row.epsilon = largest(row.epsilon, event.epsilon)
        entry.delta = largest(entry.delta, event.delta)

    def _budget_spent(self, event: Any, entry: PeerTally, peer: str, time: float) -> None:
        if entry.budget_spent_round is None:
            entry.budget_spent_round = event.round
            entry.budget_spent_at = time

    def _published(self, event: Any, entry: PeerTally, peer: str, time: float) -> None:
        entry.published_rounds.append(event.round)
        entry.published_at.append(time)
        entry.captured += event.captured
        if event.state:  # large runs tell no hashes
            self.copies.published(peer, event.sequence, event.state)

    def _sent(self, event: Any, entry: PeerTally, peer: str, time: float) -> None:
        entry.last_time = time
        to = event.to
        road = entry.to.get(to)
        if road is None:
            road = entry.to[to] = Road()
        road.bytes += event.size_bytes
        road.messages += 1
        sequence = event.sequence
        if sequence and sequence % road.stride == 0 and len(self.peers) <= MAX_MARKED:
            road.mark(event.author, sequence, time)

    def _received(self, event: Any, entry: PeerTally, peer: str, time: float) -> None:
        entry.last_time = time
        sender = event.sender
        road = entry.heard.get(sender)
        if road is None:
            road = entry.heard[sender] = Road()
        road.bytes += event.size_bytes
        road.messages += 1
        state = event.state
        if state and event.message == "news":
            self.roads[event.road] = self.roads.get(event.road, 0) + 1
            author, sequence = event.author, event.sequence
            held = entry.holds.get(author)
            if held is None or sequence >= held[0]:
                entry.holds[author] = (sequence, state)
            if sequence and sequence % road.stride == 0 and len(self.peers) <= MAX_MARKED:
                road.mark(author, sequence, time)

    def _refused(self, event: Any, entry: PeerTally, peer: str, time: float) -> None:
        entry.refused += 1
        refusals = self.refusals.setdefault((peer, event.sender, event.reason), RefusalTally())
        refusals.count += 1
        refusals.detail = event.detail
        refusals.first_time = min(refusals.first_time, time)
        refusals.last_time = max(refusals.last_time, time)

    def _mixed(self, event: Any, entry: PeerTally, peer: str, time: float) -> None:
        number = event.round
        if number > entry.furthest:
            entry.furthest = number
            entry.rounds += 1
            entry.mixed_rounds.append(number)
            entry.mixed_at.append(time)
        for other, weight in event.neighbours.items():
            companion = entry.companion(other)
            companion.mixed += 1
            companion.weight += weight
            companion.last_mixed = number
        if event.alignment:
            self._aligned(event.alignment, number)
        for other in event.missing:
            companion = entry.companion(other)
            companion.missed += 1
            companion.last_missed = number
            if companion.missed == 1:
                companion.first_missed = number
        entry.missing += len(event.missing)
        if event.sketch:
            self._sketched(event.sketch, entry, number)

    def _aligned(self, cosines: dict[str, float], round_: int) -> None:
        pulls = self.pulls.setdefault(round_ // PULL_ROUNDS, {})
        for other, cosine in cosines.items():
            pull = pulls.get(other)
            if pull is None:
                pull = pulls[other] = Pull()
            pull.cosines += cosine
            pull.count += 1
            pull.others += len(cosines)

    def _sketched(self, numbers: tuple[float, ...], entry: PeerTally, round_: int) -> None:
        if self._sketch_size is None:
            self._sketch_size = len(numbers)
        if len(numbers) != self._sketch_size:
            return
        # the last word of a peer on a round counts, so it waits until the peer is past it
        before = entry.sketch_round
        if entry.sketch and before != round_ and before > entry.told_sketch:
            self._waiting.append((before, entry.sketch))
            entry.told_sketch = before
            if len(self._waiting) >= SKETCHES_AT_ONCE:
                self._add_sketches()
        entry.sketch, entry.sketch_round = numbers, round_

    def _add_sketches(self) -> None:
        """Add what waits to the rounds' sums: many rows at once cost little more than one."""
        self._waiting.sort(key=lambda pair: pair[0])
        for number, pairs in groupby(self._waiting, key=lambda pair: pair[0]):
            rows = np.array([sketch for _, sketch in pairs], dtype=np.float64)
            self._round(number).spread.add(rows)
        self._waiting.clear()

    def _skipped(self, event: Any, entry: PeerTally, peer: str, time: float) -> None:
        entry.skipped += max(0, event.to_round - event.from_round)

    def _evaluated(self, event: Any, entry: PeerTally, peer: str, time: float) -> None:
        if not math.isfinite(event.accuracy):
            return
        last = entry.last
        if last is not None and last.round != event.round and last.round > entry.told_accuracy:
            self._round(last.round).accuracies.append(last.accuracy)
            entry.told_accuracy = last.round
        entry.last = event

    def _equivocated(self, event: Any, entry: PeerTally, peer: str, time: float) -> None:
        key = (event.author, event.sequence, event.proof)
        self.proofs.setdefault(key, {})[peer] = None
        self.proven_at.setdefault((event.author, peer), time)

    def _rolled_back(self, event: Any, entry: PeerTally, peer: str, time: float) -> None:
        rollback = Rollback(
            peer=peer, own_sequence=event.own_sequence, seen_sequence=event.seen_sequence
        )
        self.rolled_back[rollback] = None

    def _members_changed(self, event: Any, entry: PeerTally, peer: str, time: float) -> None:
        self.revoked.update(dict.fromkeys(event.revoked))

    def _transport_warning(self, event: Any, entry: PeerTally, peer: str, time: float) -> None:
        key = (peer, event.what)
        self.warnings[key] = self.warnings.get(key, 0) + 1
