"""What a sweep asks for: a scenario, the values of some of its keys, and seeds."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ...crypto.errors import ConfigError
from ...peer.config import Name
from ...peer.settings_files import (
    check_settings,
    flattened,
    parse_toml,
    read_toml,
    split_assignment,
    toml_value,
)

MAX_RUNS = 100_000


class Sweep(BaseModel):
    """A sweep file.

    ``grid`` maps keys of the scenario (dotted paths) to lists of values: every combination is a
    point, the last key changing fastest. ``points`` is a list of such settings, one value a key,
    perhaps with a ``label``; with a grid as well, each of them is combined with all of it. Each
    point runs once for each of ``seeds``. ``set`` holds for all points.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    description: str = ""
    scenario: str
    seeds: tuple[int, ...] = Field(default=(1,), min_length=1)
    set: dict[str, Any] = {}
    grid: dict[str, Any] = {}
    points: tuple[dict[str, Any], ...] = ()

    @field_validator("set", "grid")
    @classmethod
    def _dotted(cls, table: dict[str, Any]) -> dict[str, Any]:
        return flattened(table)

    @field_validator("points")
    @classmethod
    def _each_dotted(cls, points: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        return tuple(flattened(point) for point in points)

    @model_validator(mode="after")
    def _consistent(self) -> Sweep:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds must name each seed once")
        for key, values in self.grid.items():
            if not isinstance(values, list) or not values:
                raise ValueError(f"grid.{key} must be a list of values, such as [0.1, 0.5]")
        for table in (self.set, self.grid, *self.points):
            if "seed" in table:
                raise ValueError("'seed' is varied by 'seeds'; remove it from the other tables")
        twice = {LABEL, *self.grid} & {key for point in self.points for key in point} - {LABEL}
        if twice:
            raise ValueError(f"'{min(twice)}' stands in both the grid and the points")
        return self


LABEL = "label"  # of a listed point; no scenario has a key of that name


def varied_keys(sweep: Sweep) -> tuple[str, ...]:
    """The keys that may differ from point to point, in the order of the file."""
    listed = (key for point in sweep.points for key in point if key != LABEL)
    return tuple(dict.fromkeys([*listed, *sweep.grid]))


def settings_of_points(sweep: Sweep) -> list[dict[str, Any]]:
    """What each point sets, with its ``label`` where it was given one.

    Raises ConfigError when there would be more than 100,000 runs.
    """
    count = max(len(sweep.points), 1) * len(sweep.seeds)
    for values in sweep.grid.values():
        count *= len(values)
    if count > MAX_RUNS:
        raise ConfigError(
            f"these are {count} runs; a sweep has at most {MAX_RUNS}",
            where=sweep.name,
            fix="leave out some values, or list the points that matter",
        )
    listed = sweep.points or ({},)
    combinations = list(itertools.product(*sweep.grid.values()))
    return [
        {**point, **dict(zip(sweep.grid, values, strict=True))}
        for point in listed
        for values in combinations
    ]


def bundled_sweeps() -> dict[str, str]:
    """The sweep files that come with the package: name -> TOML text."""
    folder = resources.files(__package__) / "bundled"
    return {
        entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8")
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".toml")
    }


def read_sweep(
    name_or_path: str,
    *,
    over: Iterable[str] = (),
    seeds: Sequence[int] = (),
) -> tuple[Sweep, Path]:
    """The sweep in that file, or one over that scenario; and the folder that its paths start from.

    ``over`` are the ``key=v1,v2`` of ``--over``: they join the grid, or take a key's place there.
    ``seeds``, if any, take the place of the file's. Raises ConfigError.
    """
    mapping, where, beside = _read(name_or_path)
    grid = flattened(_table(mapping, "grid"))
    options = list(over)
    for assignment in options:
        key, text = split_assignment(assignment, option="--over")
        grid[key] = [toml_value(part) for part in split_values(text)]
    mapping["grid"] = grid
    if seeds:
        mapping["seeds"] = list(seeds)
    if options:
        where = f"{where} with --over {' '.join(options)}"
    return check_settings(Sweep, mapping, where=where), beside


def _read(name_or_path: str) -> tuple[dict[str, Any], str, Path]:
    """A sweep file as it stands; a scenario becomes the sweep over nothing but its seed."""
    texts = bundled_sweeps()
    if name_or_path in texts:
        where = f"bundled sweep '{name_or_path}'"
        return parse_toml(texts[name_or_path], where=where), where, Path()
    path = Path(name_or_path)
    if path.suffix == ".toml" or "/" in name_or_path:
        mapping = read_toml(path)
        if "scenario" in mapping:
            return mapping, name_or_path, path.parent
        return {"name": path.stem, "scenario": path.name}, name_or_path, path.parent
    return {"name": name_or_path, "scenario": name_or_path}, f"scenario '{name_or_path}'", Path()


def _table(mapping: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = mapping.get(name, {})
    if not isinstance(table, dict):
        raise ConfigError(f"'{name}' is no table", fix=f"write [{name}], and keys below it")
    return table


def split_values(text: str) -> list[str]:
    """The parts of ``text`` between commas, but for commas within brackets and quotes."""
    parts = [""]
    depth, quote = 0, ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "[{":
            depth += 1
        elif char in "]}":
            depth -= 1
        if char == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts]
