"""How well and how fast a scenario learns, run in memory on the array engine: no folder, no log.

For tables and searches of hundreds of small runs, where writing each event of each peer would take
longer than the learning.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..gossip.events import Evaluated, Event, Sent
from .arms import arm_of
from .engines.array.start import begin
from .run_events import ConsensusMeasured, RoundDone
from .scenario import Scenario
from .world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Means over the peers after each round, (R,).

    ``accuracy`` is that of their own models, NaN where they were not tested, ``messages`` how many
    each has sent until then, and ``wire_bytes`` how long these were in all, with headers,
    signatures and seals. ``ends`` (N,) are the last accuracies of the single peers.
    """

    accuracy: NDArray[np.float64]
    messages: NDArray[np.float64]
    wire_bytes: NDArray[np.float64]
    ends: NDArray[np.float64]

    def rounds_to(self, accuracy: float) -> int | None:
        """After how many rounds the mean accuracy is first reached; None: never."""
        reached = np.flatnonzero(self.accuracy >= accuracy)
        return int(reached[0]) + 1 if len(reached) else None


def learning_curve(scenario: Scenario) -> Curve:
    """Run the one arm of ``scenario`` on the array engine, whatever engine it names.

    Raises ConfigError for what the engine cannot do.
    """
    (arm,) = scenario.arms
    world = World(arm_of(scenario, arm))
    totals = _Totals()
    with tempfile.TemporaryDirectory() as folder:  # nothing is put into it
        run = begin(world, Path(folder), totals.sink, chronicle=totals)
        run.run()
    return totals.curve(world.scenario.peers)


@dataclass
class _Totals:
    """A chronicle that keeps one line a round: how good the models are, and what was sent."""

    sees_vectors: bool = False
    accuracy: list[float] = field(default_factory=list)
    messages: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    ends: dict[int, float] = field(default_factory=dict)
    _sent: list[int] = field(default_factory=list)

    def told(self, time: float, event: RoundDone | ConsensusMeasured) -> None:
        """A round of gossip has ended."""
        if isinstance(event, RoundDone):
            mean = event.accuracy_mean
            self._add(np.nan if mean is None else mean, event.messages_sent, event.bytes_sent)

    def sink(self, time: float, peer: str, event: Event) -> None:
        """What the central arms note: what was sent in a round, then, of each peer, a test."""
        if isinstance(event, Sent):
            self._sent.append(event.size_bytes)
        elif isinstance(event, Evaluated) and event.round > len(self.accuracy):
            for _ in range(event.round - len(self.accuracy) - 1):
                self._add(np.nan, 0, 0)
            self._add(event.accuracy, len(self._sent), sum(self._sent))
            self._sent.clear()

    def _add(self, accuracy: float, messages: int, size_bytes: int) -> None:
        self.accuracy.append(accuracy)
        self.messages.append(messages)
        self.sizes.append(size_bytes)

    def curve(self, peers: int) -> Curve:
        """The means over so many peers; those of a central arm all hold one model."""
        return Curve(
            accuracy=np.array(self.accuracy),
            messages=np.cumsum(self.messages) / peers,
            wire_bytes=np.cumsum(self.sizes) / peers,
            ends=np.array([self.ends.get(peer, self.accuracy[-1]) for peer in range(peers)]),
        )

    def evaluated(self, nodes: Any, rounds: Any, times: Any, scores: Any) -> None:
        """Some peers were tested."""
        self.ends.update(zip(nodes.tolist(), scores.accuracy.tolist(), strict=True))

    # Of single peers nothing else is kept.

    def began(self, parameters: int) -> None:
        """See ``Chronicle``."""

    def skipped(self, done: Any) -> None:
        """See ``Chronicle``."""

    def published(self, done: Any, copies: Any) -> None:
        """See ``Chronicle``."""

    def posted(self, frames: Any) -> None:
        """See ``Chronicle``."""

    def mixed(self, done: Any, models: Any) -> None:
        """See ``Chronicle``."""

    def finished(self, nodes: Any, rounds: Any, times: Any, copies: Any) -> None:
        """See ``Chronicle``."""

    def settle(self, until: float) -> None:
        """See ``Chronicle``."""

    def stopped(self, nodes: NDArray[np.bool_]) -> None:
        """See ``Chronicle``."""

    def flush(self) -> None:
        """See ``Chronicle``."""

    def close(self) -> None:
        """See ``Chronicle``."""
