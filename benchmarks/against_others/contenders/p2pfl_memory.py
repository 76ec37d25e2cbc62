"""p2pfl: nodes in one process over its in-memory protocol, all joined, without Ray.

p2pfl's settings are those of its own ``set_standalone_settings``; Ray would add processes.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from p2pfl.settings import Settings

Settings.general.DISABLE_RAY = True

from p2pfl.communication.protocols.protobuff.memory import MemoryCommunicationProtocol  # noqa: E402
from p2pfl.learning.dataset.p2pfl_dataset import P2PFLDataset  # noqa: E402
from p2pfl.learning.frameworks import Framework  # noqa: E402
from p2pfl.learning.frameworks.learner import Learner  # noqa: E402
from p2pfl.learning.frameworks.p2pfl_model import P2PFLModel  # noqa: E402
from p2pfl.learning.frameworks.pytorch.lightning_model import LightningModel  # noqa: E402
from p2pfl.management.logger import logger  # noqa: E402
from p2pfl.node import Node  # noqa: E402
from p2pfl.utils.topologies import TopologyFactory, TopologyType  # noqa: E402
from p2pfl.utils.utils import (  # noqa: E402
    set_standalone_settings,
    wait_convergence,
    wait_to_finish,
)
from problem import Problem, Result  # noqa: E402


class PlainLearner(Learner):
    """Trains as all contenders do; the records come from the problem."""

    def __init__(self, problem: Problem, node: int) -> None:
        super().__init__()
        self._problem = problem
        self._node = node
        self.rounds = 0

    def fit(self) -> P2PFLModel:
        model = self.get_model()
        self._problem.train(model.get_model(), self._node, self.rounds)
        self.rounds += 1
        model.set_contribution([self.addr], 1)  # every node counts alike
        return model

    def interrupt_fit(self) -> None:
        pass

    def evaluate(self) -> dict[str, float]:
        return {"accuracy": self._problem.accuracy(self.get_model().get_model())}

    def get_framework(self) -> str:
        return Framework.PYTORCH.value


def main() -> None:
    folder = Path(sys.argv[1])
    problem = Problem(folder)
    problem.warm_up()
    plan = problem.plan
    set_standalone_settings()
    Settings.general.LOG_LEVEL = "ERROR"
    logger.set_level("ERROR")
    result = Result(folder, "p2pfl")
    empty = P2PFLDataset.from_generator(lambda: iter([{"x": 0}]))
    learners = [PlainLearner(problem, node) for node in range(plan.nodes)]
    nodes = [
        Node(
            LightningModel(problem.model()),
            empty,
            addr=f"node-{node}",
            learner=learner,
            protocol=MemoryCommunicationProtocol(),
        )
        for node, learner in enumerate(learners)
    ]
    for node in nodes:
        node.start()
    matrix = TopologyFactory.generate_matrix(TopologyType.FULL, plan.nodes)
    TopologyFactory.connect_nodes(matrix, nodes)
    wait_convergence(nodes, plan.nodes - 1, only_direct=False, wait=60)
    began = time.monotonic()
    # all nodes train in every round, as those of the others do; four of them if not asked for more
    nodes[0].set_start_learning(rounds=plan.rounds, epochs=1, trainset_size=plan.nodes)
    wait_to_finish(nodes, timeout=1800)
    learning_s = time.monotonic() - began
    accuracies = [learner.evaluate()["accuracy"] for learner in learners]
    rounds = [learner.rounds for learner in learners]
    result.done(accuracies, learning_s=learning_s, rounds=rounds)
    for node in nodes:
        node.stop()


if __name__ == "__main__":
    main()
