"""The crew of the array engine whose rows are with the actors of a Ray cluster."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....gossip.grid import FloatVector, GridVector
from ....gossip.mixing import gamma_of
from ...scenario import Scenario
from ..array.checkpoint import Memory
from ..array.graph import Weights
from ..array.measures import distance_of, mean_of
from ..array.rounds import Publication
from ..array.tape import Nodes, Wave
from ..array.workers import Scores, Trained, joined
from . import cluster
from .actors import Actors, Call
from .division import Division, MixingPart

SNAPSHOT_ROUNDS = 1  # of all nodes, after which all shards are kept anew


class RayCrew:
    """Leads the ``actors`` that have the shards of a ``division``; calls ``leave`` at the end."""

    def __init__(
        self,
        scenario: Scenario,
        division: Division,
        actors: Actors,
        leave: Callable[[], None] = lambda: None,
    ) -> None:
        self._mixing = scenario.rules.mixing
        self._nodes = np.arange(scenario.peers, dtype=np.int64)
        self._division = division
        self._leave = leave
        self._gamma = np.ones(scenario.peers)
        self._mixed = 0  # how many nodes have mixed since the last snapshots
        self.actors = actors

    def publish(self, wave: Wave) -> Publication:
        """Let the nodes of a wave train and publish, each where it is."""
        parts = self._division.publishing(wave)
        calls = [self.actors.tell(part.shard, "publish", part.wave) for part in parts]
        found: list[Publication] = self.actors.answers(calls)
        order = np.argsort(np.concatenate([part.positions for part in parts]))
        publication = Publication(
            nodes=wave.publish,
            rounds=wave.publish_rounds,
            times=wave.publish_times,
            heard_by=wave.heard_by,
            trained=_reordered(joined([each.trained for each in found]), order),
            sequences=np.concatenate([each.sequences for each in found])[order],
            sizes=np.concatenate([each.sizes for each in found])[order],
            captured=np.concatenate([each.captured for each in found])[order],
        )
        captured = publication.captured[:, None]  # of the model, the first vector of a release
        self._gamma[wave.publish] = gamma_of(self._mixing, captured)[:, 0]
        return publication

    def mix(self, wave: Wave, weights: Weights) -> Weights:
        """Let the nodes of a wave mix, with copies that the shards give one another."""
        used = self._with_others("mix", wave, weights)
        self._mixed += len(wave.mix)
        if self._mixed >= SNAPSHOT_ROUNDS * len(self._nodes):
            self._settle()
        return used

    def rejoin(self, wave: Wave, shares: Weights) -> Weights:
        """Let the nodes of a wave go on from the copies that the shards give one another."""
        return self._with_others("rejoin", wave, shares)

    def _with_others(self, method: str, wave: Wave, weights: Weights) -> Weights:
        """Have the nodes of a wave do something with others' copies; the weights (B, K) used."""
        parts = self._division.mixing(wave, weights)
        needs = self._exchange(parts)
        calls = [
            self.actors.tell(
                part.shard, method, part.wave, part.weights, part.places, needs=needs[part.shard]
            )
            for part in parts
        ]
        used = np.empty_like(weights)
        for part, found in zip(parts, self.actors.answers(calls), strict=True):
            used[part.positions] = found
        return used

    def alignments(self, wave: Wave) -> NDArray[np.float64]:
        """What the nodes of a wave note of those whom they hear, before they mix: (B, K)."""
        parts = self._division.mixing(wave, np.zeros(wave.sources.shape))
        needs = self._exchange(parts)
        calls = [
            self.actors.ask(
                part.shard, "alignments", part.wave, part.places, needs=needs[part.shard]
            )
            for part in parts
        ]
        noted = np.empty(wave.sources.shape)
        for part, found in zip(parts, self.actors.answers(calls), strict=True):
            noted[part.positions] = found
        return noted

    def evaluate(self, nodes: Nodes) -> Scores:
        """Test the models of some nodes, each where it is."""
        found, order = self._ask("evaluate", nodes)
        return Scores(
            accuracy=np.concatenate([each.accuracy for each in found])[order],
            loss=np.concatenate([each.loss for each in found])[order],
            samples=found[0].samples,
        )

    def gamma(self, nodes: Nodes) -> NDArray[np.float64]:
        """The step sizes (n,) of mixing that follow from the last releases of some nodes."""
        found: NDArray[np.float64] = self._gamma[nodes]
        return found

    def models(self, nodes: Nodes) -> FloatVector:
        """The private models (n, P) of some nodes, from where they are."""
        found, order = self._ask("models", nodes)
        models: FloatVector = np.concatenate(found)[order]
        return models

    def copies(self, nodes: Nodes) -> GridVector:
        """The public copies (n, V P) of some nodes, from where they are."""
        found, order = self._ask("copies", nodes)
        copies: GridVector = np.concatenate(found)[order]
        return copies

    def distance(self) -> float:
        """How far the models are from agreement, to the bits of one process."""
        sums = self._ask_all("column_sums")
        mean = mean_of(np.sum(sums, axis=0), len(self._nodes))
        return distance_of(np.concatenate(self._ask_all("squares", mean)))

    def memory(self) -> Memory:
        """All that a run is carried on from, by name: brought together in this process."""
        calls = [
            self.actors.ask(shard, "memory", self._division.rows_of(shard))
            for shard in range(len(self.actors))
        ]
        parts = self.actors.answers(calls)
        public = parts[0]["public"]
        rows = len(self._nodes) + self._division.spare
        gathered = np.zeros((public.shape[0], rows, public.shape[2]), dtype=public.dtype)
        for shard, part in enumerate(parts):
            held, where = self._division.held_by(shard)
            gathered[:, held] = part["public"][:, where]
        memory: dict[str, Any] = {"public": gathered}
        for name in parts[0].keys() - memory.keys():
            axis = _axis_of_nodes(parts[0][name])
            memory[name] = np.concatenate([part[name] for part in parts], axis=axis)
        return memory

    def take_up(self, memory: Memory) -> None:
        """Hand out what ``memory()`` has gathered, and a checkpoint has been read into."""
        shards = len(self.actors)
        for spare in range(self._division.spare):
            self._division.hold(spare, spare % shards)
        self._gamma = memory["gamma"][:, 0].astype(np.float64)
        calls = []
        for shard, own in enumerate(self._division.own_nodes()):
            held, where = self._division.held_by(shard)
            public = memory["public"]
            rows = self._division.rows_of(shard)
            part = {name: _rows_of(array, own) for name, array in memory.items()}
            part["public"] = np.zeros((public.shape[0], rows, public.shape[2]), public.dtype)
            part["public"][:, where] = public[:, held]
            calls.append(self.actors.tell(shard, "take_up", part))
        self.actors.answers(calls)
        self._settle()

    def cpu_s(self) -> float:
        """CPU seconds that this process and the actors have spent so far, Ray's own aside."""
        return process_time() + float(sum(self._ask_all("cpu_s")))

    def close(self) -> None:
        """End the actors, and the cluster if it was started for them."""
        self.actors.close()
        self._leave()

    def _settle(self) -> None:
        self.actors.settle([self._division.rows_of(shard) for shard in range(len(self.actors))])
        self._mixed = 0

    def _exchange(self, parts: Sequence[MixingPart]) -> dict[int, list[tuple[Call, int]]]:
        """Let the shards give what others need of them; for each who needs some, what it gets."""
        wanted: dict[int, list[Nodes]] = defaultdict(list)
        places: dict[int, list[tuple[int, int]]] = {}
        for part in parts:
            places[part.shard] = []
            for giver, rows in zip(part.givers, part.wanted, strict=True):
                places[part.shard].append((giver, len(wanted[giver])))
                wanted[giver].append(rows)
        calls = {giver: self.actors.give(giver, rows) for giver, rows in wanted.items()}
        return {
            taker: [(calls[giver], index) for giver, index in from_whom]
            for taker, from_whom in places.items()
        }

    def _ask(self, method: str, nodes: Nodes) -> tuple[list[Any], Nodes]:
        """What all say who have some of the nodes, and what brings that into their order."""
        parts = list(self._division.parts(nodes))
        calls = [self.actors.ask(shard, method, rows) for shard, _, rows in parts]
        order = np.argsort(np.concatenate([positions for _, positions, _ in parts]))
        return self.actors.answers(calls), order

    def _ask_all(self, method: str, *arguments: Any) -> list[Any]:
        shards = range(len(self.actors))
        return self.actors.answers([self.actors.ask(s, method, *arguments) for s in shards])


