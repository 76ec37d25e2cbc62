"""Health and metrics of a running peer, from the events that it notes and nothing else.

The text is Prometheus' exposition format 0.0.4, written by hand: a board needs no client library
for it. An event log may be shared, and so may this.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from .. import __version__
from ..gossip.events import (
    BudgetSpent,
    Evaluated,
    Event,
    LinkDown,
    LinkUp,
    Mixed,
    PeerFinished,
    PeerStarted,
    Received,
    Refused,
    Released,
    RolledBack,
    Sent,
    Skipped,
)
from .clock import wall_time
from .metrics_text import Family, metrics_lines
from .status import Status

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """What is known of a peer now. Events are seen and texts made on one thread.

    ``status`` is what the folder told before the start: without it a peer that was restarted
    would have spent nothing.
    """

    def __init__(self, status: Status) -> None:
        self._status = status
        self._round = status.progress.round if status.progress is not None else 0
        self._epsilon = status.privacy.spent
        self._releases = status.privacy.releases
        self._links: set[str] = set()
        self._lost = 0
        self._evaluated: Evaluated | None = None
        self._missing: int | None = None
        self._mixed_at: float | None = None
        self._is_finished = self._is_spent = self._is_rolled_back = False
        self._refused: Counter[str] = Counter()
        self._sent: Counter[str] = Counter()
        self._sent_bytes: Counter[str] = Counter()
        self._received: Counter[str] = Counter()
        self._received_bytes: Counter[str] = Counter()

    def see(self, event: Event) -> None:
        """Take in one event."""
        take = _TAKES.get(type(event))
        if take is not None:
            take(self, event)

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Whether nobody needs to look after this peer, and what can be said in a few words.

        A peer that is alone is well: it trains, and its links come back by themselves. One that
        was rolled back (its folder is a copy or an old backup) is not.
        """
        if self._is_rolled_back:
            state = "rolled-back"
        elif self._is_finished:
            state = "finished"
        else:
            state = "ok" if self._links else "alone"
        told = {
            "state": state,
            "name": self._status.name,
            "id": self._status.id,
            "round": self._round,
            "links": len(self._links),
            "trains": not (self._is_finished or self._is_spent or self._is_rolled_back),
        }
        return state != "rolled-back", told

    def text(self) -> str:
        """All metrics, in Prometheus' format."""
        lines = [*metrics_lines(self._families())]
        memory = _resident_bytes()
        if memory is not None:
            lines += [
                "# HELP process_resident_memory_bytes Resident memory of the process.",
                "# TYPE process_resident_memory_bytes gauge",
                f"process_resident_memory_bytes {memory}",
            ]
        return "\n".join(lines) + "\n"

    def _families(self) -> Iterable[Family]:
        status, privacy, tested = self._status, self._status.privacy, self._evaluated
        about = {"name": status.name, "id": status.id, "version": __version__}
        rounds = None
        if status.membership is not None:
            about["network"] = status.membership.name
            rounds = status.membership.rounds
        left = None
        if self._epsilon is not None and privacy.budget is not None:
            left = max(0.0, privacy.budget - self._epsilon)
        yield "info", "gauge", "Who this is.", [(about, 1)]
        yield _gauge("round", "The round that the peer is in.", self._round)
        yield _gauge("rounds", "Rounds that the network plans.", rounds)
        yield _gauge("finished", "1 when all rounds are done.", self._is_finished)
        yield _gauge("rolled_back", "1 when the folder is an old backup.", self._is_rolled_back)
        yield _gauge("links", "Neighbours that can be reached.", len(self._links))
        yield "links_lost_total", "counter", "Links that broke.", [({}, self._lost)]
        yield _gauge("missing", "Neighbours unheard in the last round.", self._missing)
        yield _gauge("mixed_timestamp_seconds", "When the last round ended.", self._mixed_at)
        yield _gauge("accuracy", "On held-out data, 0 to 1.", tested.accuracy if tested else None)
        yield _gauge("loss", "Mean loss on held-out data.", tested.loss if tested else None)
        yield _gauge("epsilon_spent", "Privacy spent by all releases.", self._epsilon)
        yield _gauge("epsilon_left", "Privacy left of the budget.", left)
        yield _gauge("delta", "The delta of both epsilons.", privacy.delta)
        yield _gauge("budget_spent", "1 when it trains no more.", self._is_spent)
        yield "releases_total", "counter", "Releases in the ledger.", [({}, self._releases)]
        yield _counter("refused_frames_total", "Frames refused.", "reason", self._refused)
        yield _counter("sent_frames_total", "Frames sent.", "message", self._sent)
        yield _counter("sent_bytes_total", "Bytes sent.", "message", self._sent_bytes)
        yield _counter("received_frames_total", "Frames taken.", "message", self._received)
        yield _counter("received_bytes_total", "Bytes taken.", "message", self._received_bytes)

    # -- events ----------------------------------------------------------------------------

    def _linked(self, event: LinkUp) -> None:
        self._links.add(event.neighbour)

    def _unlinked(self, event: LinkDown) -> None:
        if event.neighbour in self._links:
            self._links.remove(event.neighbour)
            self._lost += 1

    def _in_round(self, event: PeerStarted) -> None:
        self._round = event.round

    def _skipped(self, event: Skipped) -> None:
        self._round = event.to_round

    def _mixed(self, event: Mixed) -> None:
        self._round = event.round + 1
        self._missing = len(event.missing)
        self._mixed_at = wall_time()

    def _tested(self, event: Evaluated) -> None:
        self._evaluated = event

    def _released(self, event: Released) -> None:
        if event.mechanism != "post-processing":
            self._releases += 1
        if event.epsilon is not None:
            self._epsilon = event.epsilon

    def _spent(self, event: BudgetSpent) -> None:
        self._is_spent = True

    def _finished(self, event: PeerFinished) -> None:
        self._is_finished, self._round = True, event.round

    def _rolled_back(self, event: RolledBack) -> None:
        self._is_rolled_back = True

    def _was_refused(self, event: Refused) -> None:
        self._refused[event.reason] += 1

    def _was_sent(self, event: Sent) -> None:
        self._sent[event.message] += 1
        self._sent_bytes[event.message] += event.size_bytes

    def _was_received(self, event: Received) -> None:
        self._received[event.message] += 1
        self._received_bytes[event.message] += event.size_bytes


_TAKES: dict[type[Event], Callable[[Metrics, Any], None]] = {
    PeerStarted: Metrics._in_round,
    PeerFinished: Metrics._finished,
    LinkUp: Metrics._linked,
    LinkDown: Metrics._unlinked,
    Released: Metrics._released,
    BudgetSpent: Metrics._spent,
    Sent: Metrics._was_sent,
    Received: Metrics._was_received,
    Refused: Metrics._was_refused,
    Mixed: Metrics._mixed,
    Skipped: Metrics._skipped,
    Evaluated: Metrics._tested,
    RolledBack: Metrics._rolled_back,
}


def _gauge(name: str, words: str, value: float | None) -> Family:
    return name, "gauge", words, [({}, value)]


def _counter(name: str, words: str, label: str, counts: Mapping[str, int]) -> Family:
    return name, "counter", words, [({label: key}, counts[key]) for key in sorted(counts)]


def _resident_bytes() -> int | None:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * mmap.PAGESIZE
