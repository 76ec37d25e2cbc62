"""Several runs side by side: arms of one scenario, or runs of any, and in what they differ."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..crypto.errors import ConfigError
from ..peer.settings_files import flattened
from .inspection import Inspection, inspect_log
from .run_log import RunLog, RunStarted, arms
from .summary import RunSummary

UNTOLD = ("description",)  # settings that change nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A setting that is not the same in all runs: its value in each; None where it is not set."""

    key: str
    values: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Runs by name, and the settings in which their resolved scenarios differ.

    A run whose log does not tell its scenario takes no part in ``differences``.
    """

    summaries: dict[str, RunSummary]
    differences: tuple[Difference, ...]

    def as_json(self) -> dict[str, Any]:
        """The comparison as a JSON value."""
        return {
            "arms": {name: summary.as_json() for name, summary in self.summaries.items()},
            "differences": [{"key": one.key, "values": one.values} for one in self.differences],
        }


def compare(folders: Mapping[str, Path]) -> Comparison:
    """Compare the runs in these folders. Raises ConfigError and StorageError as ``summarise``."""
    return side_by_side({name: inspect_log(RunLog(folder)) for name, folder in folders.items()})


def side_by_side(runs: Mapping[str, Inspection]) -> Comparison:
    """The comparison of runs that were read already."""
    scenarios = {name: _settings(run.tally.run) for name, run in runs.items()}
    told = {name: settings for name, settings in scenarios.items() if settings is not None}
    return Comparison(
        summaries={name: run.summary for name, run in runs.items()},
        differences=differences(told),
    )


def named_runs(folders: Iterable[Path]) -> dict[str, Path]:
    """The runs in these folders, and the arms of those that hold several, by names that differ.

    Raises ConfigError: a folder holds no run, or there are fewer than two runs in all.
    """
    found: dict[Path, tuple[str, ...]] = {}
    for folder in folders:
        for path in arms(folder).values():
            whole = path.resolve()
            found[path] = whole.parts
    runs = {_shortest(parts, list(found.values())): path for path, parts in found.items()}
    if len(runs) < 2:
        raise ConfigError(
            "there is one run here, and nothing to compare it with",
            where=", ".join(runs),
            fix="name two folders of runs or more; `tidings inspect` shows one",
        )
    return runs


def _settings(run: RunStarted | None) -> dict[str, Any] | None:
    """The resolved scenario of a run, flat (dotted keys); None if its log does not tell."""
    if run is None:
        return None
    try:
        settings = flattened(tomllib.loads(run.scenario))
    except (tomllib.TOMLDecodeError, RecursionError):
        return None
    return {key: _plain(value) for key, value in settings.items()}


def differences(scenarios: Mapping[str, Mapping[str, Any]]) -> tuple[Difference, ...]:
    """The keys on which these flat settings do not all agree, in the order of the first."""
    keys = dict.fromkeys(key for settings in scenarios.values() for key in settings)
    rows = []
    for key in keys:
        values = {name: settings.get(key) for name, settings in scenarios.items()}
        first, *others = values.values()
        if key not in UNTOLD and any(value != first for value in others):
            rows.append(Difference(key=key, values=values))
    return tuple(rows)


def _plain(value: Any) -> Any:
    """A value of TOML as one of JSON: dates become texts, numbers that are not finite null."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float) else str(value)


def _shortest(parts: tuple[str, ...], all_parts: list[tuple[str, ...]]) -> str:
    """As much of a path's end as no other path shares."""
    for length in range(1, len(parts) + 1):
        if sum(other[-length:] == parts[-length:] for other in all_parts) == 1:
            break
    return "/".join(parts[-length:])
