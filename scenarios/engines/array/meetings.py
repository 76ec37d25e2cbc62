"""Meetings of two without a common pace: who meets whom when, and what comes of it.

Whoever has trained asks a neighbour, any of them with equal chance, to meet: a frame goes there and
one comes back. If either is lost, or the line is cut, or the other is down, both keep what they
have, and the node goes on training. The tape has the meetings in batches, nobody twice in one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ....gossip.algorithms.pairwise import one_at_a_time
from ....gossip.block_mixing import NOBODY, Sources
from ....gossip.topology import Topology
from ...faults import SILENCE_S, Faults
from .graph import Graph, Weights
from .outages import Cuts, Downtimes, Mask, ends_of_rounds, train_times
from .tape import Nodes, Wave

HALF = 0.5  # of the mean of two is another's


class Meetings(Graph):
    """Whom each node asks when it has done a round; ``frame_bits`` is how long a frame is taken
    to be. All chance follows from ``seed``.
    """

    def __init__(
        self, topology: Topology, faults: Faults, *, rounds: int, seed: int, frame_bits: float
    ) -> None:
        super().__init__(topology)
        n, links = self.nodes, topology.links(1)
        frame_s = frame_bits / faults.rate_bit_s if faults.rate_bit_s else 0.0
        way_s = faults.delay_s + frame_s
        train_s = train_times(faults, n, seed)
        until = 2 * rounds * (float(train_s.max()) + 2 * way_s) + 60.0
        downtimes = Downtimes(
            n, faults.all_crashes(n, until, np.random.default_rng([seed, 0xDEAD]).random)
        )
        rng = np.random.default_rng([seed, 0xFA17])
        ready = faults.delay_s + faults.jitter_s * rng.random(n)
        self.times = ends_of_rounds(train_s + 2 * way_s, downtimes, ready, rounds)
        drawn = (rng.random((n, rounds)) * links.degrees[:, None]).astype(np.int64)
        self._others = links.senders[links.starts[:-1, None] + drawn].astype(np.int64)
        cuts = Cuts(n, faults.cuts, SILENCE_S)
        me = np.broadcast_to(np.arange(n)[:, None], drawn.shape)
        at = self.times
        down = downtimes.down(self._others, at)
        self._asked: Mask = ~down & (cuts.noticed(me, self._others, at) > at)
        cut = cuts.cut(me, self._others, at)
        self._answered: Mask = self._asked & ~cut & (rng.random(at.shape) >= faults.loss)
        self._met: Mask = self._answered & (rng.random(at.shape) >= faults.loss)

    def at(self, nodes: Nodes, rounds: Nodes) -> tuple[Sources, Weights]:
        """Whom some nodes (n,) ask, each in a round of its own, and the weight: (n, 1)."""
        others = self._others[nodes, rounds - 1][:, None]
        return others, np.full(others.shape, HALF)

    def asked(self, nodes: Nodes, rounds: Nodes) -> list[list[int]]:
        """To whom a frame goes from each of some nodes (n,), in their rounds."""
        there = self._asked[nodes, rounds - 1].tolist()
        others = self._others[nodes, rounds - 1].tolist()
        return [[other] if asked else [] for other, asked in zip(others, there, strict=True)]

    def answers(self, nodes: Nodes, rounds: Nodes) -> tuple[Nodes, Mask]:
        """Whom some nodes (n,) ask in their rounds, and whether these answer, (n,) each."""
        return self._others[nodes, rounds - 1], self._answered[nodes, rounds - 1]

    def met(self, nodes: Nodes, rounds: Nodes) -> Nodes:
        """Whom some nodes (n,) meet in their rounds, (n,); NOBODY where nothing came of it."""
        met = self._met[nodes, rounds - 1]
        return np.where(met, self._others[nodes, rounds - 1], NOBODY)

    def done(self, nodes: Nodes, at: NDArray[np.float64]) -> Nodes:
        """How many rounds some nodes (n,) had done at their moments (n,)."""
        rows = zip(self.times[nodes], at.tolist(), strict=True)
        return np.array([np.searchsorted(row, moment) for row, moment in rows], dtype=np.int64)


class MeetingTape:
    """A wave for each batch: its nodes train, and meet those whom they find."""

    spare = 0

    def __init__(self, meetings: Meetings) -> None:
        self._meetings = meetings
        rounds = meetings.times.shape[1]
        order = np.argsort(meetings.times, axis=None, kind="stable")
        self._nodes, self._rounds = order // rounds, order % rounds + 1
        others, answer = meetings.answers(self._nodes, self._rounds)
        others = np.where(answer, others, self._nodes)
        self._batches = one_at_a_time(np.column_stack([self._nodes, others]))
        self.count = len(self._batches)

    def waves(self) -> Iterator[Wave]:
        """One batch after the other."""
        meetings = self._meetings
        times = meetings.times[self._nodes, self._rounds - 1]
        first = np.array([times[batch[0]] for batch in self._batches])
        until = [*np.minimum.accumulate(first[::-1])[::-1][1:].tolist(), np.inf]
        for batch, later in zip(self._batches, until, strict=True):
            nodes, rounds, at = self._nodes[batch], self._rounds[batch], times[batch]
            met = meetings.met(nodes, rounds)
            done = meetings.done(np.where(met == NOBODY, nodes, met), at)
            yield Wave(
                publish=nodes,
                publish_rounds=rounds,
                publish_times=at,
                mix=nodes,
                mix_rounds=rounds,
                mix_times=at,
                sources=met[:, None],
                versions=np.where(met == NOBODY, NOBODY, done)[:, None],
                heard_by=meetings.asked(nodes, rounds),
                until=later,
            )
