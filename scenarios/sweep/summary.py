"""What a sweep amounts to: for each point and arm, mean and spread over the seeds."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .jobs import Job, Point
from .results import RunResult

SPREAD_FIGURES = (
    "accuracy_mean",
    "accuracy_min",
    "consensus_distance",
    "bytes_per_peer",
    "messages_per_peer",
    "epsilon_max",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Mean, sample standard deviation (None of a single value) and extremes over seeds."""

    mean: float
    sd: float | None
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PointSummary:
    """One arm of one point. ``rounds`` gives the spread of the mean accuracy at each round."""

    point: Point
    arm: str
    runs: int
    failed: int
    figures: dict[str, Spread | None]
    rounds: dict[int, Spread]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSummary:
    """A sweep, as far as it has come."""

    name: str
    description: str
    varied: tuple[str, ...]
    seeds: tuple[int, ...]
    planned: int
    finished: int
    failed: int
    points: tuple[PointSummary, ...]

    def has_arms(self, one: PointSummary) -> bool:
        """Whether the point was run in more ways than one."""
        return sum(each.point.number == one.point.number for each in self.points) > 1

    def name_of(self, one: PointSummary) -> str:
        """What a point, or an arm of it, is called in tables and pictures."""
        if not self.has_arms(one):
            return one.point.label
        alone = len({each.point.number for each in self.points}) == 1
        return one.arm if alone else f"{one.point.label}, {one.arm}"

    def as_json(self) -> dict[str, Any]:
        """The summary as a JSON value."""
        whole = {name: getattr(self, name) for name in ("name", "description")}
        whole |= {"varied": list(self.varied), "seeds": list(self.seeds)}
        whole |= {"planned": self.planned, "finished": self.finished, "failed": self.failed}
        whole["points"] = [
            {
                "point": one.point.number,
                "label": one.point.label,
                "values": one.point.values,
                "arm": one.arm,
                "runs": one.runs,
                "failed": one.failed,
                **{name: _as_dict(spread) for name, spread in one.figures.items()},
                "accuracy_by_round": [
                    {"round": number, **dataclasses.asdict(spread)}
                    for number, spread in one.rounds.items()
                ],
            }
            for one in self.points
        ]
        return whole


def summarise_sweep(
    name: str,
    description: str,
    varied: tuple[str, ...],
    jobs: Sequence[Job],
    runs: Sequence[tuple[Job, RunResult]],
) -> SweepSummary:
    """Fold the runs that are over, of the planned ``jobs``, into one row a point and arm."""
    by_point: dict[int, list[tuple[Job, RunResult]]] = {}
    for job, result in runs:
        by_point.setdefault(job.point.number, []).append((job, result))
    return SweepSummary(
        name=name,
        description=description,
        varied=varied,
        seeds=tuple(dict.fromkeys(job.seed for job in jobs)),
        planned=len(jobs),
        finished=len(runs),
        failed=sum(bool(result.error) for _, result in runs),
        points=tuple(
            _point(arm, of_point)
            for _, of_point in sorted(by_point.items())
            for arm in of_point[0][0].scenario.arms
        ),
    )


def spread(values: Iterable[float | None]) -> Spread | None:
    """The spread of the values that there are; None of none."""
    known = [float(value) for value in values if value is not None]
    if not known:
        return None
    return Spread(
        mean=statistics.fmean(known),
        sd=statistics.stdev(known) if len(known) > 1 else None,
        low=min(known),
        high=max(known),
        count=len(known),
    )


def _point(arm: str, runs: Sequence[tuple[Job, RunResult]]) -> PointSummary:
    # a run that failed halfway has figures of the way, which are no end
    whole = [(job, result.arms[arm]) for job, result in runs if not result.error]
    figures = [one.figures | _per_peer(one.figures, job.scenario.peers) for job, one in whole]
    accuracies: dict[int, list[float]] = {}
    for _, one in whole:
        for row in one.rounds:
            if row["accuracy_mean"] is not None:
                accuracies.setdefault(row["round"], []).append(row["accuracy_mean"])
    return PointSummary(
        point=runs[0][0].point,
        arm=arm,
        runs=len(runs),
        failed=len(runs) - len(whole),
        figures={name: spread(one[name] for one in figures) for name in SPREAD_FIGURES},
        rounds={
            number: found
            for number, values in sorted(accuracies.items())
            if (found := spread(values)) is not None
        },
    )


def _per_peer(figures: dict[str, Any], peers: int) -> dict[str, float]:
    return {
        "bytes_per_peer": figures["bytes_sent"] / peers,
        "messages_per_peer": figures["messages_sent"] / peers,
    }


def _as_dict(value: Spread | None) -> dict[str, Any] | None:
    return None if value is None else dataclasses.asdict(value)
