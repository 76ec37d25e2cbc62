"""What happens when, and who mixes with which copies: the control of a run, without its data.

In the protocol none of it depends on what models hold: it follows from times, losses and crashes.
So it can be known beforehand, or be taken from the log of another run, and the data follows it in
waves: first some nodes train and publish, then some mix. Within a wave no node needs what another
one of the same step makes, so all are worked on at once, and the outcome is that of one node after
the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ....gossip.block_mixing import NOBODY, Sources
from .graph import Graph

Nodes = NDArray[np.int64]
Times = NDArray[np.float64]


def _no_nodes() -> Nodes:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """Nodes that publish at once, and nodes that mix at once thereafter.

    ``publish`` (A,) are nodes, ``publish_rounds`` and ``publish_times`` (A,) their rounds and the
    virtual seconds. Before they publish, the public copies of the rows ``keep`` go to the spare
    rows ``keep_in``. ``mix`` (B,), ``mix_rounds`` and ``mix_times`` are those who mix; ``sources``
    (B, K) are the rows of the public copies that each mixes with, in the places of its neighbours
    in that round (NOBODY where a neighbour was missing), ``versions`` (B, K) the rounds of these
    copies. ``heard_by`` are, for each who publishes, the nodes that its frame is sent to; None: to
    all that hear it in that round. All that follows happens at ``until`` or later.

    Where there is ``came_from`` (B,), nobody publishes, and those who would mix have come back:
    they skip from these rounds to ``mix_rounds`` and begin there with the mean of the copies.
    ``sources`` are then in the places of all that each hears in any round.
    """

    publish: Nodes
    publish_rounds: Nodes
    publish_times: Times
    mix: Nodes
    mix_rounds: Nodes
    mix_times: Times
    sources: Sources
    versions: NDArray[np.int64]
    keep: Nodes = field(default_factory=_no_nodes)
    keep_in: Nodes = field(default_factory=_no_nodes)
    heard_by: Sequence[Sequence[int]] | None = None
    came_from: Nodes | None = None
    until: float = 0.0


class Tape(Protocol):
    """The waves of a run."""

    @property
    def spare(self) -> int:
        """How many spare rows the waves need."""
        ...

    @property
    def count(self) -> int:
        """How many waves there are."""
        ...

    def waves(self) -> Iterator[Wave]:
        """The waves from the first to the last; again for each call."""
        ...


class Lockstep:
    """Nothing goes wrong: in each round all publish, then all mix with all their neighbours."""

    spare = 0

    def __init__(self, graph: Graph, rounds: int, *, round_s: float) -> None:
        self._graph = graph
        self.count = rounds
        self._round_s = round_s

    def waves(self) -> Iterator[Wave]:
        """One wave for each round."""
        everyone = np.arange(self._graph.nodes, dtype=np.int64)
        for round in range(1, self.count + 1):
            sources = self._graph.neighbours(round)
            rounds = np.full(len(everyone), round, dtype=np.int64)
            times = np.full(len(everyone), round * self._round_s)
            yield Wave(
                publish=everyone,
                publish_rounds=rounds,
                publish_times=times,
                mix=everyone,
                mix_rounds=rounds,
                mix_times=times,
                sources=sources,
                versions=np.where(sources == NOBODY, NOBODY, round),
                until=(round + 1) * self._round_s,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One node publishes, or mixes with the copies of those whom it ``heard`` (node -> round).

    ``heard_by`` are those to whom a publication is sent; None: all that hear it. Who comes back
    from an earlier round, ``came_from``, begins with the mean of the copies.
    """

    node: int
    round: int
    time: float
    heard: Mapping[int, int] | None = None  # None: it publishes
    heard_by: Sequence[int] | None = None
    came_from: int | None = None


