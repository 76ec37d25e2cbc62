"""Adding up the events of a run: what is known of each peer, round, link and feed so far."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .copies import CopyChecker
from .tally_intake import MAX_MARKED, PULL_ROUNDS, Intake
from .tally_values import Spread

__all__ = ["MAX_MARKED", "PULL_ROUNDS", "Tally", "sketched_distance"]


def sketched_distance(sketches: Sequence[Sequence[float]]) -> float | None:
    """The consensus distance of models from their sketches; None without, or when one diverged."""
    return Spread(sketches).distance


class Tally(Intake):
    """Adds up events one by one; summary.py turns it into a summary, at the end or at any time.

    The order of the events of one peer matters, that of different peers does not, so logs may be
    read one after another.
    """

    @property
    def duration_s(self) -> float:
        """From the first event to the last, in seconds of the run's own clock."""
        firsts = [peer.first_time for peer in self.peers.values()]
        if self.first_time is None or not firsts:
            return self.last_time - (self.first_time or 0.0)
        lasts = [peer.last_time for peer in self.peers.values()]
        return max(self.last_time, *lasts) - min(self.first_time, *firsts)

    @property
    def furthest_round(self) -> int:
        """The last round that any peer mixed; where nobody mixes, that anything was said of."""
        mixed = max((peer.furthest for peer in self.peers.values()), default=-1)
        said = max((peer.last.round for peer in self.peers.values() if peer.last), default=0)
        return mixed if mixed >= 0 else max(self.rounds, default=said)

    def name_of(self, peer_id: str) -> str:
        """The name of the peer with this short id, the id itself when no log names it."""
        return self._names.get(peer_id, peer_id)

    @property
    def copies(self) -> CopyChecker:
        """The states that authors published and followers hold."""
        for follower, peer in self.peers.items():
            for author, road in peer.heard.items():
                if road.state:
                    self._copies.received(follower, author, road.sequence, road.state)
        return self._copies

    def accuracies(self) -> dict[int, list[float]]:
        """The accuracies that were reported of each round, one for each peer."""
        found = {number: list(row.accuracies) for number, row in self.rounds.items()}
        for peer in self.peers.values():
            if peer.last is not None and peer.last.round > peer.told_accuracy:
                found.setdefault(peer.last.round, []).append(peer.last.accuracy)
        return found

    def spreads(self) -> dict[int, Spread]:
        """How far apart the models of each round are, by their sketches."""
        self._add_sketches()
        found = {number: row.spread.copy() for number, row in self.rounds.items()}
        for peer in self.peers.values():
            if peer.sketch and peer.sketch_round > peer.told_sketch:
                found.setdefault(peer.sketch_round, Spread()).add(np.array([peer.sketch]))
        return found