def ray_crew(
    genesis: GridVector, scenario: Scenario, spare: int, *, cores: int | None = None
) -> RayCrew:
    """Actors on as many ``cores`` of a cluster; on all that it has unless given.

    Raises ConfigError and TransportError as ``cluster.join`` and ``Actors`` do.
    """
    ours = cluster.join()
    leave = cluster.leave if ours else (lambda: None)
    try:
        shards = min(cores or cluster.cores(), scenario.peers)
        division = Division(scenario.peers, spare, shards)
        actors = Actors(scenario, genesis, division.cuts.tolist())
    except BaseException:
        leave()
        raise
    return RayCrew(scenario, division, actors, leave)


def _axis_of_nodes(array: NDArray[Any]) -> int:
    """Which axis is that of the nodes: matrices are in tiles."""
    return 1 if array.ndim == 3 else 0


def _rows_of(array: NDArray[Any], nodes: Nodes) -> NDArray[Any]:
    """What an array, if it is not empty, holds of some nodes."""
    axis = _axis_of_nodes(array)
    return np.take(array, nodes, axis=axis) if array.shape[axis] else array


def _reordered(trained: Trained, order: Nodes) -> Trained:
    """What came of training, with that of node ``order[i]`` at i."""
    place = np.argsort(order)
    return Trained(
        trained=trained.trained[order],
        began=trained.began[order],
        released=[trained.released[i] for i in order.tolist()],
        stopped={int(place[i]): why for i, why in trained.stopped.items()},
    )
