"""decent-bench: local steps and averaging over a complete graph, as an algorithm of its API."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import networkx as nx
import torch
from decent_array import interoperability as iop
from decent_array.types import Devices, Frameworks
from decent_bench import benchmark as db
from decent_bench.agents import Agent
from decent_bench.algorithms.p2p import P2PAlgorithm
from decent_bench.costs import PyTorchCost
from decent_bench.networks import P2PNetwork
from problem import Problem, Result


@dataclass(eq=False)
class LocalSGD(P2PAlgorithm):
    """Steps of SGD at each agent, then the mean of what it hears and its own."""

    problem: Problem
    name: str = "local-sgd"

    def initialize(self, network: P2PNetwork) -> None:
        initial = torch.nn.utils.parameters_to_vector(self.problem.model().parameters()).detach()
        self.accuracies: list[float] = []
        self.model = self.problem.model()
        for agent in network.agents():
            agent.initialize(x=iop.from_numpy(initial.numpy().copy()))
        self.W = network.weights

    def step(self, network: P2PNetwork, iteration: int) -> None:
        plan = self.problem.plan
        for node, agent in enumerate(network.active_agents()):
            x = iop.copy(agent.x)
            for rows in self.problem.rows(node, iteration):
                x = x - plan.learning_rate * agent.cost.gradient(x, indices=rows.tolist())
            agent.x = x
            network.broadcast(agent, x)
        for agent in network.active_agents():
            mean = self.W[agent, agent] * agent.x
            for neighbour, x in agent.messages().items():
                mean = mean + self.W[agent, neighbour] * x
            agent.x = mean
        self.accuracies = [self._accuracy(agent) for agent in network.active_agents()]

    def _accuracy(self, agent: Agent) -> float:
        vector = torch.from_numpy(iop.to_numpy(agent.x)).float()
        torch.nn.utils.vector_to_parameters(vector, self.model.parameters())
        return self.problem.accuracy(self.model)


def main() -> None:
    folder = Path(sys.argv[1])
    problem = Problem(folder)
    problem.warm_up()
    plan = problem.plan
    result = Result(folder, "decent_bench")
    db.configure(framework=Frameworks.PYTORCH, device=Devices.CPU)
    agents = []
    for node in range(plan.nodes):
        x, y = (torch.from_numpy(array) for array in problem.share(node))
        cost = PyTorchCost(
            list(zip(x, y, strict=True)), problem.model(), torch.nn.CrossEntropyLoss()
        )
        agents.append(Agent(cost, state_snapshot_period=plan.rounds))
    network = P2PNetwork(nx.complete_graph(plan.nodes), agents)
    algorithm = LocalSGD(problem=problem)
    algorithm.run(network, plan.rounds)
    result.done(algorithm.accuracies)


if __name__ == "__main__":
    main()
