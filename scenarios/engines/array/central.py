"""Baselines with all models in one place: FedAvg with a coordinator, and all-reduce.

Everybody holds the same model after each round, so a run needs one vector, not one a node. Nothing
goes wrong here: these are what gossip is compared with. The coordinator runs beside the first peer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....crypto.errors import ConfigError
from ....gossip.algorithms.base import Turn
from ....gossip.algorithms.chosen import algorithm_of
from ....gossip.algorithms.quasi_global import DPSGD
from ....gossip.central import WeightedMean, draw_participants
from ....gossip.events import Evaluated, Mixed, PeerFinished, Sent, Sketched
from ....gossip.grid import GridVector, from_grid, state_hash, to_grid
from ....gossip.sketch import noted
from ...run_events import RoundDone
from ...scenario import Scenario
from ...world import World
from .central_log import CentralLog
from .engine import rounds_between_tests
from .frames import frame_sizes
from .tape import Nodes
from .workers import Training, Workers

CHUNK_NODES = 64  # that train at once
VALUE_BYTES = 4  # a parameter's, on its way
COORDINATOR = 0  # the peer beside which it runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """What a round looks like: the share of the nodes that train, and what weighs their models."""

    participation: float
    by_samples: bool
    has_coordinator: bool


def scheme_of(scenario: Scenario) -> Scheme | None:
    """What the scenario's arm asks for; None when its peers gossip."""
    if scenario.arms == ("fedavg",):
        share = scenario.fedavg.participation
        return Scheme(participation=share, by_samples=True, has_coordinator=True)
    if scenario.arms == ("all-reduce",):
        by_samples = scenario.rules.weighting == "samples"
        return Scheme(participation=1.0, by_samples=by_samples, has_coordinator=False)
    return None


