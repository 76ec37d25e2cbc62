"""A plain PyTorch loop over modules, as one would write it first."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import torch
from problem import Problem, Result


def main() -> None:
    folder = Path(sys.argv[1])
    problem = Problem(folder)
    problem.warm_up()
    model = problem.model()
    result = Result(folder, "plain_torch")
    plan = problem.plan
    models = [copy.deepcopy(model) for _ in range(plan.nodes)]
    accuracies: list[float] = []
    for round_ in range(plan.rounds):
        for node, each in enumerate(models):
            problem.train(each, node, round_)
        with torch.no_grad():
            mean = {
                name: torch.stack([each.state_dict()[name] for each in models]).mean(0)
                for name in model.state_dict()
            }
        for each in models:
            each.load_state_dict(mean)
        accuracies = [problem.accuracy(each) for each in models]
    result.done(accuracies)


if __name__ == "__main__":
    main()
