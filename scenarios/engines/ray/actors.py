"""Shards as Ray actors, and what is done when one of them is lost.

A lost actor is started anew from its last snapshot, and what it was told since is told to it
again. As a shard does the same on the same, its bits are those of the actor that was lost. Each
snapshot lies in the memory of the machine that made it, and with the next actor, which may be on
another machine.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ....crypto.errors import ConfigError, TidingsError, TransportError
from ....gossip.grid import GridVector
from ...scenario import Scenario
from ..array.checkpoint import Memory
from ..array.learners import workers_for
from ..array.tape import Nodes
from .cluster import load_ray
from .shard import Shard

TRIES = 5  # to get an answer, each after having replaced lost actors
LIBRARIES = ("tidings", "numpy", "torch")  # what the bits of a run depend on


def versions() -> dict[str, str]:
    """Which versions of what its bits depend on a process has."""
    found = {"Python": platform.python_version(), "machine": platform.machine()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


class Served:
    """A shard as an actor: it refuses what is told to it out of turn."""

    def __init__(self, scenario: Scenario, genesis: GridVector, first: int, count: int) -> None:
        self._shard = Shard(scenario, genesis, workers_for(scenario), first, count)
        self._done = 0
        self._held: Memory | None = None

    def versions(self) -> dict[str, str]:
        """See ``actors.versions``."""
        return versions()

    def call(self, number: int | None, method: str, *arguments: Any) -> Any:
        """Call a method of the shard; ``number`` counts the calls that change it, from 1."""
        if number is not None and number != self._done + 1:
            raise RuntimeError(f"call {number} came after call {self._done}")
        answer = getattr(self._shard, method)(*arguments)
        if number is not None:
            self._done = number
        return answer

    def give(self, wanted: Sequence[Nodes]) -> Any:
        """See ``Shard.give``; Ray takes what is one alone for itself."""
        given = self._shard.give(wanted)
        return given if len(given) > 1 else given[0]

    def snapshot(self, rows: int) -> tuple[bool, dict[str, Any]]:
        """That it was made, and what the shard carries on from."""
        return True, self._shard.memory(rows)

    def restore(self, number: int, memory: Memory) -> None:
        """Carry on from a snapshot that was made after call ``number``."""
        self._shard.take_up(memory)
        self._done = number

    def hold(self, memory: Memory) -> None:
        """Keep another shard's snapshot, should its machine be lost."""
        self._held = memory


@dataclass(eq=False, slots=True, kw_only=True)
class Call:
    """What was told to a ``shard``; its arguments end with what other calls gave, by number.

    ``number`` counts the calls that change the shard; None: it only reads.
    """

    shard: int
    method: str
    arguments: tuple[Any, ...]
    needs: tuple[tuple[Call, int], ...]
    results: int
    number: int | None
    given: list[Any] = field(default_factory=list)  # references to the objects that it returns


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """The reference to a shard's ``memory`` after call ``number``."""

    number: int
    memory: Any


