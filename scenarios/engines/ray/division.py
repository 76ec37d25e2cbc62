"""Which shard has which rows, and what the shards need of one another in a wave."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ....gossip.block_mixing import NOBODY
from ..array.graph import Weights
from ..array.tape import Nodes, Wave

UNHELD = -1  # the home of a spare row that holds nothing yet
_NONE: Nodes = np.zeros(0, dtype=np.int64)
_NEVER: NDArray[np.float64] = np.zeros(0)
_NO_SOURCES: Nodes = np.zeros((0, 0), dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a ``shard`` does of a wave, in its own numbers.

    ``positions`` (n,) are the places of its nodes in what was to be shared out.
    """

    shard: int
    positions: Nodes
    wave: Wave


@dataclass(frozen=True, slots=True, kw_only=True)
class MixingPart(Part):
    """As well, the ``weights`` (n, K), and which copies of others' nodes the shard needs.

    Each of ``givers`` has those in its rows ``wanted``; they go to the rows ``places`` here.
    """

    weights: Weights
    givers: tuple[int, ...]
    wanted: tuple[Nodes, ...]
    places: tuple[Nodes, ...]


class Division:
    """N ``nodes`` and S ``spare`` rows for older copies, over some ``shards``.

    Each shard has nodes that follow one another, and the older copies of its own.
    """

    def __init__(self, nodes: int, spare: int, shards: int) -> None:
        self.cuts: Nodes = np.linspace(0, nodes, shards + 1).round().astype(np.int64)
        self.spare = spare
        self._nodes = nodes
        self._home: Nodes = np.full(nodes + spare, UNHELD, dtype=np.int64)
        self._row: Nodes = np.zeros(nodes + spare, dtype=np.int64)
        for shard in range(shards):
            own = slice(*self.cuts[shard : shard + 2].tolist())
            self._home[own] = shard
            self._row[own] = np.arange(own.stop - own.start)
        self._free: list[list[int]] = [[] for _ in range(shards)]
        self._rows: list[int] = np.diff(self.cuts).tolist()

    def rows_of(self, shard: int) -> int:
        """How many rows of public copies a shard has to keep from wave to wave."""
        return self._rows[shard]

    def own_nodes(self) -> list[Nodes]:
        """The nodes of each shard."""
        return [np.arange(a, b, dtype=np.int64) for a, b in pairwise(self.cuts.tolist())]

    def held_by(self, shard: int) -> tuple[Nodes, Nodes]:
        """Which public rows a shard holds (n,), and where (n,)."""
        held = np.flatnonzero(self._home == shard)
        return held, self._row[held]

    def parts(self, nodes: Nodes) -> Iterator[tuple[int, Nodes, Nodes]]:
        """Each shard that has some of ``nodes``, their positions, and their rows there."""
        home = self._home[nodes]
        for shard in np.unique(home).tolist():
            positions = np.flatnonzero(home == shard)
            yield shard, positions, self._row[nodes[positions]]

    def hold(self, spare: int, shard: int) -> None:
        """Let a shard have a spare row from now on."""
        row = self._nodes + spare
        if self._home[row] != UNHELD:
            self._free[self._home[row]].append(int(self._row[row]))
        if not self._free[shard]:
            self._free[shard].append(self._rows[shard])
            self._rows[shard] += 1
        self._home[row], self._row[row] = shard, self._free[shard].pop()

    def publishing(self, wave: Wave) -> list[Part]:
        """Who lets which nodes publish, and which copies it keeps. To be asked once a wave."""
        for source, spare in zip(wave.keep.tolist(), wave.keep_in.tolist(), strict=True):
            self.hold(spare - self._nodes, int(self._home[source]))
        homes = self._home[wave.publish]
        keepers = self._home[wave.keep]
        parts = []
        for shard in np.union1d(homes, keepers).tolist():
            here, kept = np.flatnonzero(homes == shard), keepers == shard
            own = Wave(
                publish=self._row[wave.publish[here]],
                publish_rounds=wave.publish_rounds[here],
                publish_times=wave.publish_times[here],
                mix=_NONE,
                mix_rounds=_NONE,
                mix_times=_NEVER,
                sources=_NO_SOURCES,
                versions=_NO_SOURCES,
                keep=self._row[wave.keep[kept]],
                keep_in=self._row[wave.keep_in[kept]],
            )
            parts.append(Part(shard=shard, positions=here, wave=own))
        return parts

    def mixing(self, wave: Wave, weights: Weights) -> list[MixingPart]:
        """Who lets which nodes mix, and with whose copies."""
        return [
            self._mixing(shard, positions, rows, wave, weights)
            for shard, positions, rows in self.parts(wave.mix)
        ]

    def _mixing(
        self, shard: int, positions: Nodes, rows: Nodes, wave: Wave, weights: Weights
    ) -> MixingPart:
        sources = wave.sources[positions]
        heard = np.unique(sources[sources != NOBODY])
        others = heard[self._home[heard] != shard]
        others = others[np.argsort(self._home[others], kind="stable")]
        place = np.append(self._row, NOBODY)  # the last one is for NOBODY
        place[others] = self._rows[shard] + np.arange(len(others))
        givers, first = np.unique(self._home[others], return_index=True)
        own = Wave(
            publish=_NONE,
            publish_rounds=_NONE,
            publish_times=_NEVER,
            mix=rows,
            mix_rounds=wave.mix_rounds[positions],
            mix_times=wave.mix_times[positions],
            sources=place[sources],
            versions=wave.versions[positions],
        )
        return MixingPart(
            shard=shard,
            positions=positions,
            wave=own,
            weights=weights[positions],
            givers=tuple(givers.tolist()),
            wanted=_split(self._row[others], first),
            places=_split(place[others], first),
        )


def _split(rows: Nodes, first: Nodes) -> tuple[Nodes, ...]:
    """The groups of ``rows`` that begin at ``first``."""
    return tuple(np.split(rows, first[1:])) if len(first) else ()
