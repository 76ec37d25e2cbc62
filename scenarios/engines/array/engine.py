"""A run of the array engine, from its first wave to its last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from ....gossip.block_mixing import NOBODY
from ....gossip.rejoining import shares_of
from ....peer.clock import monotonic_time
from ...run_events import ConsensusMeasured, RoundDone
from ...world import World
from .checkpoint import Memory, Progress, interrupts_deferred, load, save
from .chronicle import Chronicle, Mixture, Return, posted
from .crews import Crew
from .frames import frame_sizes
from .graph import Graph
from .roads import Roads
from .rounds import Publication
from .tape import Nodes, Tape, Wave

CHECKPOINT_S = 60.0  # between two checkpoints of a run that goes on
TESTED_MODELS = 100_000  # of all rounds together; a small run tests every model in every round


class ArrayRun:
    """Runs the nodes of a world as rows of arrays; a ``crew`` works on them, ``tape`` says when.

    ``samples`` are the counts of the nodes' records.

    Where there is a ``folder``, the run keeps checkpoints in it.
    """

    def __init__(
        self,
        world: World,
        chronicle: Chronicle,
        crew: Crew,
        samples: Sequence[int],
        graph: Graph,
        tape: Tape,
        folder: Path | None = None,
    ) -> None:
        scenario = world.scenario
        self._world = world
        self._rules = scenario.rules
        self._chronicle = chronicle
        self.crew = crew
        self._samples = np.asarray(samples, dtype=np.int64)
        self._by_samples = self._rules.weighting == "samples"
        self.graph = graph
        self._tape = tape
        changing = not graph.topology.is_static and graph.ever().size
        self._roads = Roads(graph, world.genesis, self._rules, crew) if changing else None
        self._folder = folder
        self._saved = monotonic_time()
        self._progress = Progress(
            mixed=np.zeros(graph.nodes, dtype=np.int64),
            stopped=np.zeros(graph.nodes, dtype=np.bool_),
            parts=np.zeros(0, dtype=np.str_),
        )
        self._every = rounds_between_tests(scenario.peers, self._rules.rounds)
        self._bytes = self._messages = 0  # since the last round was summed up

    @property
    def now(self) -> float:
        """The virtual time, in seconds."""
        return self._progress.now

    def resume(self) -> None:
        """Carry on from the checkpoint in the run's folder. Raises ConfigError: there is none."""
        assert self._folder is not None
        held = self.crew.memory()
        self._progress = load(self._folder, self._with_roads(held))
        self.crew.take_up(held)
        self._chronicle.stopped(self._progress.stopped)

    def run(self) -> str:
        """Run to the end; says how it ended. Ctrl-C ends it after a wave that is whole."""
        progress = self._progress
        try:
            if not progress.waves:
                self._chronicle.began(self._world.genesis.size)
            with interrupts_deferred() as interrupted:
                for wave in islice(self._tape.waves(), progress.waves, None):
                    self._work(wave)
                    self._chronicle.settle(wave.until)
                    progress.waves += 1
                    if wave.came_from is None:
                        progress.mixed[wave.mix] = wave.mix_rounds
                    if interrupted() or monotonic_time() - self._saved > CHECKPOINT_S:
                        self._save()
                    if interrupted():
                        raise KeyboardInterrupt
        finally:
            self._chronicle.close()
            self.crew.close()
        if (progress.mixed < self._rules.rounds).any():
            return "stalled: some peers never finished"
        return "finished"

    def _with_roads(self, held: Memory) -> Memory:
        """All arrays that a run is carried on from, by name: the crew has ``held`` some."""
        return {**held, **(self._roads.memory() if self._roads else {})}

    def _save(self) -> None:
        if self._folder is not None:
            self._chronicle.flush()
            save(self._folder, self._with_roads(self.crew.memory()), self._progress)
            self._saved = monotonic_time()

    def _work(self, wave: Wave) -> None:
        if wave.came_from is not None:
            self._rejoin(wave, wave.came_from)
            return
        if len(wave.publish):
            self._tell_published(self.crew.publish(wave))
        if not len(wave.mix):
            return
        neighbours, table = self.graph.at(wave.mix, wave.mix_rounds)
        weights = np.where(wave.sources < 0, 0.0, table)
        sees = self._chronicle.sees_vectors
        aligned = self.crew.alignments(wave) if sees else None
        weights = self.crew.mix(wave, weights)
        self._progress.now = max(self.now, float(wave.mix_times.max()))
        mixture = Mixture(
            nodes=wave.mix,
            rounds=wave.mix_rounds,
            times=wave.mix_times,
            neighbours=neighbours,
            weights=weights,
            versions=wave.versions,
            gamma=self.crew.gamma(wave.mix),
            alignment=aligned,
        )
        models = self.crew.models(wave.mix) if sees else None
        self._chronicle.mixed(mixture, models)
        accuracy = self._test(wave)
        self._tell_round(mixture, accuracy)

    def _rejoin(self, wave: Wave, came_from: Nodes) -> None:
        neighbours = self.graph.followed(wave.mix)
        counts = np.maximum(1, self._samples[neighbours]) if self._by_samples else 1
        there = wave.sources != NOBODY
        shares = shares_of(self._rules, np.where(there, counts, 0))
        used = self.crew.rejoin(wave, shares)
        done = Return(
            nodes=wave.mix,
            from_rounds=came_from,
            to_rounds=wave.mix_rounds,
            times=wave.mix_times,
            neighbours=neighbours,
            weights=used.round(6),
            versions=np.where(shares != 0, wave.versions, NOBODY),
        )
        self._chronicle.skipped(done)

    def _tell_published(self, done: Publication) -> None:
        nodes = done.nodes
        self._progress.stopped[nodes[list(done.trained.stopped)]] = True
        copies = self.crew.copies(nodes) if self._chronicle.sees_vectors else None
        self._chronicle.published(done, copies)
        frames = posted(done, self.graph)
        if self._roads is not None and len(frames.sizes):
            frames = replace(frames, sizes=self._roads.sizes(frames, frames.sizes))
        samples = self._samples[frames.senders] if self._by_samples else 0
        sizes = frame_sizes(frames.sizes, frames.sequences, frames.rounds, samples)
        frames = replace(frames, sizes=sizes)
        self._bytes += int(frames.sizes.sum())
        self._messages += len(frames.sizes)
        self._chronicle.posted(frames)

    def _test(self, wave: Wave) -> np.ndarray:
        """Test those who mixed, in the rounds that are tested; the accuracies."""
        last = wave.mix_rounds == self._rules.rounds
        due = last | (wave.mix_rounds % self._every == 0)
        nodes, rounds, times = wave.mix[due], wave.mix_rounds[due], wave.mix_times[due]
        accuracy = np.zeros(0)
        if len(nodes):
            scores = self.crew.evaluate(nodes)
            self._chronicle.evaluated(nodes, rounds, times, scores)
            accuracy = scores.accuracy
        if last.any():
            done = wave.mix[last]
            copies = self.crew.copies(done) if self._chronicle.sees_vectors else None
            self._chronicle.finished(done, wave.mix_rounds[last], wave.mix_times[last], copies)
        return accuracy

    def _tell_round(self, mixture: Mixture, accuracy: np.ndarray) -> None:
        round = int(np.median(mixture.rounds))
        if self._chronicle.sees_vectors or round <= self._progress.told:
            return
        self._progress.told = round
        heard = np.count_nonzero(mixture.versions >= 0)
        event = RoundDone(
            round=round,
            peers=len(mixture.nodes),
            missing=int(np.count_nonzero(mixture.neighbours >= 0) - heard),
            bytes_sent=self._bytes,
            messages_sent=self._messages,
            accuracy_mean=float(accuracy.mean()) if len(accuracy) else None,
            accuracy_min=float(accuracy.min()) if len(accuracy) else None,
        )
        self._chronicle.told(self.now, event)
        distance = self.crew.distance()
        measured = ConsensusMeasured(round=round, distance=distance, peers=self.graph.nodes)
        self._chronicle.told(self.now, measured)
        self._bytes = self._messages = 0


def rounds_between_tests(peers: int, rounds: int) -> int:
    """In every how many rounds models are tested: in each, where that does not take too long."""
    return max(1, round(peers * rounds / TESTED_MODELS))