class Actors:
    """One actor for each of the shards that begin at ``cuts``; close it at the end."""

    def __init__(self, scenario: Scenario, genesis: GridVector, cuts: Sequence[int]) -> None:
        self._ray = load_ray()
        self._begin = (self._ray.put(scenario), self._ray.put(genesis))
        self._cuts = cuts
        self._made = self._ray.remote(Served)
        self._actors = [self._start(shard) for shard in range(len(cuts) - 1)]
        self._told = [0] * len(self._actors)
        self._snapshots: list[_Snapshot | None] = [None] * len(self._actors)
        self._since: list[Call] = []  # what was told since the snapshots, but for what only reads
        self._check()

    def __len__(self) -> int:
        """The number of shards."""
        return len(self._actors)

    def tell(
        self,
        shard: int,
        method: str,
        *arguments: Any,
        needs: Sequence[tuple[Call, int]] = (),
    ) -> Call:
        """Let a shard do something that changes it."""
        self._told[shard] += 1
        call = Call(
            shard=shard,
            method=method,
            arguments=arguments,
            needs=tuple(needs),
            results=1,
            number=self._told[shard],
        )
        return self._logged(call)

    def give(self, shard: int, wanted: Sequence[Nodes]) -> Call:
        """Let a shard give public copies of its own, which others need in this wave."""
        call = Call(
            shard=shard,
            method="give",
            arguments=(wanted,),
            needs=(),
            results=len(wanted),
            number=None,
        )
        return self._logged(call)

    def ask(
        self, shard: int, method: str, *arguments: Any, needs: Sequence[tuple[Call, int]] = ()
    ) -> Call:
        """Ask a shard for what does not change it."""
        call = Call(
            shard=shard,
            method=method,
            arguments=arguments,
            needs=tuple(needs),
            results=1,
            number=None,
        )
        self._submit(call)
        return call

    def answers(self, calls: Sequence[Call]) -> list[Any]:
        """The (first) results of some calls, in their order.

        Raises TransportError when what was lost cannot be replaced, and what a shard raised.
        """
        found: dict[Call, Any] = {}
        for _ in range(TRIES):
            lost = []
            for call in calls:
                if call not in found:
                    try:
                        found[call] = self._get(call.given[0])
                    except _Lost:
                        lost.append(call)
            if not lost:
                return [found[call] for call in calls]
            self._replace(lost)
        raise _gone("actors of the Ray cluster were lost again and again")

    def settle(self, rows: Sequence[int]) -> None:
        """Take a snapshot of each shard, with so many ``rows`` of public copies of each."""
        calls = [
            Call(
                shard=shard,
                method="snapshot",
                arguments=(count,),
                needs=(),
                results=2,
                number=None,
            )
            for shard, count in enumerate(rows)
        ]
        for call in calls:
            self._submit(call)
        self.answers(calls)
        for shard, call in enumerate(calls):
            self._snapshots[shard] = _Snapshot(self._told[shard], call.given[1])
            if len(self) > 1:
                self._actors[(shard + 1) % len(self)].hold.remote(call.given[1])
        self._since.clear()

    def close(self) -> None:
        """End the actors."""
        for actor in self._actors:
            self._ray.kill(actor)

    def lose(self, shard: int) -> None:
        """End an actor, as a machine that fails would."""
        self._ray.kill(self._actors[shard])

    def _start(self, shard: int, cores: int = 1) -> Any:
        first, end = self._cuts[shard], self._cuts[shard + 1]
        options = self._made.options(num_cpus=cores, scheduling_strategy="SPREAD")
        return options.remote(*self._begin, first, end - first)

    def _check(self) -> None:
        """ConfigError when an actor has other versions than this process."""
        here = versions()
        for there in (self._get(actor.versions.remote()) for actor in self._actors):
            for name, version in there.items():
                if version != here[name]:
                    raise ConfigError(
                        f"a machine of the Ray cluster has {name} {version}, this one"
                        f" {here[name]}: the bits might not be the same",
                        fix="install the same versions on all machines (constraints.txt)",
                    )

    def _logged(self, call: Call) -> Call:
        self._since.append(call)
        self._submit(call)
        return call

    def _submit(self, call: Call) -> None:
        actor = self._actors[call.shard]
        needed = [other.given[index] for other, index in call.needs]
        if call.method in ("give", "snapshot"):
            method = getattr(actor, call.method).options(num_returns=call.results)
            given = method.remote(*call.arguments)
        else:
            given = actor.call.remote(call.number, call.method, *call.arguments, *needed)
        call.given = given if call.results > 1 else [given]

    def _get(self, reference: Any) -> Any:
        """What a reference stands for. Raises _Lost, or what a shard raised."""
        exceptions = self._ray.exceptions
        losses = (
            exceptions.RayActorError,
            exceptions.ObjectLostError,
            exceptions.WorkerCrashedError,
        )
        try:
            return self._ray.get(reference)
        except exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(error, losses) or isinstance(cause, losses):
                raise _Lost from error
            if isinstance(cause, TidingsError):
                raise cause from None
            raise

    def _replace(self, failed: Sequence[Call]) -> None:
        """Start lost actors anew, and tell what has to be told again."""
        lost = {shard for shard in range(len(self)) if not self._lives(shard)}
        for shard in lost:
            self._actors[shard] = self._start(shard, cores=0)  # where the others are, if need be
            snapshot = self._snapshots[shard]
            if snapshot is None:
                continue
            restored = self._actors[shard].restore.remote(snapshot.number, snapshot.memory)
            try:
                self._get(restored)
            except _Lost as error:
                raise _gone("a machine was lost with the last snapshot of its shard") from error
        again = [call for call in self._since if call.shard in lost]
        for call in (*again, *(call for call in failed if call not in again)):
            self._submit(call)

    def _lives(self, shard: int) -> bool:
        try:
            self._get(self._actors[shard].versions.remote())
        except _Lost:
            return False
        return True


class _Lost(Exception):
    """An actor, or an object that it gave, is no more."""


def _gone(what: str) -> TransportError:
    return TransportError(what, fix="carry on from the run's last checkpoint with --resume")
