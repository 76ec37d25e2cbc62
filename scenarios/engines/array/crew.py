"""Who does the work of a wave: this process alone, or with helpers on the other cores.

Helpers see the same arrays in shared memory. Of a wave's nodes each trains and tests some, of the
tiles of the arrays each mixes some; what comes of it does not depend on how the work is shared out.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....crypto.errors import ConfigError, TidingsError, TransportError
from ....gossip.grid import FloatVector, GridVector
from ...scenario import Scenario
from .arrays import Arrays
from .checkpoint import Memory
from .graph import Weights
from .measures import alignments, consensus_distance
from .mixing import mix
from .rounds import Publication, keep, publish, rejoin
from .shared import SharedArrays
from .tape import Nodes, Wave
from .workers import Scores, Workers, joined

SHARED_VALUES = 2**21  # parameters of all nodes from which on helpers are worth their start
PATIENCE_S = 10.0  # until a helper has gone
MakeWorkers = Callable[[Scenario], Workers]


class Alone:
    """This process alone."""

    def __init__(self, arrays: Arrays, scenario: Scenario, workers: Workers) -> None:
        self.arrays = arrays
        self._rules = scenario.rules
        self._step_size = scenario.training.learning_rate * scenario.training.local_steps
        self._workers = workers

    def publish(self, wave: Wave) -> Publication:
        """Let the nodes of a wave train and publish."""
        keep(self.arrays, wave)
        return publish(self.arrays, self._rules, self._workers, wave, self._step_size)

    def mix(self, wave: Wave, weights: Weights) -> Weights:
        """Let the nodes of a wave mix; see ``mixing.mix``."""
        return self._mix(wave, weights, range(self.arrays.models.count))

    def _mix(self, wave: Wave, weights: Weights, tiles: range) -> Weights:
        return mix(self.arrays, self._rules, wave, weights, self._step_size, tiles)

    def rejoin(self, wave: Wave, shares: Weights) -> Weights:
        """Let the nodes of a wave go on from what others have; see ``rounds.rejoin``."""
        return rejoin(self.arrays, self._rules, wave, shares, self._step_size)

    def evaluate(self, nodes: Nodes) -> Scores:
        """Test the models of some nodes."""
        return self._workers.evaluate(nodes, self.arrays.models.rows(nodes))

    def cpu_s(self) -> float:
        """CPU seconds that all processes together have spent so far."""
        return _cpu_s()

    def gamma(self, nodes: Nodes) -> NDArray[np.float64]:
        """The step sizes (n,) of mixing that follow from the last releases of some nodes."""
        found: NDArray[np.float64] = self.arrays.gamma[nodes, 0]
        return found

    def models(self, nodes: Nodes) -> FloatVector:
        """The private models (n, P) of some nodes."""
        return self.arrays.models.rows(nodes)

    def copies(self, nodes: Nodes) -> GridVector:
        """The public copies (n, V P) of some nodes."""
        return self.arrays.copies(nodes)

    def alignments(self, wave: Wave) -> NDArray[np.float64]:
        """What the nodes of a wave note of those whom they hear, before they mix: (B, K)."""
        return alignments(self.arrays, wave, self._rules.grid_bits)

    def distance(self) -> float:
        """How far the models are from agreement."""
        return consensus_distance(self.arrays.models)

    def memory(self) -> Memory:
        """All that a run is carried on from, by name."""
        return self.arrays.memory()

    def take_up(self, memory: Memory) -> None:
        """Carry on from what ``memory()`` gave, now that a checkpoint has been read into it."""

    def close(self) -> None:
        """Let helpers go."""


class SharedCrew(Alone):
    """This process and ``helpers`` more, each with the learners that ``make_workers`` makes.

    Raises OSError where shared memory is scarce.
    """

    def __init__(
        self,
        genesis: GridVector,
        scenario: Scenario,
        workers: Workers,
        spare: int,
        *,
        helpers: int,
        make_workers: MakeWorkers,
    ) -> None:
        self._shared = SharedArrays(genesis.size, scenario.rules, spare)
        arrays = self._shared.arrays
        arrays.fill(genesis, scenario.rules)
        super().__init__(arrays, scenario, workers)
        context = multiprocessing.get_context("spawn")
        self._lines: list[Connection] = []
        self._processes = []
        place = (genesis.size, spare, self._shared.path)
        for _ in range(helpers):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_help, args=(theirs, scenario, place, make_workers), daemon=True
            )
            process.start()
            theirs.close()
            self._lines.append(ours)
            self._processes.append(process)
        try:
            self._together([("ready",)] * helpers, lambda: None)
        finally:
            self._shared.unlink()

    def publish(self, wave: Wave) -> Publication:
        """Let the nodes of a wave train and publish, some here and some with each helper."""
        if len(wave.publish) <= len(self._lines):
            return super().publish(wave)
        keep(self.arrays, wave)
        parts = self._parts(len(wave.publish))
        waves = [_publishing(wave, part) for part in parts]
        jobs = [("publish", some) for some in waves[1:]]
        own, others = self._together(jobs, lambda: super(SharedCrew, self).publish(waves[0]))
        return _joined(wave, [own, *others])

    def mix(self, wave: Wave, weights: Weights) -> Weights:
        """Let the nodes of a wave mix, each process in some of the columns."""
        if len(wave.mix) <= len(self._lines):
            return super().mix(wave, weights)
        tiles = self._parts(self.arrays.models.count)
        ranges = [range(part.start, part.stop) for part in tiles]
        none = wave.keep[:0]  # what others need not know
        told = replace(wave, publish=none, publish_rounds=none, heard_by=None)
        jobs = [("mix", told, weights, some) for some in ranges[1:]]
        used: Weights
        used, _ = self._together(jobs, lambda: self._mix(wave, weights, ranges[0]))
        return used

    def evaluate(self, nodes: Nodes) -> Scores:
        """Test the models of some nodes, some here and some with each helper."""
        if len(nodes) <= len(self._lines):
            return super().evaluate(nodes)
        parts = self._parts(len(nodes))
        jobs = [("evaluate", nodes[part]) for part in parts[1:]]
        first = nodes[parts[0]]
        own, others = self._together(jobs, lambda: super(SharedCrew, self).evaluate(first))
        scores = [own, *others]
        return Scores(
            accuracy=np.concatenate([each.accuracy for each in scores]),
            loss=np.concatenate([each.loss for each in scores]),
            samples=own.samples,
        )

    def cpu_s(self) -> float:
        """CPU seconds that all processes together have spent so far."""
        own, others = self._together([("cpu_s",)] * len(self._lines), _cpu_s)
        return float(own + sum(others))

    def close(self) -> None:
        """Let the helpers go."""
        for line in self._lines:
            with suppress(OSError):
                line.close()
        for process in self._processes:
            process.join(PATIENCE_S)

    def _parts(self, length: int) -> list[slice]:
        """Equal shares of so many things, the first for this process."""
        cuts = np.linspace(0, length, len(self._lines) + 2).round().astype(int).tolist()
        return [slice(a, b) for a, b in pairwise(cuts)]

    def _together(
        self, jobs: Sequence[tuple[Any, ...]], own: Callable[[], Any]
    ) -> tuple[Any, list[Any]]:
        """Give each helper its job and do one's own meanwhile; what came of all of them.

        Raises what a helper raised, and TransportError when one is gone.
        """
        try:
            for line, job in zip(self._lines, jobs, strict=True):
                line.send(job)
            mine = own()
            answers = [line.recv() for line in self._lines]
        except (OSError, EOFError) as error:
            raise TransportError(
                "a helper process of the array engine ended",
                fix="the machine may be short of memory; carry on with --resume",
            ) from error
        for answer in answers:
            if isinstance(answer, _Failed):
                raise ConfigError(answer.why)
        return mine, answers


@dataclass(frozen=True, slots=True)
class _Failed:
    """Why a helper could not do its job."""

    why: str


def _help(
    line: Connection, scenario: Scenario, place: tuple[int, int, Path], make_workers: MakeWorkers
) -> None:
    """What a helper does until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever asks
    os.environ["OMP_NUM_THREADS"] = "1"
    parameters, spare, path = place
    shared = SharedArrays(parameters, scenario.rules, spare, path)
    crew = Alone(shared.arrays, scenario, make_workers(scenario))
    doing: dict[str, Callable[..., Any]] = {
        "ready": lambda: None,
        "publish": crew.publish,
        "mix": crew._mix,
        "evaluate": crew.evaluate,
        "cpu_s": _cpu_s,
    }
    with suppress(EOFError, OSError):
        while True:
            kind, *arguments = line.recv()
            try:
                answer = doing[kind](*arguments)
            except TidingsError as error:
                answer = _Failed(str(error))
            line.send(None if kind == "mix" else answer)


def _cpu_s() -> float:
    spent = os.times()
    return spent.user + spent.system


def _publishing(wave: Wave, part: slice) -> Wave:
    """Some of those who publish in a wave; rows are kept by whoever shares out."""
    none = wave.keep[:0]
    return replace(
        wave,
        publish=wave.publish[part],
        publish_rounds=wave.publish_rounds[part],
        publish_times=wave.publish_times[part],
        heard_by=None if wave.heard_by is None else wave.heard_by[part],
        mix=none,
        mix_rounds=none,
        mix_times=wave.mix_times[:0],
        sources=wave.sources[:0],
        versions=wave.versions[:0],
        keep=none,
        keep_in=none,
    )


def _joined(wave: Wave, parts: Sequence[Publication]) -> Publication:
    return Publication(
        nodes=wave.publish,
        rounds=wave.publish_rounds,
        times=wave.publish_times,
        heard_by=wave.heard_by,
        trained=joined([part.trained for part in parts]),
        sequences=np.concatenate([part.sequences for part in parts]),
        sizes=np.concatenate([part.sizes for part in parts]),
        captured=np.concatenate([part.captured for part in parts]),
    )
