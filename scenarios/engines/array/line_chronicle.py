"""The log of a small network: lines, each with the hash of its copy and the sketch of its model.

They are handed on in the order of their times, as real peers' would be.
"""

from __future__ import annotations

import heapq
import math
import sys
from itertools import count

import numpy as np
from numpy.typing import NDArray

from ....crypto.identity import short_id
from ....gossip.block_mixing import NOBODY
from ....gossip.events import (
    BudgetSpent,
    Evaluated,
    Event,
    Mixed,
    PeerFinished,
    PeerStarted,
    Published,
    Received,
    Sent,
    Sketched,
    Skipped,
)
from ....gossip.grid import FloatVector, GridVector, state_hash
from ....gossip.sketch import noted
from ...run_events import ConsensusMeasured, RoundDone
from ...world import World
from .chronicle import Mixture, Posted, Return, Sink
from .rounds import Publication
from .tape import Nodes, Times
from .workers import Scores


class LineChronicle:
    """Hands single events to a sink, in the order of their times."""

    sees_vectors = True

    def __init__(self, world: World, sink: Sink) -> None:
        self._sink = sink
        self._network_id = world.network.network_id
        self._names = [certificate.name for certificate in world.certificates]
        self._ids = [short_id(certificate.verify_key) for certificate in world.certificates]
        self._waiting: list[tuple[float, int, int, Event]] = []
        self._order = count()
        self._stopped: set[int] = set()
        self._states: dict[tuple[int, int], str] = {}

    def began(self, parameters: int) -> None:
        """See ``Chronicle``."""
        for node, peer_id in enumerate(self._ids):
            event = PeerStarted(
                id=peer_id,
                index=node,
                round=1,
                sequence=0,
                network=self._network_id.hex(),
                parameters=parameters,
            )
            self._note(0.0, node, event)

    def skipped(self, done: Return) -> None:
        """See ``Chronicle``."""
        for i, node in enumerate(done.nodes.tolist()):
            there = np.flatnonzero(done.versions[i] != NOBODY).tolist()
            names = {k: self._ids[done.neighbours[i, k]] for k in there}
            round = int(done.to_rounds[i])
            event = Skipped(
                from_round=int(done.from_rounds[i]),
                to_round=round,
                neighbours={names[k]: float(done.weights[i, k]) for k in there},
                staleness=self._staleness(names, round, done.versions[i]),
            )
            self._note(float(done.times[i]), node, event)

    def published(self, done: Publication, copies: GridVector | None) -> None:
        """See ``Chronicle``."""
        assert copies is not None
        for i, node in enumerate(done.nodes.tolist()):
            time, round = float(done.times[i]), int(done.rounds[i])
            release = done.trained.released[i]
            why = done.trained.stopped.get(i)
            if why is not None and node not in self._stopped:
                self._stopped.add(node)
                epsilon, delta = release.epsilon or 0.0, release.delta or 0.0
                self._note(
                    time, node, BudgetSpent(round=round, epsilon=epsilon, delta=delta, why=why)
                )
            self._note(time, node, release)
            sequence, state = int(done.sequences[i]), state_hash(copies[i]).hex()
            self._states[node, sequence] = state
            self._states.pop((node, sequence - 2), None)
            event = Published(
                round=round,
                sequence=sequence,
                state=state,
                size_bytes=int(done.sizes[i]),
                captured=float(done.captured[i]),
            )
            self._note(time, node, event)

    def posted(self, frames: Posted) -> None:
        """See ``Chronicle``."""
        rows = zip(
            frames.senders.tolist(),
            frames.to.tolist(),
            frames.sizes.tolist(),
            frames.sequences.tolist(),
            frames.times.tolist(),
            strict=True,
        )
        is_news = frames.message == "news"  # all else leads to no copy of an author's feed
        for sender, to, size, number, time in rows:
            me = self._ids[sender]
            author, sequence = (me, number) if is_news else ("", 0)
            sent = Sent(
                to=self._ids[to],
                message=frames.message,
                size_bytes=size,
                author=author,
                sequence=sequence,
            )
            self._note(time, sender, sent)
            received = Received(
                sender=me,
                message=frames.message,
                size_bytes=size,
                author=author,
                sequence=sequence,
                road="delta" if is_news else "",
                state=self._states[sender, sequence] if is_news else "",
            )
            self._note(time, to, received)

    def mixed(self, done: Mixture, models: FloatVector | None) -> None:
        """See ``Chronicle``."""
        assert models is not None
        assert done.alignment is not None
        for i, node in enumerate(done.nodes.tolist()):
            places = range(done.neighbours.shape[1])
            there = [k for k in places if done.versions[i, k] != NOBODY]
            late = [k for k in places if k not in there and done.neighbours[i, k] != NOBODY]
            names = {k: self._ids[done.neighbours[i, k]] for k in (*there, *late)}
            round = int(done.rounds[i])
            event = Mixed(
                round=round,
                neighbours={names[k]: float(done.weights[i, k]) for k in there},
                missing=tuple(names[k] for k in late),
                gamma=float(done.gamma[i]),
                staleness=self._staleness({k: names[k] for k in there}, round, done.versions[i]),
            )
            self._note(float(done.times[i]), node, event)
            sketched = Sketched(
                round=round,
                sketch=noted(models[i], self._network_id),
                alignment={names[k]: float(done.alignment[i, k]) for k in there},
            )
            self._note(float(done.times[i]), node, sketched)

    @staticmethod
    def _staleness(
        names: dict[int, str], round: int, versions: NDArray[np.int64]
    ) -> dict[str, int]:
        """By how many rounds copies were older, by name; ``names`` are those at their places."""
        apart = {name: round - int(versions[k]) for k, name in names.items()}
        return {name: rounds for name, rounds in apart.items() if rounds}

    def evaluated(self, nodes: Nodes, rounds: Nodes, times: Times, scores: Scores) -> None:
        """See ``Chronicle``."""
        rows = zip(nodes.tolist(), rounds.tolist(), times.tolist(), strict=True)
        for i, (node, round, time) in enumerate(rows):
            loss = float(scores.loss[i])
            event = Evaluated(
                round=round,
                accuracy=float(scores.accuracy[i]),
                loss=loss if math.isfinite(loss) else sys.float_info.max,
                samples=scores.samples,
            )
            self._note(time, node, event)

    def finished(
        self, nodes: Nodes, rounds: Nodes, times: Times, copies: GridVector | None
    ) -> None:
        """See ``Chronicle``."""
        assert copies is not None
        rows = zip(nodes.tolist(), rounds.tolist(), times.tolist(), copies, strict=True)
        for node, round, time, copy in rows:
            state = state_hash(copy).hex()
            self._note(time, node, PeerFinished(round=round, state=state))

    def told(self, time: float, event: RoundDone | ConsensusMeasured) -> None:
        """Nothing that the peers' own events do not tell."""

    def settle(self, until: float) -> None:
        """See ``Chronicle``."""
        while self._waiting and self._waiting[0][0] < until:
            time, _, node, event = heapq.heappop(self._waiting)
            self._sink(time, self._names[node], event)

    def stopped(self, nodes: NDArray[np.bool_]) -> None:
        """See ``Chronicle``."""
        self._stopped = set(np.flatnonzero(nodes).tolist())

    def flush(self) -> None:
        """See ``Chronicle``."""
        self.settle(math.inf)

    def close(self) -> None:
        """See ``Chronicle``."""
        self.flush()

    def _note(self, time: float, node: int, event: Event) -> None:
        heapq.heappush(self._waiting, (time, next(self._order), node, event))
