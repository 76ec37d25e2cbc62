"""Some rows of a network and the work on them, as the array engine does it on all rows.

Rows are numbered within the shard: its own nodes come first, then older copies of theirs that
somebody still has to mix with, then copies of other shards' nodes, which last for one wave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....gossip.grid import FloatVector, GridVector
from ...scenario import Scenario
from ..array.arrays import Arrays
from ..array.checkpoint import Memory
from ..array.crew import Alone
from ..array.graph import Weights
from ..array.measures import column_sums, squares
from ..array.rounds import Publication
from ..array.tape import Nodes, Wave
from ..array.tiles import Tiles
from ..array.workers import Scores, Trained, Training, Workers


class Offset:
    """The learners of all nodes, for someone who numbers those from ``first`` on from 0."""

    def __init__(self, workers: Workers, first: int) -> None:
        self._workers = workers
        self._first = first
        self.takes_whole_waves = workers.takes_whole_waves

    @property
    def samples(self) -> Sequence[int]:
        """The number of training records of each node, from the first on."""
        return self._workers.samples[self._first :]

    def train(self, job: Training) -> Trained:
        """Train some nodes; see ``Workers.train``."""
        return self._workers.train(replace(job, nodes=job.nodes + self._first))

    def evaluate(self, nodes: Nodes, models: FloatVector) -> Scores:
        """Test some models; see ``Workers.evaluate``."""
        return self._workers.evaluate(nodes + self._first, models)


class Shard:
    """``count`` nodes from ``first`` on, at the initial model ``genesis`` (P,)."""

    def __init__(
        self, scenario: Scenario, genesis: GridVector, workers: Workers, first: int, count: int
    ) -> None:
        self._arrays = Arrays.begin(genesis, scenario.rules, nodes=count)
        self._crew = Alone(self._arrays, scenario, Offset(workers, first))

    def publish(self, wave: Wave) -> Publication:
        """Let the nodes of a wave train and publish."""
        if len(wave.keep_in):
            self._make_room(int(wave.keep_in.max()) + 1)
        return self._crew.publish(wave)

    def give(self, wanted: Sequence[Nodes]) -> list[GridVector]:
        """The public copies (n, V, P) of some rows, for each who wants some."""
        return [self._arrays.public.whole_rows(rows) for rows in wanted]

    def alignments(
        self, wave: Wave, places: Sequence[Nodes], *copies: GridVector
    ) -> NDArray[np.float64]:
        """What the nodes of a wave note of those whom they hear, before they mix."""
        self._receive(places, copies)
        return self._crew.alignments(wave)

    def mix(
        self, wave: Wave, weights: Weights, places: Sequence[Nodes], *copies: GridVector
    ) -> Weights:
        """Let the nodes of a wave mix; ``copies`` that others gave go to the rows ``places``."""
        self._receive(places, copies)
        return self._crew.mix(wave, weights)

    def rejoin(
        self, wave: Wave, shares: Weights, places: Sequence[Nodes], *copies: GridVector
    ) -> Weights:
        """Let the nodes of a wave go on from what others have; for the rest see ``mix``."""
        self._receive(places, copies)
        return self._crew.rejoin(wave, shares)

    def evaluate(self, rows: Nodes) -> Scores:
        """Test the models of some nodes."""
        return self._crew.evaluate(rows)

    def models(self, rows: Nodes) -> FloatVector:
        """The private models (n, P) of some nodes."""
        return self._crew.models(rows)

    def copies(self, rows: Nodes) -> GridVector:
        """The public copies (n, V P) of some nodes."""
        return self._crew.copies(rows)

    def column_sums(self) -> NDArray[np.float64]:
        """See ``measures.column_sums``."""
        return column_sums(self._arrays.models)

    def squares(self, mean: NDArray[np.float32]) -> NDArray[np.float64]:
        """See ``measures.squares``."""
        return squares(self._arrays.models, mean)

    def cpu_s(self) -> float:
        """CPU seconds that this process has spent so far."""
        return self._crew.cpu_s()

    def memory(self, rows: int) -> dict[str, NDArray[Any]]:
        """All that the shard carries on from, by name; of the public copies the first ``rows``."""
        memory = self._arrays.memory()
        return memory | {"public": memory["public"][:, :rows]}

    def take_up(self, memory: Memory) -> None:
        """Carry on from what ``memory()`` gave."""
        rows = memory["public"].shape[1]
        self._make_room(rows)
        for name, array in self.memory(rows).items():
            array[...] = memory[name]

    def _receive(self, places: Sequence[Nodes], copies: Sequence[GridVector]) -> None:
        for rows, given in zip(places, copies, strict=True):
            self._make_room(int(rows.max()) + 1)
            self._arrays.public.put(rows, given)

    def _make_room(self, rows: int) -> None:
        """See to it that there are so many rows of public copies."""
        public = self._arrays.public
        if rows <= len(public):
            return
        tiles, _, width = public.memory.shape
        memory = np.zeros((tiles, rows, width), dtype=np.int32)
        memory[:, : len(public)] = public.memory
        self._arrays.public = Tiles(memory, public.columns, public.vectors)