class CentralRun:
    """One model for all nodes of a world, trained by some of them in each round and averaged."""

    def __init__(self, world: World, scheme: Scheme, workers: Workers, log: CentralLog) -> None:
        scenario = world.scenario
        self._world = world
        self._scheme = scheme
        self._workers = workers
        self._rules = scenario.rules
        algorithm = algorithm_of(self._rules)
        if not isinstance(algorithm, DPSGD):  # quasi-global momentum is one of its kind
            raise ConfigError(
                f"optimiser '{self._rules.optimiser}' has a memory of its own at each node, and "
                "here all are one",
                where=f"arms = {list(scenario.arms)}",
                fix="choose 'sgd' or 'qg-dsgdm'",
            )
        self._algorithm = algorithm
        self._step_size = scenario.training.learning_rate * scenario.training.local_steps
        self._samples = np.asarray(workers.samples, dtype=np.int64)
        self._global: GridVector = world.genesis
        self._model = from_grid(world.genesis, self._rules.grid_bits)
        self._memory = np.zeros((algorithm.slots, self._model.size), dtype=np.float32)
        self._sessions = np.zeros(scenario.peers, dtype=np.int64)
        self._rng = np.random.default_rng([scenario.seed, 0xFEDA])
        self._every = rounds_between_tests(scenario.peers, self._rules.rounds)
        self._log = log
        self.now = 0.0

    @property
    def model(self) -> GridVector:
        """What everybody holds, int32 (P,)."""
        return self._global

    def resume(self) -> None:
        """Raises ConfigError: a baseline is quick, and keeps no checkpoint."""
        raise ConfigError(
            "a baseline with all models in one place keeps no checkpoint",
            fix="start it anew, with another --out",
        )

    def run(self) -> str:
        """Run to the end; says how it ended."""
        faults = self._world.scenario.faults
        self._log.began(self._model.size)
        try:
            for round in range(1, self._rules.rounds + 1):
                self.now = round * (faults.train_s + faults.delay_s)
                self._round(round)
            everyone = np.arange(self._world.scenario.peers)
            state = state_hash(self._global).hex()
            self._log.note(PeerFinished, self.now, everyone, round=self._rules.rounds, state=state)
        finally:
            self._log.close()
        return "finished"

    def _round(self, round: int) -> None:
        peers = self._world.scenario.peers
        chosen = draw_participants(peers, self._scheme.participation, self._rng)
        mean = WeightedMean(self._model.size)
        trained = 0
        for start in range(0, len(chosen), CHUNK_NODES):
            trained += self._train(chosen[start : start + CHUNK_NODES], round, mean)
        sizes = self._post(chosen, round)
        if trained:
            self._settle(mean.value())
        self._tell(chosen, round, sizes)

    def _train(self, nodes: Nodes, round: int, mean: WeightedMean) -> int:
        """Let some nodes train, and add what they send; how many did.

        Who may not train any more, or diverged, has nothing to send.
        """
        models = np.tile(self._model, (len(nodes), 1))
        drift = self._algorithm.drift(self._memory)
        job = Training(
            nodes=nodes,
            rounds=np.full(len(nodes), round),
            sessions=self._sessions[nodes],
            models=models,
            drift=None if drift is None else np.broadcast_to(drift, models.shape),
            beta=self._algorithm.beta,
        )
        done = self._workers.train(job)
        self._sessions[nodes] += done.began
        self._log.released(self.now, nodes, done)
        sent = np.flatnonzero(done.trained)
        weights = self._samples[nodes[sent]] if self._scheme.by_samples else np.ones_like(sent)
        mean.add(to_grid(models[sent], self._rules.grid_bits), np.maximum(weights, 1))
        return len(sent)

    def _settle(self, average: GridVector) -> None:
        mixed = from_grid(average, self._rules.grid_bits)[None]
        turn = Turn(self._model, self._memory, self._step_size, np.array(True), np.ones(1))
        self._model, self._memory = mixed[0], self._algorithm.settle(turn, mixed, mixed)
        self._global = average

    def _post(self, chosen: Nodes, round: int) -> NDArray[np.int64]:
        """Note what went over the wire, uncompressed; the sizes of the frames."""
        whole = VALUE_BYTES * self._model.size
        ids = self._log.ids
        if not self._scheme.has_coordinator:
            # a ring all-reduce: each part of the model goes round nearly twice
            peers = len(chosen)
            part = np.full(peers, 2 * whole * (peers - 1) // peers)
            sizes = frame_sizes(part, round, round) if peers > 1 else np.zeros(0, dtype=np.int64)
            after = [ids[(node + 1) % peers] for node in chosen.tolist()]
            self._sent(chosen[: len(sizes)], after, "all-reduce", sizes)
            return sizes
        others = chosen[chosen != COORDINATOR]
        size = frame_sizes(np.full(len(others), whole), round, round)
        host = np.full(len(others), COORDINATOR)
        self._sent(host, [ids[node] for node in others.tolist()], "model", size)
        self._sent(others, [ids[COORDINATOR]] * len(others), "update", size)
        return np.concatenate([size, size])

    def _sent(self, nodes: Nodes, to: list[str], message: str, sizes: NDArray[np.int64]) -> None:
        if len(nodes):
            self._log.note(Sent, self.now, nodes, to=to, message=message, size_bytes=sizes.tolist())

    def _tell(self, chosen: Nodes, round: int, sizes: NDArray[np.int64]) -> None:
        """Note the end of a round, and how good the model is, which is tested once for all."""
        peers = self._world.scenario.peers
        everyone = np.arange(peers)
        if self._log.is_lines:
            numbers = noted(self._model, self._world.network.network_id)
            self._log.note(
                Mixed,
                self.now,
                everyone,
                round=round,
                neighbours={},
                missing=(),
                gamma=1.0,
            )
            self._log.note(Sketched, self.now, everyone, round=round, sketch=numbers)
        accuracy = None
        if round % self._every == 0 or round == self._rules.rounds:
            scores = self._workers.evaluate(np.zeros(1, dtype=np.int64), self._model[None])
            accuracy = float(scores.accuracy[0])
            self._log.note(
                Evaluated,
                self.now,
                everyone,
                round=round,
                accuracy=accuracy,
                loss=float(scores.loss[0]),
                samples=scores.samples,
            )
        if not self._log.is_lines:
            event = RoundDone(
                round=round,
                peers=peers,
                missing=0,
                bytes_sent=int(sizes.sum()),
                messages_sent=len(sizes),
                accuracy_mean=accuracy,
                accuracy_min=accuracy,
            )
            self._log.engine(self.now, event)
