"""Training and testing of many models: whoever does it, for rows of the arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ....gossip.effects import Evaluate, Train
from ....gossip.events import Released
from ....gossip.grid import FloatVector
from ....gossip.rounds import released
from ....peer.training import Trainer
from ..sim import TRUST_MODEL
from .tape import Nodes


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What n nodes are to train: ``models`` (n, P), in place, each by the data of its node.

    ``rounds`` and ``sessions`` (n,) say which round it is for each node, and how often it has
    trained before; ``drift`` (n, P), times ``beta``, is added to each gradient.
    """

    nodes: Nodes
    rounds: Nodes
    sessions: Nodes
    models: FloatVector
    drift: FloatVector | None = None
    beta: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What came of training n nodes: which of them ``trained`` (n,), what their logs tell of the
    release, and in words why some of them, by position, were stopped. ``began`` (n,) says who began
    a session, whatever came of it.
    """

    trained: NDArray[np.bool_]
    began: NDArray[np.bool_]
    released: Sequence[Released]
    stopped: Mapping[int, str] = field(default_factory=dict)


def joined(parts: Sequence[Trained]) -> Trained:
    """What came of training several groups of nodes, one behind the other."""
    released: list[Released] = []
    stopped: dict[int, str] = {}
    for part in parts:
        stopped |= {len(released) + i: why for i, why in part.stopped.items()}
        released += part.released
    none = [np.zeros(0, dtype=np.bool_)]
    return Trained(
        trained=np.concatenate([part.trained for part in parts] or none),
        began=np.concatenate([part.began for part in parts] or none),
        released=released,
        stopped=stopped,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """How good n models are: ``accuracy`` and ``loss`` (n,) over ``samples`` test records."""

    accuracy: NDArray[np.float64]
    loss: NDArray[np.float64]
    samples: int


class Workers(Protocol):
    """The learners of all nodes, behind their privacy gates.

    ``takes_whole_waves`` says that all who publish at once must be trained in one call.
    """

    takes_whole_waves: bool

    @property
    def samples(self) -> Sequence[int]:
        """The number of training records of each node."""
        ...

    def train(self, job: Training) -> Trained:
        """Turn the models of a job into releases, in place.

        Where training is not allowed, or diverges, the model stays as it was: it is made of
        released things.
        """
        ...

    def evaluate(self, nodes: Nodes, models: FloatVector) -> Scores:
        """Test ``models`` (n, P) on the held-out records of their nodes."""
        ...


class OneByOne:
    """The learners and gates of the simulator, one after the other: slow, and the same bits."""

    takes_whole_waves = False

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        self._trainers = trainers

    @property
    def samples(self) -> Sequence[int]:
        """The number of training records of each node."""
        return [trainer.learner.samples for trainer in self._trainers]

    def train(self, job: Training) -> Trained:
        """Train one node after the other; see ``Workers.train``."""
        trained = np.empty(len(job.nodes), dtype=np.bool_)
        events, stopped = [], {}
        places = zip(job.nodes.tolist(), job.rounds.tolist(), strict=True)
        for i, (node, round) in enumerate(places):
            own = None if job.drift is None else job.drift[i]
            asked = Train(round=round, model=job.models[i], drift=own, beta=job.beta)
            answer = self._trainers[node].train(asked)
            job.models[i] = answer.release.z
            trained[i] = answer.stopped is None
            event = released(answer.release, round)
            private = event.unit != "none"
            events.append(replace(event, trust_model=TRUST_MODEL) if private else event)
            if answer.stopped is not None:
                stopped[i] = answer.stopped
        return Trained(trained=trained, began=trained, released=events, stopped=stopped)

    def evaluate(self, nodes: Nodes, models: FloatVector) -> Scores:
        """Test one model after the other."""
        tested = [
            self._trainers[node].evaluate(Evaluate(round=0, model=model))
            for node, model in zip(nodes.tolist(), models, strict=True)
        ]
        return Scores(
            accuracy=np.array([each.accuracy for each in tested]),
            loss=np.array([each.loss for each in tested]),
            samples=tested[0].samples if tested else 0,
        )
