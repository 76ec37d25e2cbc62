"""What the rules of a diagnosis look at: a tally by the common clock, with names for ids."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from ..clock_skew import Clocks, clocks_of
from ..tally import Tally
from ..tally_values import PeerTally


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """``peer`` saw its link to ``neighbour`` come up, or go."""

    time: float
    peer: str
    neighbour: str
    up: bool


class Observed:
    """A tally, its clocks, and what several rules need of them."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.clocks: Clocks = clocks_of(tally)

    @property
    def peers(self) -> dict[str, PeerTally]:
        """The peers that have a log, by name."""
        return self.tally.peers

    def time(self, peer: str, time: float) -> float:
        """A time of a peer's log by the common clock."""
        return self.clocks.true_time(peer, time)

    @cached_property
    def begin(self) -> float:
        """The first event of any peer, by the common clock."""
        return min((self.time(n, p.first_time) for n, p in self.peers.items()), default=0.0)

    @cached_property
    def end(self) -> float:
        """The last event of any peer, by the common clock."""
        return max((self.time(n, p.last_time) for n, p in self.peers.items()), default=0.0)

    @property
    def duration_s(self) -> float:
        """From the first event of a peer to the last."""
        return self.end - self.begin

    @cached_property
    def first_finish(self) -> float:
        """When the first peer had finished: links that go afterwards mean nothing."""
        finished = [self.time(n, p.finished_at) for n, p in self.peers.items()]
        return min(finished, default=float("inf"))

    @cached_property
    def links_went(self) -> bool:
        """Whether any link went; most runs are spared what else would be worked out."""
        return not all(up for _, _, _, up in self.tally.transitions)

    @cached_property
    def transitions(self) -> list[Transition]:
        """Links that came and went, in the order of the common clock."""
        found = [
            Transition(
                time=self.time(peer, time),
                peer=peer,
                neighbour=self.tally.name_of(neighbour),
                up=up,
            )
            for time, peer, neighbour, up in self.tally.transitions
        ]
        return sorted(found, key=lambda each: each.time)

    @cached_property
    def round_s(self) -> float:
        """How long a round of a peer usually takes; 0 where nobody mixed twice."""
        paces = [
            (peer.mixed_at[-1] - peer.mixed_at[0]) / (len(peer.mixed_at) - 1)
            for peer in self.peers.values()
            if len(peer.mixed_at) > 1
        ]
        return median(paces) if paces else 0.0


def listed(names: Iterable[str], most: int = 8) -> str:
    """Names in a sentence; of many only the first."""
    every = list(names)
    if len(every) > most:
        return f"{', '.join(every[:most])} and {len(every) - most} more"
    return " and ".join([", ".join(every[:-1]), every[-1]]) if len(every) > 1 else "".join(every)


def components(nodes: Iterable[str], edges: Iterable[tuple[str, str]]) -> list[list[str]]:
    """The connected pieces of a graph, the largest first, names in order."""
    leader = {node: node for node in nodes}

    def find(node: str) -> str:
        while leader[node] != node:
            leader[node] = leader[leader[node]]
            node = leader[node]
        return node

    for a, b in edges:
        if a in leader and b in leader:
            leader[find(a)] = find(b)
    pieces: dict[str, list[str]] = {}
    for node in leader:
        pieces.setdefault(find(node), []).append(node)
    return sorted((sorted(piece) for piece in pieces.values()), key=lambda each: (-len(each), each))
