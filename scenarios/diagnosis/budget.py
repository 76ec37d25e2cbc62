"""Privacy budgets that are spent, or will be before the run is over."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

from .finding import Evidence, Finding
from .observed import Observed, listed


def budgets(seen: Observed) -> Iterator[Finding]:
    """Peers that had to stop training, and peers that will have to."""
    spent = {n: p for n, p in seen.peers.items() if p.budget_spent_round is not None}
    if spent:
        first = min(p.budget_spent_round or 0 for p in spent.values())
        yield Finding(
            kind="budget",
            what=f"the privacy budget of {listed(spent)} is spent: no training from round "
            f"{first} on",
            advice="plan fewer rounds or more noise; the budget of data that were used cannot be "
            "raised without a weaker promise",
            peers=tuple(spent),
            evidence=tuple(
                Evidence(
                    time=seen.time(name, peer.budget_spent_at),
                    peer=name,
                    text=f"budget-spent round {peer.budget_spent_round}",
                )
                for name, peer in list(spent.items())[:4]
            ),
        )
    budget, rounds = _planned(seen)
    ending: dict[str, int] = {}
    for name, peer in seen.peers.items():
        if budget is None or peer.epsilon is None or peer.finished or name in spent:
            continue
        step = peer.epsilon - (peer.epsilon_before or 0.0)
        left = int((budget - peer.epsilon) / step) if step > 0 else rounds
        if peer.furthest + left < rounds:
            ending[name] = left
    if ending:
        fewest = min(ending.values())
        yield Finding(
            kind="budget",
            what=f"the privacy budget of {listed(ending)} lasts for about {fewest} more rounds, "
            f"fewer than are planned",
            advice="stop in time, or plan fewer rounds: a peer whose budget is spent mixes on but "
            "learns nothing more from its data",
            peers=tuple(ending),
        )


def _planned(seen: Observed) -> tuple[float | None, int]:
    """The epsilon and the rounds that the scenario of a run names."""
    run = seen.tally.run
    if run is None:
        return None, 0
    try:
        epsilon = tomllib.loads(run.scenario)["privacy"]["epsilon"]
    except (tomllib.TOMLDecodeError, KeyError, TypeError, RecursionError):
        return None, run.rounds
    return (float(epsilon) if isinstance(epsilon, int | float) else None), run.rounds
