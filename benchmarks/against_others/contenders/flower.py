"""Flower's simulation (Ray): a ServerApp with its FedAvg, every client a ClientApp."""

from __future__ import annotations

import sys
from pathlib import Path

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from problem import Problem, Result

FOLDER = Path(sys.argv[1]).resolve()
client = ClientApp()
server = ServerApp()
accuracies: list[float] = []


@client.train()
def train(message: Message, context: Context) -> Message:
    problem = Problem(FOLDER)
    model = problem.model()
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    node = int(context.node_config["partition-id"])
    problem.train(model, node, int(message.content["config"]["server-round"]) - 1)
    return _reply(message, {"arrays": ArrayRecord(model.state_dict())}, {"share": 1.0})


@client.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    problem = Problem(FOLDER)
    model = problem.model()
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    return _reply(message, {}, {"share": 1.0, "accuracy": problem.accuracy(model)})


def _reply(message: Message, records: dict, metrics: dict) -> Message:
    content = RecordDict({**records, "metrics": MetricRecord(metrics)})
    return Message(content=content, reply_to=message)


@server.main()
def serve(grid: Grid, context: Context) -> None:
    problem = Problem(FOLDER)
    # every client counts alike
    strategy = FedAvg(
        min_available_nodes=problem.plan.nodes,
        weighted_by_key="share",
    )
    found = strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord(problem.model().state_dict()),
        num_rounds=problem.plan.rounds,
        train_config=ConfigRecord(),
    )
    model = problem.model()
    model.load_state_dict(found.arrays.to_torch_state_dict())
    assert len(found.evaluate_metrics_clientapp) == problem.plan.rounds
    accuracies.append(problem.accuracy(model))


def main() -> None:
    problem = Problem(FOLDER)
    problem.warm_up()
    result = Result(FOLDER, "flower")
    run_simulation(
        server_app=server,
        client_app=client,
        num_supernodes=problem.plan.nodes,
        backend_config={"client_resources": {"num_cpus": 1}},
    )
    result.done(accuracies)


if __name__ == "__main__":
    main()
