"""Tidings on one of its engines: ``tidings_engine.py FOLDER ENGINE [ARM]``, gossip if none."""

from __future__ import annotations

import sys
from pathlib import Path

from problem import Problem, Result

from tidings.scenarios.runner import run_scenario
from tidings.scenarios.scenario import load_scenario
from tidings.scenarios.summary import summarise


def main() -> None:
    folder, engine = Path(sys.argv[1]), sys.argv[2]
    arm = sys.argv[3] if len(sys.argv) > 3 else "gossip"
    name = f"tidings_{engine if arm == 'gossip' else arm}"
    problem = Problem(folder)
    whole = load_scenario(str(folder / "scenario.toml"), (f"engine={engine}", f'arms=["{arm}"]'))
    # as the others do: what is imported at the first step is not part of the run
    short = whole.model_copy(update={"rules": whole.rules.model_copy(update={"rounds": 1})})
    run_scenario(short, folder / f"warm_{name}", lambda *_: None)
    result = Result(folder, name)
    (made,) = run_scenario(whole, folder / name, lambda *_: None).values()
    summary = summarise(made)
    accuracies = [peer.accuracy for peer in summary.by_peer if peer.accuracy is not None]
    assert len(accuracies) == problem.plan.nodes
    assert summary.rounds == problem.plan.rounds
    result.done(accuracies, outcome=summary.outcome)


if __name__ == "__main__":
    main()
