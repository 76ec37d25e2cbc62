"""The runs that a sweep consists of, and where each of them stands on the disk."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...crypto.digest import digest
from ...crypto.errors import ConfigError
from ...peer.settings_files import put_values
from ..scenario import Scenario, resolve_scenario
from .definition import LABEL, Sweep, settings_of_points, varied_keys

RESULT_NAME = "result.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Some settings, tried with every seed.

    ``values`` are those of the varied keys, ``said`` is what tables and pictures call it, in parts:
    the text for each key, and the label of a listed point in place of what that point sets.
    """

    number: int
    values: dict[str, Any]
    said: dict[str, str]

    @property
    def label(self) -> str:
        """What the point is called."""
        return ", ".join(self.said.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run: a point with a seed.

    ``id`` is a digest over all settings, so a run is found again when points are added to a
    sweep or change their order, and is never taken for one with other settings.
    """

    id: str
    point: Point
    scenario: Scenario = field(repr=False)

    @property
    def seed(self) -> int:
        """The scenario's seed."""
        return self.scenario.seed


def jobs_of(sweep: Sweep, base: dict[str, Any], *, where: str) -> list[Job]:
    """Every run of the sweep over the scenario ``base``, point by point, all checked.

    Raises ConfigError: a key or a value does not fit, or two points are the same.
    """
    keys = varied_keys(sweep)
    names = short_names(keys)
    jobs: list[Job] = []
    seen: dict[str, Point] = {}
    base = put_values(base, sweep.set, where=f"{sweep.name}: set")
    for number, settings in enumerate(settings_of_points(sweep)):
        given = {key: value for key, value in settings.items() if key != LABEL}
        described = ", ".join(f"{key} = {_text(value)}" for key, value in given.items())
        place = f"{where}, point {number} ({described})" if given else where
        mapping = put_values(base, given, where=place)
        point = Point(
            number=number,
            values={key: given.get(key) for key in keys},
            said=_said(settings, sweep, names) or {LABEL: sweep.name},
        )
        for seed in sweep.seeds:
            scenario = resolve_scenario(mapping | {"seed": seed}, where=place)
            job = Job(id=_identity(scenario), point=point, scenario=scenario)
            if job.id in seen:
                raise ConfigError(
                    f"points {seen[job.id].number} and {number} are the same",
                    where=place,
                    fix="leave one of them out",
                )
            seen[job.id] = point
            jobs.append(job)
    return jobs


def short_names(keys: tuple[str, ...]) -> dict[str, str]:
    """For each dotted key the shortest end of it that no other key shares."""
    names = {}
    for key in keys:
        parts = key.split(".")
        for length in range(1, len(parts) + 1):
            name = ".".join(parts[-length:])
            if sum(f".{other}".endswith(f".{name}") for other in keys) == 1:
                break
        names[key] = name
    return names


def _said(settings: dict[str, Any], sweep: Sweep, names: dict[str, str]) -> dict[str, str]:
    has_label = LABEL in settings
    said = {LABEL: str(settings[LABEL])} if has_label else {}
    for key, value in settings.items():
        if key != LABEL and (key in sweep.grid or not has_label):
            said[key] = value if isinstance(value, str) else f"{names[key]} {_text(value)}"
    return said


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _identity(scenario: Scenario) -> str:
    # defaults are left out: a later version's new settings do not make old runs strangers
    settings = scenario.model_dump(mode="json", exclude_defaults=True, exclude={"description"})
    text = json.dumps(settings, sort_keys=True)
    return f"s{scenario.seed}-{digest('sweep-run', text.encode()).hex()[:12]}"


def run_folder(sweep_folder: Path, job: Job) -> Path:
    """Where a run of the sweep in ``sweep_folder`` stands."""
    return sweep_folder / "runs" / job.id


def is_finished(sweep_folder: Path, job: Job) -> bool:
    """Whether the run is over: its result is written last, in one step."""
    return (run_folder(sweep_folder, job) / RESULT_NAME).is_file()
