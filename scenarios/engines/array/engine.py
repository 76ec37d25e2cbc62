"""A run of the array engine, from its first wave to its last."""

from __future__ import annotations

import numpy as np

from ...run_events import ConsensusMeasured, RoundDone
from ...world import World
from .arrays import Arrays
from .chronicle import Chronicle, Mixture, posted
from .frames import frame_sizes
from .graph import Graph
from .measures import alignments, consensus_distance
from .rounds import Publication, mix, publish
from .tape import Tape, Wave
from .workers import Workers

TESTED_MODELS = 100_000  # of all rounds together; a small run tests every model in every round


class ArrayRun:
    """Runs the nodes of a world as rows of arrays; ``workers`` train them, ``tape`` says when."""

    def __init__(
        self, world: World, chronicle: Chronicle, workers: Workers, graph: Graph, tape: Tape
    ) -> None:
        scenario = world.scenario
        self._world = world
        self._rules = scenario.rules
        self._step_size = scenario.training.learning_rate * scenario.training.local_steps
        self._chronicle = chronicle
        self._workers = workers
        self._samples = np.asarray(workers.samples, dtype=np.int64)
        self._by_samples = self._rules.weighting == "samples"
        self.graph = graph
        self._tape = tape
        self.arrays = Arrays.begin(world.genesis, self._rules, spare=tape.spare)
        self.now = 0.0
        self._told = 0
        self._every = rounds_between_tests(scenario.peers, self._rules.rounds)
        self._bytes = self._messages = 0

    def run(self) -> str:
        """Run to the end; says how it ended."""
        chronicle = self._chronicle
        chronicle.began(self._world.genesis.size)
        mixed = np.zeros(self.graph.nodes, dtype=np.int64)
        try:
            for wave in self._tape.waves():
                self._work(wave)
                mixed[wave.mix] = wave.mix_rounds
                chronicle.settle(wave.until)
        finally:
            chronicle.close()
        if (mixed < self._rules.rounds).any():
            return "stalled: some peers never finished"
        return "finished"

    def _work(self, wave: Wave) -> None:
        self._chronicle.skipped(wave.skips)
        if len(wave.publish):
            self._tell_published(
                publish(self.arrays, self._rules, self._workers, wave, self._step_size)
            )
        if not len(wave.mix):
            return
        neighbours, table = self.graph.at(wave.mix, wave.mix_rounds)
        weights = np.where(wave.sources < 0, 0.0, table)
        sees = self._chronicle.sees_vectors
        aligned = alignments(self.arrays, wave, self._rules.grid_bits) if sees else None
        weights = mix(self.arrays, self._rules, wave, weights, self._step_size)
        self.now = max(self.now, float(wave.mix_times.max()))
        mixture = Mixture(
            nodes=wave.mix,
            rounds=wave.mix_rounds,
            times=wave.mix_times,
            neighbours=neighbours,
            weights=weights,
            versions=wave.versions,
            gamma=self.arrays.gamma[wave.mix, 0],
            alignment=aligned,
        )
        models = self.arrays.models.rows(wave.mix) if sees else None
        self._chronicle.mixed(mixture, models)
        accuracy = self._test(wave)
        self._tell_round(mixture, accuracy)

    def _tell_published(self, done: Publication) -> None:
        nodes = done.nodes
        copies = self.arrays.copies(nodes) if self._chronicle.sees_vectors else None
        self._chronicle.published(done, copies)
        samples = self._samples[nodes] if self._by_samples else 0
        sizes = frame_sizes(done.sizes, done.sequences, done.rounds, samples)
        frames = posted(done, sizes, self.graph)
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
            scores = self._workers.evaluate(nodes, self.arrays.models.rows(nodes))
            self._chronicle.evaluated(nodes, rounds, times, scores)
            accuracy = scores.accuracy
        if last.any():
            done = wave.mix[last]
            copies = self.arrays.copies(done) if self._chronicle.sees_vectors else None
            self._chronicle.finished(done, wave.mix_rounds[last], wave.mix_times[last], copies)
        return accuracy

    def _tell_round(self, mixture: Mixture, accuracy: np.ndarray) -> None:
        round = int(np.median(mixture.rounds))
        if self._chronicle.sees_vectors or round <= self._told:
            return
        self._told = round
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
        distance = consensus_distance(self.arrays.models)
        measured = ConsensusMeasured(round=round, distance=distance, peers=self.graph.nodes)
        self._chronicle.told(self.now, measured)
        self._bytes = self._messages = 0


def rounds_between_tests(peers: int, rounds: int) -> int:
    """In every how many rounds models are tested: in each, where that does not take too long."""
    return max(1, round(peers * rounds / TESTED_MODELS))
