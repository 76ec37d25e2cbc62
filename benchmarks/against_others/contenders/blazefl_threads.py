"""BlazeFL: its server handler for FedAvg, and clients in its pool of threads."""

from __future__ import annotations

import copy
import sys
import threading
from pathlib import Path

import torch
from blazefl.contrib.fedavg import (
    FedAvgBaseServerHandler,
    FedAvgDownlinkPackage,
    FedAvgUplinkPackage,
)
from blazefl.core import (
    ModelSelector,
    ThreadPoolClientTrainer,
    deserialize_model,
    serialize_model,
)
from problem import Problem, Result


class Selector(ModelSelector):
    """The one model there is."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem

    def select_model(self, model_name: str) -> torch.nn.Module:
        return self._problem.model()


class Server(FedAvgBaseServerHandler):
    """Its round counts as one when all clients' models were averaged."""


class Clients(ThreadPoolClientTrainer[FedAvgUplinkPackage, FedAvgDownlinkPackage]):
    """Each client trains a module of its own, then it is tested on what it gets back."""

    def __init__(self, problem: Problem, threads: int) -> None:
        self.problem = problem
        self.num_parallels = threads
        self.device = "cpu"
        self.device_count = 0
        self.cache: list[FedAvgUplinkPackage] = []
        self.stop_event = threading.Event()
        model = problem.model()
        self.models = [copy.deepcopy(model) for _ in range(problem.plan.nodes)]
        self.round = 0

    def worker(
        self,
        cid: int,
        device: str,
        payload: FedAvgDownlinkPackage,
        stop_event: threading.Event,
    ) -> FedAvgUplinkPackage:
        model = self.models[cid]
        deserialize_model(model, payload.model_parameters)
        self.problem.train(model, cid, self.round)
        # every client counts alike
        return FedAvgUplinkPackage(cid, serialize_model(model), 1)

    def uplink_package(self) -> list[FedAvgUplinkPackage]:
        packages, self.cache = self.cache, []
        return packages

    def test(self, payload: FedAvgDownlinkPackage) -> list[float]:
        for model in self.models:
            deserialize_model(model, payload.model_parameters)
        return [self.problem.accuracy(model) for model in self.models]


def main() -> None:
    folder = Path(sys.argv[1])
    problem = Problem(folder)
    problem.warm_up()
    plan = problem.plan
    result = Result(folder, "blazefl")
    server = Server(
        model_selector=Selector(problem),
        model_name="mlp",
        dataset=None,
        global_round=plan.rounds,
        num_clients=plan.nodes,
        sample_ratio=1.0,
        device="cpu",
        batch_size=plan.batch_size,
        seed=plan.seed,
    )
    clients = Clients(problem, threads=2)
    accuracies: list[float] = []
    while not server.if_stop():
        clients.round = server.round
        clients.local_process(server.downlink_package(), server.sample_clients())
        for package in clients.uplink_package():
            server.load(package)
        accuracies = clients.test(server.downlink_package())
    result.done(accuracies)


if __name__ == "__main__":
    main()
