"""A run as a film: what a page that plays through time needs of the event log, in bounded memory.

Time is cut into frames of one width. When there would be more than ``FRAMES`` of them, two
neighbouring frames become one and the width doubles; so a film of an hour and one of a second are
as large. A frame holds what each link carried in it, what was refused, and how the peers stood at
its end.
"""

from __future__ import annotations

import base64
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...gossip.events import (
    Evaluated,
    Event,
    LinkDown,
    LinkUp,
    Mixed,
    PeerStarted,
    Refused,
    Sent,
    Sketched,
)
from ..formats import shown
from ..run_log import FaultMade, LogLine
from .layout import places

FRAMES = 240
MAX_PEERS = 1000  # drawn
MAX_EDGES = 12_000  # drawn
MAX_REFUSED = 2_000  # pairs in all frames together
MAX_NOTES = 200
MAX_BACKLOG_S = 366 * 86_400.0  # a clock that jumps further is a broken one
DOWN = 255  # of a link that is down and carried nothing
NEVER = 65_535  # of an accuracy that nobody has measured

Pair = tuple[int, int]


@dataclass(slots=True)
class Frame:
    """What happened in one span of time, and how the peers stood at its end."""

    sent: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))  # bytes
    refused: Counter[Pair] = field(default_factory=Counter)  # (from, by) -> frames
    accuracy: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    distance: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    down: frozenset[int] = frozenset()
    round: int = 0

    def followed_by(self, later: Frame) -> Frame:
        """The two as one frame."""
        return Frame(
            sent=later.sent + _padded(self.sent, len(later.sent), 0.0),
            refused=self.refused + later.refused,
            accuracy=later.accuracy,
            distance=later.distance,
            down=later.down,
            round=later.round,
        )


