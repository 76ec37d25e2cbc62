"""A run of the array engine, from its first wave to its last."""

from __future__ import annotations

import numpy as np

from ....gossip.topology import Topology
from ...world import World
from .arrays import Arrays
from .chronicle import Chronicle, Mixture, posted_to
from .frames import frame_sizes
from .graph import Graph
from .rounds import Publication, mix, publish
from .tape import Lockstep, Tape, Wave
from .workers import OneByOne, Workers


class ArrayRun:
    """Runs the nodes of a world as rows of arrays.

    ``tape`` says what happens when; unless given, nothing goes wrong. ``workers`` train; unless
    given, by the learners of the simulator.
    """

    def __init__(
        self,
        world: World,
        chronicle: Chronicle,
        *,
        workers: Workers | None = None,
        tape: Tape | None = None,
    ) -> None:
        scenario = world.scenario
        self._rules = scenario.rules
        self._plan = scenario.training
        self._chronicle = chronicle
        self._workers = workers or OneByOne([citizen.trainer for citizen in world.citizens])
        self._topology = Topology(self._rules.topology)
        self._by_samples = self._rules.weighting == "samples"
        self._samples = np.asarray(self._workers.samples, dtype=np.int64)
        self.graph = Graph(self._topology, self._samples.tolist() if self._by_samples else None)
        round_s = scenario.faults.train_s + scenario.faults.delay_s
        self._tape = tape or Lockstep(self.graph, self._rules.rounds, round_s=round_s)
        self.arrays = Arrays.begin(world.genesis, self._rules, spare=self._tape.spare)
        self.now = 0.0

    def run(self) -> str:
        """Run to the end; says how it ended."""
        self._chronicle.began(self.arrays.models.shape[1])
        for skip in self._tape.skips:
            self._chronicle.skipped(skip)
        mixed = np.zeros(self.graph.nodes, dtype=np.int64)
        try:
            for wave in self._tape.waves():
                self._work(wave)
                mixed[wave.mix] = wave.mix_rounds
                self.now = max([self.now, *wave.mix_times.max(initial=0.0, keepdims=True)])
                self._chronicle.settle(wave.until)
        finally:
            self._chronicle.close()
        if (mixed < self._rules.rounds).any():
            return "stalled: some peers never finished"
        return "finished"

    def _work(self, wave: Wave) -> None:
        for done in publish(self.arrays, self._rules, self._workers, wave):
            self._tell_published(done)
        if not len(wave.mix):
            return
        neighbours, table = self.graph.at(wave.mix, wave.mix_rounds)
        weights = np.where(wave.sources < 0, 0.0, table)
        step_size = self._plan.learning_rate * self._plan.local_steps
        mix(self.arrays, self._rules, wave, weights, step_size)
        mixture = Mixture(
            nodes=wave.mix,
            rounds=wave.mix_rounds,
            times=wave.mix_times,
            neighbours=neighbours,
            weights=weights,
            versions=wave.versions,
            gamma=self.arrays.gamma[wave.mix],
        )
        self._chronicle.mixed(mixture, self.arrays.models)
        self._test(wave)

    def _tell_published(self, done: Publication) -> None:
        nodes = done.nodes
        sequences = self.arrays.sequences[nodes]
        self._chronicle.published(done, sequences, self.arrays.public[nodes])
        samples = self._samples[nodes] if self._by_samples else 0
        sizes = frame_sizes(done.sizes, sequences, done.rounds, samples)
        hearers = done.heard_by
        if hearers is None:
            hearers = [
                self._topology.out_neighbours(node, round)
                for node, round in zip(nodes.tolist(), done.rounds.tolist(), strict=True)
            ]
        self._chronicle.posted(posted_to(nodes, hearers, sizes, sequences, done.times))

    def _test(self, wave: Wave) -> None:
        scores = self._workers.evaluate(wave.mix, self.arrays.models[wave.mix])
        self._chronicle.evaluated(wave.mix, wave.mix_rounds, wave.mix_times, scores)
        last = wave.mix_rounds == self._rules.rounds
        self._chronicle.finished(
            wave.mix[last], wave.mix_rounds[last], wave.mix_times[last], self.arrays.public
        )