class Recorded:
    """Turns in an order in which they can happen, such as that of a log, sorted into waves.

    A turn belongs to the first wave in which it has what it needs. A copy that is mixed with in the
    wave in which its author publishes the next one, or later, is kept in a spare row.
    """

    def __init__(self, graph: Graph, turns: Sequence[Turn]) -> None:
        self._graph = graph
        waves = _levels(graph.nodes, turns)
        self._waves = waves
        self._keeps, self.spare = _keeps(graph.nodes, waves)

    def waves(self) -> Iterator[Wave]:
        """One wave after the other."""
        times = [min((t.time for t in turns), default=np.inf) for turns in self._waves]
        until = [*np.minimum.accumulate(times[::-1])[::-1][1:].tolist(), np.inf]
        for turns, keeps, later in zip(self._waves, self._keeps, until, strict=True):
            back = [turn for turn in turns if turn.came_from is not None]
            others = [turn for turn in turns if turn.came_from is None]
            yield self._wave(others, keeps, min([later, *(turn.time for turn in back)]))
            if back:
                came_from = _ints(turn.came_from for turn in back)
                none = _Keeps(rows=keeps.rows)  # what was to be moved has been moved
                yield replace(self._wave(back, none, later), came_from=came_from)

    @property
    def count(self) -> int:
        """How many waves there are."""
        return sum(1 + any(t.came_from is not None for t in turns) for turns in self._waves)

    def _wave(self, turns: Sequence[Turn], keeps: _Keeps, until: float) -> Wave:
        publish = [turn for turn in turns if turn.heard is None]
        mix = [turn for turn in turns if turn.heard is not None]
        nodes, rounds = _ints(t.node for t in mix), _ints(t.round for t in mix)
        if any(turn.came_from is not None for turn in mix):
            neighbours = self._graph.followed(nodes)
        else:
            neighbours, _ = self._graph.at(nodes, rounds)
        sources = np.full(neighbours.shape, NOBODY, dtype=np.int64)
        versions = sources.copy()
        for i, turn in enumerate(mix):
            for k, neighbour in enumerate(neighbours[i].tolist()):
                version = (turn.heard or {}).get(neighbour)
                if neighbour != NOBODY and version is not None:
                    sources[i, k] = keeps.rows.get((turn.node, turn.round, neighbour), neighbour)
                    versions[i, k] = version
        return Wave(
            publish=_ints(t.node for t in publish),
            publish_rounds=_ints(t.round for t in publish),
            publish_times=np.array([t.time for t in publish], dtype=np.float64),
            mix=nodes,
            mix_rounds=rounds,
            mix_times=np.array([t.time for t in mix], dtype=np.float64),
            sources=sources,
            versions=versions,
            keep=_ints(keeps.moved),
            keep_in=_ints(keeps.moved.values()),
            heard_by=_hearers(self._graph, publish),
            until=until,
        )


@dataclass(slots=True)
class _Keeps:
    """Before a wave: node -> spare row that its copy is kept in; in it: which turns read those."""

    moved: dict[int, int] = field(default_factory=dict)
    rows: dict[tuple[int, int, int], int] = field(default_factory=dict)


def _levels(nodes: int, turns: Sequence[Turn]) -> list[list[Turn]]:
    """The turns by wave. Raises ValueError where a turn mixes with what was not published."""
    free = [0] * nodes  # the wave in which a node may publish next
    made: dict[tuple[int, int], int] = {}  # (node, round of its copy) -> wave
    waves: list[list[Turn]] = []
    for turn in turns:
        if turn.heard is None:
            level = free[turn.node]
            made[turn.node, turn.round] = level
            free[turn.node] = level + 1
        else:
            own = [(turn.node, turn.round)] if turn.came_from is None else []
            needs = [*own, *turn.heard.items()]
            if not all(need in made for need in needs):
                raise ValueError(f"node {turn.node} mixes in round {turn.round} with nothing")
            level = max([made[need] for need in needs], default=0)
            if turn.came_from is not None:
                level = max(level, free[turn.node])
            free[turn.node] = level + 1
        waves += [[] for _ in range(level + 1 - len(waves))]
        waves[level].append(turn)
    return waves


def _keeps(nodes: int, waves: Sequence[Sequence[Turn]]) -> tuple[list[_Keeps], int]:
    """Which copies are kept before each wave, in which rows behind the first ``nodes``."""
    last_read: dict[tuple[int, int], int] = {}
    for level, turns in enumerate(waves):
        for turn in turns:
            for version in (turn.heard or {}).items():
                last_read[version] = level
    current: dict[int, int] = {}  # node -> round of its copy
    kept: dict[tuple[int, int], int] = {}  # copy -> spare row
    unused: list[int] = []
    most = 0
    keeps = []
    for level, turns in enumerate(waves):
        keep = _Keeps()
        read = [version for version in kept if last_read[version] < level]
        unused += [kept.pop(version) for version in read]
        for turn in turns:
            if turn.heard is None:
                old = (turn.node, current.get(turn.node, 0))
                if last_read.get(old, -1) >= level:
                    if not unused:
                        unused.append(nodes + most)
                        most += 1
                    kept[old] = keep.moved[turn.node] = unused.pop()
                current[turn.node] = turn.round
        for turn in turns:
            for version in (turn.heard or {}).items():
                if version in kept:
                    keep.rows[turn.node, turn.round, version[0]] = kept[version]
        keeps.append(keep)
    return keeps, most


def _hearers(graph: Graph, publish: Sequence[Turn]) -> list[Sequence[int]]:
    return [
        turn.heard_by
        if turn.heard_by is not None
        else graph.topology.out_neighbours(turn.node, turn.round)
        for turn in publish
    ]


def _ints(values: object) -> Nodes:
    return np.array(list(values), dtype=np.int64)  # type: ignore[call-overload]
