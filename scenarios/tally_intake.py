"""Taking events into account, one after another: the writing side of a tally (tally.py)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from ..gossip.events import Event
from .copies import CopyChecker
from .log_line import LogLine
from .records import Record, record_of
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
    largest,
)
from .traffic import TRAFFIC, Traffic

PULL_ROUNDS = 5  # alignments are added up over so many rounds
SKETCHES_AT_ONCE = 128
MAX_MARKED = 600  # peers; the clocks of more are not compared (scenarios/clock_skew.py)
MAX_TRANSITIONS = 200_000  # of links, kept with their times


class Intake:
    """What has been added up so far, and how each kind of event adds to it."""

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
        self.roads: dict[str, int] = defaultdict(int)
        self.proofs: dict[tuple[str, int, str], dict[str, None]] = {}
        self.proven_at: dict[tuple[str, str], float] = {}  # by author's id and reporter
        self.rolled_back: dict[Rollback, None] = {}
        self.revoked: dict[str, None] = {}
        self.warnings: dict[tuple[str, str], int] = {}
        self.pulls: dict[int, dict[str, Pull]] = {}  # by rounds // PULL_ROUNDS, then by short id
        self._copies = CopyChecker()
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
            "refused": self._refused,
            "mixed": self._mixed,
            "sketched": self._sketched,
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
            self.add_records((record_of(line),))
        else:
            self._see(line.time)

    def add_records(self, records: Sequence[Record]) -> None:  # noqa: PLR0912 (calls cost more)
        """Take many lines into account; after the last of them ``settle``."""
        if isinstance(records, TableRows) and records.kind in TRAFFIC:
            self._traffic.add(records)
            return
        peers, handlers, roads = self.peers, self._handlers, self.roads
        for record in records:
            kind, name, time = record.kind, record.peer, record.time
            entry = peers.get(name)
            # most lines are of these two kinds, so what they need stands here, without a call
            if entry is not None and kind == "sent":
                entry.last_time = time
                road = entry.to.get(record.to) or entry.road_to(record.to)
                road.bytes += record.size_bytes
                road.messages += 1
                sequence = record.sequence
                if sequence and sequence % road.stride == 0:
                    road.mark(record.author, sequence, time)
            elif entry is not None and kind == "received":
                entry.last_time = time
                road = entry.heard.get(record.sender) or entry.road_from(record.sender)
                road.bytes += record.size_bytes
                road.messages += 1
                state = record.state
                if state:
                    sequence = record.sequence
                    roads[record.road] += 1
                    if record.author != record.sender:
                        self._copies.received(name, record.author, sequence, state)
                    elif sequence >= road.sequence:
                        road.sequence, road.state = sequence, state
                    if sequence % road.stride == 0:
                        road.mark(record.author, sequence, time)
            elif kind in handlers:
                if entry is None:
                    entry = self._peer(name, time)
                entry.last_time = time
                handlers[kind](record, entry, name, time)
            elif kind in TRAFFIC:
                self._peer(name, time)
                self.add_records((record,))
            else:
                self._see(time)
                self._of_the_engine(record, kind)

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
            entry.marks = len(self.peers) <= MAX_MARKED
        return entry

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
            case "round-done":
                self._round(event.round).sent = event.bytes_sent

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
            self._copies.published(peer, event.sequence, event.state)

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
        companions = entry.companions
        for other, weight in event.neighbours.items():
            companion = companions.get(other) or entry.companion(other)
            companion.mixed += 1
            companion.weight += weight
            companion.last_mixed = number
        for other in event.missing:
            companion = entry.companion(other)
            companion.missed += 1
            companion.last_missed = number
            if companion.missed == 1:
                companion.first_missed = number
        entry.missing += len(event.missing)

    def _sketched(self, event: Any, entry: PeerTally, peer: str, time: float) -> None:
        if event.alignment:
            self._aligned(event.alignment, event.round)
        if event.sketch:
            self._placed(event.sketch, entry, event.round)

    def _aligned(self, cosines: dict[str, float], round_: int) -> None:
        pulls = self.pulls.setdefault(round_ // PULL_ROUNDS, {})
        others = len(cosines)
        for other, cosine in cosines.items():
            pull = pulls.get(other) or pulls.setdefault(other, Pull())
            pull.cosines += cosine
            pull.count += 1
            pull.others += others

    def _placed(self, numbers: tuple[float, ...], entry: PeerTally, round_: int) -> None:
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
