"""The log of thousands of peers: the same facts as tables (scenarios/event_tables.py).

Left out is what costs more than a round itself: the hashes of public copies, the sketches of
models, and who received what was sent. The engine measures the consensus distance of the models.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ....crypto.identity import short_id
from ....gossip.block_mixing import NOBODY
from ....gossip.events import (
    BudgetSpent,
    Evaluated,
    Mixed,
    PeerFinished,
    PeerStarted,
    Published,
    Released,
    Sent,
    Skipped,
)
from ....gossip.grid import FloatVector, GridVector
from ...event_tables import EventTables, coded, ragged
from ...run_events import ConsensusMeasured, RoundDone
from ...world import World
from .chronicle import Mixture, Posted, Return, Sink
from .rounds import Publication
from .tape import Nodes, Times
from .workers import Scores


class TableChronicle:
    """Writes tables into a run's folder; ``sink`` takes what the engine itself notes."""

    sees_vectors = False

    def __init__(self, world: World, folder: Path, sink: Sink) -> None:
        names = [certificate.name for certificate in world.certificates]
        self._tables = EventTables(folder, names)
        self._sink = sink
        self._network = world.network.network_id.hex()
        self._ids = [short_id(certificate.verify_key) for certificate in world.certificates]
        self._stopped: set[int] = set()

    def began(self, parameters: int) -> None:
        """See ``Chronicle``."""
        nodes = np.arange(len(self._ids))
        self._tables.append(
            PeerStarted,
            time=0.0,
            peer=nodes,
            id=self._ids,
            index=nodes,
            round=1,
            sequence=0,
            network=self._network,
            parameters=parameters,
        )

    def skipped(self, done: Return) -> None:
        """See ``Chronicle``."""
        there = done.versions != NOBODY
        stale = there & (done.versions != done.to_rounds[:, None])
        apart = done.to_rounds[:, None] - done.versions
        self._tables.append(
            Skipped,
            time=done.times,
            peer=done.nodes,
            from_round=done.from_rounds,
            to_round=done.to_rounds,
            neighbours=self._mapping(there, done.neighbours, done.weights),
            staleness=self._mapping(stale, done.neighbours, apart),
        )

    def published(self, done: Publication, copies: GridVector | None) -> None:
        """See ``Chronicle``; hashes are left out."""
        self._released(done)
        for i, why in done.trained.stopped.items():
            if int(done.nodes[i]) not in self._stopped:
                self._stopped.add(int(done.nodes[i]))
                event = done.trained.released[i]
                self._tables.append(
                    BudgetSpent,
                    time=done.times[i : i + 1],
                    peer=done.nodes[i : i + 1],
                    round=event.round,
                    epsilon=event.epsilon or 0.0,
                    delta=event.delta or 0.0,
                    why=why,
                )
        self._tables.append(
            Published,
            time=done.times,
            peer=done.nodes,
            round=done.rounds,
            sequence=done.sequences,
            state="",
            size_bytes=done.sizes,
            captured=done.captured,
        )

    def _released(self, done: Publication) -> None:
        """Nodes that tell the same of their release are noted together."""
        alike: dict[int, list[int]] = {}
        for i, event in enumerate(done.trained.released):
            alike.setdefault(id(event), []).append(i)
        for rows in alike.values():
            fields = done.trained.released[rows[0]].as_fields()
            del fields["event"]
            self._tables.append(Released, time=done.times[rows], peer=done.nodes[rows], **fields)

    def posted(self, frames: Posted) -> None:
        """See ``Chronicle``; that they were received is left out."""
        is_news = frames.message == "news"
        self._tables.append(
            Sent,
            time=frames.times,
            peer=frames.senders,
            to=coded(self._ids, frames.to),
            message=frames.message,
            size_bytes=frames.sizes,
            author=coded(self._ids, frames.senders) if is_news else "",
            sequence=frames.sequences if is_news else 0,
        )

    def mixed(self, done: Mixture, models: FloatVector | None) -> None:
        """See ``Chronicle``; sketches are left out."""
        there = done.versions != NOBODY
        late = (done.neighbours != NOBODY) & ~there
        stale = there & (done.versions != done.rounds[:, None])
        apart = done.rounds[:, None] - done.versions
        self._tables.append(
            Mixed,
            time=done.times,
            peer=done.nodes,
            round=done.rounds,
            neighbours=self._mapping(there, done.neighbours, done.weights),
            missing=self._names(done.neighbours, late) if late.any() else (),
            gamma=done.gamma,
            staleness=self._mapping(stale, done.neighbours, apart),
        )

    def _names(self, neighbours: NDArray[np.int64], where: NDArray[np.bool_]) -> list[list[str]]:
        rows = zip(neighbours, where, strict=True)
        return [[self._ids[node] for node in row[here].tolist()] for row, here in rows]

    def _mapping(
        self, where: NDArray[np.bool_], neighbours: NDArray[np.int64], values: NDArray[np.generic]
    ) -> object:
        offsets = np.concatenate([[0], np.cumsum(where.sum(axis=1))])
        return ragged(offsets, coded(self._ids, neighbours[where]), values[where])

    def evaluated(self, nodes: Nodes, rounds: Nodes, times: Times, scores: Scores) -> None:
        """See ``Chronicle``."""
        self._tables.append(
            Evaluated,
            time=times,
            peer=nodes,
            round=rounds,
            accuracy=scores.accuracy,
            loss=scores.loss,
            samples=scores.samples,
        )

    def finished(
        self, nodes: Nodes, rounds: Nodes, times: Times, copies: GridVector | None
    ) -> None:
        """See ``Chronicle``; hashes are left out."""
        self._tables.append(PeerFinished, time=times, peer=nodes, round=rounds, state="")

    def told(self, time: float, event: RoundDone | ConsensusMeasured) -> None:
        """See ``Chronicle``."""
        self._sink(time, "", event)

    def settle(self, until: float) -> None:
        """Tables need no order of times."""

    def stopped(self, nodes: NDArray[np.bool_]) -> None:
        """See ``Chronicle``."""
        self._stopped = set(np.flatnonzero(nodes).tolist())

    def flush(self) -> None:
        """End the parts that are being written, so that they can be read."""
        self._tables.close()

    def close(self) -> None:
        """Write what is buffered."""
        self._tables.close()
