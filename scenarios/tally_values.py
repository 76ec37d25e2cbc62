"""What a tally knows of one peer, one round and one road between two peers, so far.

Each takes so many bytes for a peer, a link or a round, or a few for each peer and round: a log of
any length fits.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Sketch = NDArray[np.float64]
NEVER = 2**62  # a stride that divides no sequence number but 0
MARKS = 16  # so many frames of a road are remembered with their times


@dataclass(slots=True)
class Road:
    """Frames from one peer to another, as one of the two noted them.

    ``marks`` has the times of some news by author and sequence: those whose sequence ``stride``
    divides, a power of two that grows so that they stay few. Sender and receiver so remember the
    same news, without knowing of each other. ``sequence`` and ``state``
    are those of the copy of the sender's own feed that the receiver came to last.
    """

    messages: int = 0
    bytes: int = 0
    stride: int = 1
    sequence: int = 0
    state: str = ""
    marks: dict[tuple[str, int], float] = field(default_factory=dict)

    def mark(self, author: str, sequence: int, time: float) -> None:
        """Remember when news, whose sequence the stride divides, went or came first."""
        if sequence <= 0:
            return
        self.marks.setdefault((author, sequence), time)
        while len(self.marks) > MARKS and self.stride < 2**40:
            self.stride *= 2
            self.marks = {key: at for key, at in self.marks.items() if key[1] % self.stride == 0}


@dataclass(slots=True)
class LinkTally:
    """How often a link came and went as one end saw it, and why it last went."""

    up: int = 0
    down: int = 0
    why: str = ""


@dataclass(slots=True)
class Companion:
    """A neighbour in the mixing of one peer: weights given to it, rounds that went without it."""

    mixed: int = 0
    weight: float = 0.0
    last_mixed: int = 0
    missed: int = 0
    first_missed: int = 0
    last_missed: int = 0


@dataclass(slots=True)
class PeerTally:
    """One peer so far; ``epsilon`` and ``delta`` are its largest, times are of its own clock.

    ``published_at`` has the time of the entry of each round in ``published_rounds``, and
    ``mixed_at`` the end of each in ``mixed_rounds``.
    """

    id: str = ""
    index: int = -1
    starts: int = 0
    finished: bool = False
    finished_at: float = math.inf  # first time
    first_time: float = math.inf
    last_time: float = -math.inf
    rounds: int = 0
    furthest: int = -1
    last: Any = None  # the last Evaluated
    released: Any = None  # a Released that tells of training, if there was one
    epsilon: float | None = None
    epsilon_before: float | None = None
    delta: float | None = None
    releases: int = 0
    captured: float = 0.0  # sum of Published.captured
    budget_spent_round: int | None = None
    budget_spent_at: float = 0.0
    refused: int = 0
    missing: int = 0
    skipped: int = 0
    sketch: tuple[float, ...] = ()
    sketch_round: int = -1
    told_sketch: int = -1  # up to this round, sketches and accuracies are in the rounds' tallies
    told_accuracy: int = -1
    to: dict[str, Road] = field(default_factory=dict)  # by short id
    heard: dict[str, Road] = field(default_factory=dict)  # by short id
    marks: bool = True  # whether its roads remember the times of frames
    companions: dict[str, Companion] = field(default_factory=dict)  # by short id
    published_rounds: array[int] = field(default_factory=lambda: array("q"))
    published_at: array[float] = field(default_factory=lambda: array("d"))
    mixed_rounds: array[int] = field(default_factory=lambda: array("q"))
    mixed_at: array[float] = field(default_factory=lambda: array("d"))

    def road_to(self, peer_id: str) -> Road:
        """Frames to another, none yet."""
        return self.to.setdefault(peer_id, Road(stride=1 if self.marks else NEVER))

    def road_from(self, peer_id: str) -> Road:
        """Frames from another, none yet."""
        return self.heard.setdefault(peer_id, Road(stride=1 if self.marks else NEVER))

    def companion(self, peer_id: str) -> Companion:
        """What is known of this peer's mixing with another."""
        found = self.companions.get(peer_id)
        if found is None:
            found = self.companions[peer_id] = Companion()
        return found


class Spread:
    """The consensus distance sqrt(mean_i ||x_i - mean||^2) of sketches that come one by one.

    An estimate: the sketches are linear maps of the models to 64 numbers, so the mean's sketch is
    the sketches' mean, and squared lengths are right in expectation. Sums are of differences to
    the first sketch, for models may be much closer to each other than to zero.
    """

    __slots__ = ("_first", "_squares", "_sum", "count")

    def __init__(self, sketches: Sequence[Sequence[float]] = ()) -> None:
        self.count = 0
        self._first: Sketch | None = None
        self._sum: Any = 0.0
        self._squares = 0.0
        if sketches:
            self.add(np.array(sketches, dtype=np.float64))

    def add(self, sketches: Sketch) -> None:
        """Take the sketches (n, 64) of n more models into account."""
        if self._first is None:
            self._first = sketches[0].copy()
        with np.errstate(all="ignore"):
            apart = sketches - self._first
            self._sum = self._sum + apart.sum(axis=0)
            self._squares += float(np.vdot(apart, apart))
        self.count += len(sketches)

    def copy(self) -> Spread:
        """Another that goes on from here."""
        twin = Spread()
        twin.count, twin._first = self.count, self._first
        twin._sum, twin._squares = self._sum, self._squares
        return twin

    @property
    def distance(self) -> float | None:
        """None without sketches, or when a model has diverged past what floats hold."""
        if not self.count:
            return None
        with np.errstate(all="ignore"):
            mean = np.asarray(self._sum) / self.count
            square = self._squares / self.count - float(mean @ mean)
        return math.sqrt(max(0.0, square)) if math.isfinite(square) else None


@dataclass(slots=True)
class RoundTally:
    """What the peers reported of one round; of those that went on to another, their last word.

    ``measured`` is the consensus distance that an engine took of the models themselves, ``sent``
    the bytes that it counted.
    """

    accuracies: array[float] = field(default_factory=lambda: array("d"))
    spread: Spread = field(default_factory=Spread)
    measured: float | None = None
    sent: int | None = None
    epsilon: float | None = None


@dataclass(slots=True)
class Pull:
    """Cosines of one peer's steps with those of the others, in the eyes of who heard it."""

    cosines: float = 0.0  # their sum
    count: int = 0
    others: int = 0  # sum of the numbers of steps that were compared with


@dataclass(slots=True)
class RefusalTally:
    """Refusals of one peer, sender and reason, and what the last was about."""

    count: int = 0
    detail: str = ""
    first_time: float = math.inf
    last_time: float = -math.inf


def largest(one: float | None, other: float | None) -> float | None:
    """The larger of two numbers that may be missing or not numbers."""
    if other is None or math.isnan(other):
        return one
    return other if one is None else max(one, other)
