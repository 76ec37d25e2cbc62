"""Learning curves over rounds, in bounded memory: what a page draws, live or afterwards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...gossip.events import Evaluated, Event, Mixed, Released, Sent, Sketched
from ..run_log import LogLine
from ..summary_values import RoundRow

POINTS = 512  # of a curve; beyond that every second round is let go


@dataclass(slots=True)
class Spread:
    """Numbers of which only count, mean, spread and ends are kept (Welford 1962)."""

    count: int = 0
    mean: float = 0.0
    square: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def add(self, value: float) -> None:
        """Take one number into account."""
        self.count += 1
        step = value - self.mean
        self.mean += step / self.count
        self.square += step * (value - self.mean)
        self.low, self.high = min(self.low, value), max(self.high, value)

    @property
    def deviation(self) -> float:
        """The standard deviation of the numbers."""
        return math.sqrt(self.square / self.count) if self.count else 0.0


@dataclass(slots=True)
class Apart:
    """Sketches of one round, of which sum and summed squares tell how far apart they are."""

    count: int = 0
    total: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    squares: float = 0.0

    def add(self, sketch: tuple[float, ...]) -> None:
        """Take one peer's sketch into account; one of another length is of another network."""
        row = np.array(sketch)
        if self.count and row.shape != self.total.shape:
            return
        with np.errstate(all="ignore"):
            self.total = self.total + row if self.count else row
            self.squares += float(row @ row)
        self.count += 1

    @property
    def distance(self) -> float:
        """sqrt(mean_i |s_i - mean|^2); NaN when a model has diverged."""
        if not self.count:
            return math.nan
        with np.errstate(all="ignore"):
            mean = self.total / self.count
            square = self.squares / self.count - float(mean @ mean)
        return math.sqrt(max(square, 0.0)) if math.isfinite(square) else math.nan


@dataclass(slots=True)
class Point:
    """One round."""

    accuracy: Spread = field(default_factory=Spread)
    apart: Apart = field(default_factory=Apart)
    epsilon: float | None = None
    sent: int = 0


class Curves:
    """Takes events in any order; ``as_json`` is the curves so far.

    When there are more than ``POINTS`` rounds, every second one is let go, and again.
    """

    def __init__(self) -> None:
        self._points: dict[int, Point] = {}
        self._every = 1
        self._round: dict[str, int] = {}

    def add(self, line: LogLine) -> None:
        """Take one event into account."""
        event = line.event
        if isinstance(event, Sent):
            point = self._point(self._round.get(line.peer, 1))
            if point is not None:
                point.sent += event.size_bytes
        elif isinstance(event, Evaluated | Mixed | Released | Sketched):
            self._round[line.peer] = event.round
            point = self._point(event.round)
            if point is not None:
                _take(point, event)

    def _point(self, round_: int) -> Point | None:
        if round_ < 0 or round_ % self._every:
            return None
        point = self._points.get(round_)
        if point is None:
            point = self._points[round_] = Point()
            while len(self._points) > POINTS:
                self._every *= 2
                self._points = {r: p for r, p in self._points.items() if not r % self._every}
        return point

    def as_json(self) -> dict[str, Any]:
        """Lists of equal length by round: mean, ends and deviation of the accuracy, distance,
        epsilon, and bytes sent by all peers; null where nothing is known.
        """
        rounds = sorted(self._points)
        points = [self._points[round_] for round_ in rounds]
        told = [point.accuracy.count > 0 for point in points]
        accuracies = [point.accuracy for point in points]

        def of(name: str) -> list[float | None]:
            return [
                _number(getattr(accuracy, name)) if there else None
                for accuracy, there in zip(accuracies, told, strict=True)
            ]

        return {
            "rounds": rounds,
            "every": self._every,
            "mean": of("mean"),
            "low": of("low"),
            "high": of("high"),
            "deviation": of("deviation"),
            "distance": [_number(point.apart.distance) for point in points],
            "epsilon": [_number(point.epsilon) for point in points],
            "sent": [point.sent for point in points],
        }


def curves_of(rounds: Sequence[RoundRow]) -> dict[str, Any]:
    """The same of a summary's rounds, where a run is too large to take its events one by one.

    Without bytes where no engine has told them.
    """
    every = max(1, -(-len(rounds) // POINTS))
    kept = rounds[::every]
    return {
        "rounds": [row.round for row in kept],
        "every": every,
        "mean": [_number(row.accuracy_mean) for row in kept],
        "low": [_number(row.accuracy_min) for row in kept],
        "high": [_number(row.accuracy_max) for row in kept],
        "deviation": [_number(row.accuracy_deviation) for row in kept],
        "distance": [_number(row.consensus_distance) for row in kept],
        "epsilon": [_number(row.epsilon_max) for row in kept],
        "sent": [row.bytes_sent for row in kept],
    }


def _take(point: Point, event: Event) -> None:
    match event:
        case Evaluated() if math.isfinite(event.accuracy):
            point.accuracy.add(event.accuracy)
        case Sketched() if event.sketch:
            point.apart.add(event.sketch)
        case Released() if event.epsilon is not None and not math.isnan(event.epsilon):
            point.epsilon = max(point.epsilon or 0.0, event.epsilon)


def _number(value: float | None) -> float | None:
    """A number that JSON has, with six digits."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
