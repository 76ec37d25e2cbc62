"""Shards in this process in the place of Ray's actors: the same calls, without a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tidings.gossip.grid import GridVector
from tidings.scenarios.engines.array.learners import workers_for
from tidings.scenarios.engines.array.tape import Nodes
from tidings.scenarios.engines.ray.shard import Shard
from tidings.scenarios.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Done:
    """What was told has been done; ``given`` is what came of it."""

    given: Sequence[Any]


class InProcess:
    """As ``actors.Actors``; each snapshot starts all shards anew from what it holds."""

    def __init__(self, scenario: Scenario, genesis: GridVector, cuts: Sequence[int]) -> None:
        self._workers = workers_for(scenario)
        self._scenario, self._genesis, self._cuts = scenario, genesis, cuts
        self._shards = [self._shard(shard) for shard in range(len(cuts) - 1)]

    def _shard(self, shard: int) -> Shard:
        first, end = self._cuts[shard : shard + 2]
        return Shard(self._scenario, self._genesis, self._workers, first, end - first)

    def __len__(self) -> int:
        return len(self._shards)

    def ask(
        self, shard: int, method: str, *arguments: Any, needs: Sequence[tuple[Done, int]] = ()
    ) -> Done:
        needed = [call.given[index] for call, index in needs]
        return Done([getattr(self._shards[shard], method)(*arguments, *needed)])

    tell = ask

    def give(self, shard: int, wanted: Sequence[Nodes]) -> Done:
        return Done(self._shards[shard].give(wanted))

    def answers(self, calls: Sequence[Done]) -> list[Any]:
        return [call.given[0] for call in calls]

    def settle(self, rows: Sequence[int]) -> None:
        for shard, count in enumerate(rows):
            memory = {k: v.copy() for k, v in self._shards[shard].memory(count).items()}
            self._shards[shard] = self._shard(shard)
            self._shards[shard].take_up(memory)

    def close(self) -> None:
        pass
