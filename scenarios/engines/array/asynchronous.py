"""Rounds without a barrier: each node mixes once it has published, with what it holds by then.

When a node publishes and when its frames arrive follows from times alone. The tape cuts time into
ticks no longer than the shortest way of a frame and the shortest training. Within a tick nobody
can hear what another one publishes, and nobody publishes twice, so all who are due in it train,
publish and mix at once, to the bits of one after the other. Copies that are still being mixed with
when their authors publish the next are kept in spare rows.

A lost frame is made up for when the next one shows that it is missing: by a sum that is asked for,
one way there and one back.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ....crypto.errors import ConfigError
from ....gossip.block_mixing import NOBODY
from ...faults import SILENCE_S, Faults
from .graph import Graph
from .outages import Cuts, Downtimes, ends_of_rounds, train_times
from .tape import Nodes, Times, Wave

_SHORTER = 0.999  # than what it must not exceed: a tick, so that rounding does not matter
Versions = NDArray[np.int64]


class Asynchronous:
    """A tape of asynchronous rounds; ``frame_bits`` is how long a frame is taken to be.

    Raises ConfigError for graphs that change and for frames that take no time.
    """

    def __init__(
        self, graph: Graph, faults: Faults, *, rounds: int, seed: int, frame_bits: float
    ) -> None:
        if not graph.topology.is_static or faults.delay_s <= 0:
            raise ConfigError(
                "asynchronous rounds need a graph that stays as it is, and frames that take time",
                where="rules.topology" if faults.delay_s else "faults.delay_s",
                fix="choose another, or use --engine sim",
            )
        self._graph = graph
        self._faults = faults
        self._rounds = rounds
        self._frame_s = frame_bits / faults.rate_bit_s if faults.rate_bit_s else 0.0
        rng = np.random.default_rng([seed, 0xFA17])
        train_s = train_times(faults, graph.nodes, seed)
        until = 2 * rounds * float(train_s.max()) + 60.0
        chance = np.random.default_rng([seed, 0xDEAD]).random
        self._downtimes = Downtimes(graph.nodes, faults.all_crashes(graph.nodes, until, chance))
        self._cuts = Cuts(graph.nodes, faults.cuts, SILENCE_S)
        ready = faults.delay_s + faults.jitter_s * rng.random(graph.nodes)
        self._published = ends_of_rounds(train_s, self._downtimes, ready, rounds)
        tick = _SHORTER * min(faults.delay_s + self._frame_s, float(train_s.min()))
        self._ticks = (self._published / tick).astype(np.int64)
        self._versions = self._heard(rng)
        self._sources, self._keeps, self.spare = self._rows()
        order = np.argsort(self._ticks, axis=None, kind="stable")
        ends = np.flatnonzero(np.diff(self._ticks.reshape(-1)[order])) + 1
        self._waves = np.split(order, ends)
        self.count = len(self._waves)

    def waves(self) -> Iterator[Wave]:
        """One wave for each tick in which somebody is due."""
        nothing: tuple[list[int], list[int]] = ([], [])
        for due in self._waves:
            nodes, rounds = due // self._rounds, due % self._rounds + 1
            times = self._published[nodes, rounds - 1]
            tick = int(self._ticks[nodes[0], rounds[0] - 1])
            keep, keep_in = self._keeps.get(tick, nothing)
            yield Wave(
                publish=nodes,
                publish_rounds=rounds,
                publish_times=times,
                mix=nodes,
                mix_rounds=rounds,
                mix_times=times,
                sources=self._sources[nodes, rounds - 1],
                versions=np.where(
                    self._versions[nodes, rounds - 1] > 0,
                    self._versions[nodes, rounds - 1],
                    NOBODY,
                ),
                keep=np.array(keep, dtype=np.int64),
                keep_in=np.array(keep_in, dtype=np.int64),
                until=float(times.min()),
            )

    def _heard(self, rng: np.random.Generator) -> Versions:
        """Which round's copy of each neighbour a node mixes with in each round, (N, R, K); or 0."""
        sources = self._graph.neighbours(1)
        found = np.zeros((len(sources), self._rounds, sources.shape[1]), dtype=np.int64)
        for k in range(sources.shape[1]):
            there = np.flatnonzero(sources[:, k] != NOBODY)
            arrivals = self._arrivals(there, sources[there, k], rng)
            for node, comes in zip(there.tolist(), arrivals, strict=True):
                found[node, :, k] = np.searchsorted(comes, self._published[node], side="right")
        return found

    def _arrivals(self, me: Nodes, other: Nodes, rng: np.random.Generator) -> Times:
        """When each of the rounds of ``other`` (n,) is known to ``me`` (n,): (n, R), rising."""
        faults = self._faults
        sent = self._published[other]
        arrivals = sent + faults.delay_s + faults.jitter_s * rng.random(sent.shape) + self._frame_s
        lost = rng.random(sent.shape) < faults.loss
        us, them = (np.broadcast_to(node[:, None], sent.shape) for node in (me, other))
        for at in (sent, arrivals):
            lost |= self._cuts.cut(us, them, at) | self._downtimes.down(us, at)
        again = np.where(lost, np.inf, arrivals) + np.where(lost, 0.0, 2 * faults.delay_s)
        later = np.minimum.accumulate(again[:, ::-1], axis=1)[:, ::-1]
        known = np.where(lost, later, arrivals)
        rising: Times = np.maximum.accumulate(known, axis=1)
        return rising

    def _rows(self) -> tuple[Nodes, dict[int, tuple[list[int], list[int]]], int]:
        """The rows to mix with (N, R, K); what is kept before which tick, in which spare rows."""
        neighbours = self._graph.neighbours(1)[:, None, :]
        others = np.broadcast_to(neighbours, self._versions.shape)
        heard = self._versions > 0
        # a copy is over once its author publishes the next, in that very tick
        over = np.concatenate(
            [self._ticks, np.full((len(self._ticks), 1), np.iinfo(np.int64).max)], axis=1
        )
        reading = np.broadcast_to(self._ticks[..., None], heard.shape)
        late = heard & (over[np.where(heard, others, 0), self._versions] <= reading)
        author, version, tick = others[late], self._versions[late], reading[late]
        last = np.full(over.shape, -1)  # when a copy is needed last
        np.maximum.at(last, (author, version), tick)
        slots = np.full(over.shape, NOBODY)
        keeps, spare = self._slots(last, over, slots)
        sources = np.where(heard, others, NOBODY)
        sources[late] = slots[author, version]
        return sources, keeps, spare

    def _slots(
        self, last: NDArray[np.int64], over: NDArray[np.int64], slots: NDArray[np.int64]
    ) -> tuple[dict[int, tuple[list[int], list[int]]], int]:
        """Find a spare row for each copy that is needed when it is over; rows are used again."""
        nodes, versions = np.nonzero(last >= 0)
        begins = over[nodes, versions]
        keeps: dict[int, tuple[list[int], list[int]]] = {}
        busy: list[tuple[int, int]] = []  # until which tick, which row
        free: list[int] = []
        rows = self._graph.nodes
        for i in np.argsort(begins, kind="stable").tolist():
            node, version, tick = int(nodes[i]), int(versions[i]), int(begins[i])
            while busy and busy[0][0] < tick:
                free.append(heapq.heappop(busy)[1])
            if not free:
                free.append(rows)
                rows += 1
            slot = free.pop()
            heapq.heappush(busy, (int(last[node, version]), slot))
            slots[node, version] = slot
            kept = keeps.setdefault(tick, ([], []))
            kept[0].append(node)
            kept[1].append(slot)
        return keeps, rows - self._graph.nodes