class Film:
    """Takes events in the order of their times; ``as_json`` is the film so far."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.notes: list[tuple[float, str]] = []
        self.left_out = Counter[str]()
        self._start: float | None = None
        self._width = 1e-3
        self._frames: list[Frame] = [Frame()]
        self._number: dict[str, int] = {}  # name -> peer
        self._by_id: dict[str, int] = {}  # short id -> peer
        self._edges: dict[Pair, int] = {}
        self._sent = np.zeros(MAX_EDGES, dtype=np.float32)  # in the last frame, by edge
        self._accuracy: list[float] = []
        self._rounds: list[int] = []
        self._sketches: dict[int, NDArray[np.float64]] = {}
        self._down: set[int] = set()

    # -- taking events -----------------------------------------------------------------------

    def add(self, line: LogLine) -> None:
        """Take one event into account; kinds that cannot be seen are left alone."""
        if not isinstance(line.event, Event):
            return
        if self._start is None:
            self._start = line.time
        self._turn_to(line.time)
        self._take(line.event, line.peer)

    def _take(self, event: Event, name: str) -> None:
        match event:
            case Sent():
                self._carried(name, event.to, event.size_bytes)
            case LinkDown() | LinkUp():
                edge = self._edge(name, event.neighbour)
                if edge is not None:
                    (self._down.add if isinstance(event, LinkDown) else self._down.discard)(edge)
            case PeerStarted() | Evaluated() | Mixed() | Sketched() | Refused():
                peer = self._peer(name)
                if peer is not None:
                    self._stands(peer, event)
            case FaultMade():
                nodes = ", ".join(self._name_at(node) for node in event.nodes)
                self._note(f"{event.what} {nodes}".strip())
            case _ if event.kind in ("equivocated", "members-changed", "rolled-back"):
                self._note(f"{event.kind.replace('-', ' ')} (noted by {name})")

    def _stands(self, peer: int, event: Event) -> None:
        match event:
            case PeerStarted():
                self._by_id.setdefault(event.id, peer)
            case Refused():
                sender = self._by_id.get(event.sender)
                if sender is not None:
                    self._frames[-1].refused[sender, peer] += 1
            case Evaluated() if math.isfinite(event.accuracy):
                self._accuracy[peer] = min(max(event.accuracy, 0.0), 1.0)
                self._rounds[peer] = event.round
            case Mixed():
                self._rounds[peer] = event.round
            case Sketched() if event.sketch:
                self._sketches[peer] = np.array(event.sketch)

    def _peer(self, name: str) -> int | None:
        number = self._number.get(name)
        if number is None and name and len(self.names) < MAX_PEERS:
            number = self._number[name] = len(self.names)
            self.names.append(name)
            self._accuracy.append(math.nan)
            self._rounds.append(0)
        elif number is None:
            self.left_out["peers"] += 1
        return number

    def _edge(self, name: str, other: str) -> int | None:
        """The edge between a peer and the one with this short id, None when it is not drawn."""
        a, b = self._peer(name), self._by_id.get(other)
        if a is None or b is None or a == b:
            return None
        pair = (min(a, b), max(a, b))
        edge = self._edges.get(pair)
        if edge is None:
            if len(self._edges) >= MAX_EDGES:
                self.left_out["edges"] += 1
                return None
            edge = self._edges[pair] = len(self._edges)
        return edge

    def _carried(self, name: str, to: str, size_bytes: int) -> None:
        edge = self._edge(name, to)
        if edge is not None:
            self._sent[edge] += size_bytes

    def _name_at(self, node: int) -> str:
        return shown(self.names[node]) if node < len(self.names) else f"node {node}"

    def _note(self, text: str) -> None:
        assert self._start is not None
        if len(self.notes) < MAX_NOTES:
            self.notes.append((self._end(), shown(text, limit=200)))

    # -- time --------------------------------------------------------------------------------

    def _end(self) -> float:
        """Where the last frame begins, in seconds from the start."""
        return (len(self._frames) - 1) * self._width

    def _turn_to(self, time: float) -> None:
        """Close frames until the one that holds ``time`` is the last."""
        assert self._start is not None
        since = min(max(0.0, time - self._start), MAX_BACKLOG_S)
        while since >= FRAMES * self._width:
            self._halve()
        missing = int(since / self._width) + 1 - len(self._frames)
        if missing > 0:
            self._close(self._frames[-1])
            self._sent[:] = 0
            # what happened in between is nothing: the peers stood as they stand
            self._frames += [self._standing() for _ in range(missing)]

    def _halve(self) -> None:
        if len(self._frames) > 1:
            self._close(self._frames[-1])
            pairs = [self._frames[i : i + 2] for i in range(0, len(self._frames), 2)]
            self._frames = [
                pair[0].followed_by(pair[1]) if len(pair) == 2 else pair[0] for pair in pairs
            ]
            self._sent[: len(self._edges)] = self._frames[-1].sent
        self._width *= 2

    def _standing(self) -> Frame:
        frame = Frame()
        self._close(frame)
        return frame

    def _close(self, frame: Frame) -> None:
        """Note what came and how the peers stand."""
        frame.sent = self._sent[: len(self._edges)].copy()
        frame.accuracy = np.array(self._accuracy, dtype=np.float32)
        frame.distance = self._distances()
        frame.down = frozenset(self._down)
        frame.round = sorted(self._rounds)[len(self._rounds) // 2] if self._rounds else 0

    def _distances(self) -> NDArray[np.float32]:
        """How far each peer's model is from the mean of all, by the sketches; NaN: unknown."""
        found = np.full(len(self.names), np.nan, dtype=np.float32)
        lengths = Counter(len(sketch) for sketch in self._sketches.values())
        if not lengths:
            return found
        usual = lengths.most_common(1)[0][0]
        peers = [peer for peer, sketch in self._sketches.items() if len(sketch) == usual]
        with np.errstate(all="ignore"):
            rows = np.stack([self._sketches[peer] for peer in peers])
            apart = np.sqrt(np.square(rows - rows.mean(axis=0)).sum(axis=1)).astype(np.float32)
        found[peers] = np.where(np.isfinite(apart), apart, np.nan)
        return found

    # -- giving ------------------------------------------------------------------------------

    def as_json(self) -> dict[str, Any]:
        """The whole film. Arrays are base64 of little-endian numbers, frame after frame:
        ``bytes`` uint8 (frames, edges), ``accuracy`` uint16 (frames, peers), in ten-thousandths,
        ``distance`` float32 (frames, peers).
        """
        self._close(self._frames[-1])
        refused: list[list[int]] = []
        for number, frame in enumerate(self._frames):
            refused += [[number, *pair, count] for pair, count in frame.refused.items()]
        return {
            "start": self._start or 0.0,
            "width": self._width,
            "frames": len(self._frames),
            "rounds": [frame.round for frame in self._frames],
            "peers": [shown(name, limit=60) for name in self.names],
            "places": places(len(self.names), list(self._edges)),
            "edges": [list(pair) for pair in self._edges],
            "bytes": _packed([self._loads(frame) for frame in self._frames]),
            "accuracy": _packed([self._accuracies(frame) for frame in self._frames]),
            "distance": _packed([self._distance(frame) for frame in self._frames]),
            "refused": refused[:MAX_REFUSED],
            "notes": [[at, text] for at, text in self.notes],
            "leftOut": dict(self.left_out),
        }

    def last_frame(self) -> dict[str, Any]:
        """The frame that is being filmed, for a page that has all earlier ones."""
        frame = self._frames[-1]
        self._close(frame)
        return {
            "frame": len(self._frames) - 1,
            "round": frame.round,
            "bytes": _packed([self._loads(frame)]),
            "accuracy": _packed([self._accuracies(frame)]),
            "distance": _packed([self._distance(frame)]),
            "refused": [[*pair, count] for pair, count in frame.refused.items()][:MAX_REFUSED],
        }

    def shape(self) -> tuple[float, int, int, int, int]:
        """Width, frames, peers, edges, notes: while none changes, ``last_frame`` is all news."""
        counts = (len(self.names), len(self._edges), len(self.notes))
        return (self._width, len(self._frames), *counts)

    def _loads(self, frame: Frame) -> NDArray[np.uint8]:
        """What each edge carried, eight steps to a doubling: 1 + 8 log2(bytes); 0: nothing."""
        sent = _padded(frame.sent, len(self._edges), 0.0)
        steps = np.minimum(1 + np.rint(8 * np.log2(np.maximum(sent, 1))), DOWN - 1)
        codes = np.where(sent > 0, steps, 0).astype(np.uint8)
        silent = [edge for edge in frame.down if not codes[edge]]
        codes[silent] = DOWN
        return codes

    def _accuracies(self, frame: Frame) -> NDArray[np.uint16]:
        shares = _padded(frame.accuracy, len(self.names), np.nan)
        codes = np.rint(np.nan_to_num(shares) * 10_000)
        return np.where(np.isnan(shares), NEVER, codes).astype("<u2")

    def _distance(self, frame: Frame) -> NDArray[np.float32]:
        return _padded(frame.distance, len(self.names), np.nan).astype("<f4")


def _padded(values: NDArray[np.float32], length: int, filling: float) -> NDArray[np.float32]:
    """The values, and the filling for those that were not there yet."""
    return np.concatenate([values, np.full(length - len(values), filling, dtype=np.float32)])


def _packed(rows: list[NDArray[Any]]) -> str:
    return base64.b64encode(b"".join(row.tobytes() for row in rows)).decode("ascii")
