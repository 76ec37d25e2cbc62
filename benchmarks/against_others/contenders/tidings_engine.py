"""Tidings on one of its engines: ``tidings_engine.py FOLDER ENGINE``."""

from __future__ import annotations

import sys
from pathlib import Path

from problem import Problem, Result

from tidings.scenarios.runner import run_scenario
from tidings.scenarios.scenario import load_scenario
from tidings.scenarios.summary import summarise


def main() -> None:
    folder, engine = Path(sys.argv[1]), sys.argv[2]
    problem = Problem(folder)
    scenario = load_scenario(str(folder / "scenario.toml"), (f"engine={engine}",))
    # as the others do: what is imported at the first step is not part of the run
    short = scenario.model_copy(update={"rules": scenario.rules.model_copy(update={"rounds": 1})})
    run_scenario(short, folder / f"warm_{engine}", lambda *_: None)
    result = Result(folder, f"tidings_{engine}")
    run_scenario(scenario, folder / f"run_{engine}", lambda *_: None)
    summary = summarise(folder / f"run_{engine}")
    accuracies = [peer.accuracy for peer in summary.by_peer if peer.accuracy is not None]
    assert len(accuracies) == problem.plan.nodes
    assert summary.rounds == problem.plan.rounds
    result.done(accuracies, outcome=summary.outcome)


if __name__ == "__main__":
    main()
