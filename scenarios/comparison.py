"""Several runs side by side: arms of one scenario, or runs of any, and in what they differ."""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..crypto.errors import ConfigError
from ..peer.settings_files import flattened
from .run_log import RunLog, RunStarted, arms
from .summary import RunSummary, summarise

UNTOLD = ("description",)  # settings that change nothing
_FIRST_LINES = 1000  # of a log; a run says what it is in one of its first


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
    scenarios = {name: settings_of(folder) for name, folder in folders.items()}
    told = {name: settings for name, settings in scenarios.items() if settings is not None}
    return Comparison(
        summaries={name: summarise(folder) for name, folder in folders.items()},
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


def settings_of(folder: Path) -> dict[str, Any] | None:
    """The resolved scenario of a run, flat (dotted keys), from its log; None if that is silent."""
    for line in itertools.islice(RunLog(folder), _FIRST_LINES):
        if isinstance(line.event, RunStarted):
            try:
                settings = flattened(tomllib.loads(line.event.scenario))
            except (tomllib.TOMLDecodeError, RecursionError):
                return None
            return {key: _plain(value) for key, value in settings.items()}
    return None


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
