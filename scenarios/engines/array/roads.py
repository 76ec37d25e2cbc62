"""What frames carry where the graph changes: the way from where each hearer was last.

Who meets a neighbour in every fourth round only gets one frame for four deltas: their sum, or the
whole copy, whichever is shorter (gossip/feed.py). To tell its size, older copies are kept.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ....gossip.algorithms.chosen import algorithm_of
from ....gossip.encoded_size import encoded_sizes
from ....gossip.grid import GridVector
from ....gossip.rules import Rules
from .chronicle import Posted
from .crews import Crew
from .graph import Graph
from .rounds import pieces

MOST_BYTES = 2**30  # that older copies may take; what is older still is sent as a whole copy
SIZED_VALUES = 2**18  # parameters whose ways are worked out together


class Roads:
    """Knows how far each link has come, and the latest copies; for graphs that change.

    In a graph that stays as it is every frame carries one delta, but for those to nodes that were
    away, which are counted as one as well.
    """

    def __init__(self, graph: Graph, genesis: GridVector, rules: Rules, crew: Crew) -> None:
        self._graph = graph
        self._links = graph.ever()
        self._known = np.zeros(len(self._links), dtype=np.int64)  # the number of an entry
        self._crew = crew
        length = algorithm_of(rules).vectors * genesis.size
        copy = graph.nodes * length * 4
        kept = min(graph.topology.period + 1, 1 + max(1, MOST_BYTES // copy))
        shape = (kept, graph.nodes, length)
        self._kept = np.zeros(shape, dtype=np.int32)  # by number of the entry, modulo kept
        self._genesis = np.zeros(shape[2], dtype=np.int32)
        self._genesis[: genesis.size] = genesis

    def memory(self) -> dict[str, NDArray[np.generic]]:
        """What a run that is carried on must know again, by name."""
        return {"roads.known": self._known, "roads.kept": self._kept}

    def sizes(self, frames: Posted, deltas: NDArray[np.int64]) -> NDArray[np.int64]:
        """The bytes of the payload of each frame (F,); ``deltas`` (F,) are those of single deltas.

        To be asked once for each publication, in their order.
        """
        link = np.searchsorted(self._links, frames.to * self._graph.nodes + frames.senders)
        lag = frames.sequences - self._known[link]
        found = deltas.copy()
        for age in np.unique(lag[lag > 1]).tolist():
            found[lag == age] = self._ways(frames, lag == age, age)
        self._known[link] = frames.sequences
        nodes, first = np.unique(frames.senders, return_index=True)
        slots = frames.sequences[first] % len(self._kept)
        self._kept[slots, nodes] = self._crew.copies(nodes)
        return found

    def _ways(self, frames: Posted, which: NDArray[np.bool_], age: int) -> NDArray[np.int64]:
        """The bytes from the copy of ``age`` entries before, for some of the frames."""
        senders, first, back = np.unique(
            frames.senders[which], return_index=True, return_inverse=True
        )
        numbers = frames.sequences[which][first]
        sizes = np.empty(len(senders), dtype=np.int64)
        length = max(1, SIZED_VALUES // self._kept.shape[2])
        for rows in pieces(slice(0, len(senders)), length):
            nodes, before = senders[rows], numbers[rows] - age
            copies = self._crew.copies(nodes)
            sizes[rows] = encoded_sizes(copies - self._genesis)
            held = np.flatnonzero((before > 0) & (age < len(self._kept)))
            if len(held):
                old = self._kept[before[held] % len(self._kept), nodes[held]]
                sums = encoded_sizes(copies[held] - old)
                sizes[rows.start + held] = np.minimum(sizes[rows.start + held], sums)
        return sizes[back]
