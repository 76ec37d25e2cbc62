"""Settings as TOML files: read, override from the command line, check, write.

Peer files, network files and scenario files all pass through here, so a mistake in any of
them is told in the same words: which file, which key (dotted path), what was expected, what
was found. All mistakes of a file are told at once.
"""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import tomli_w
from pydantic import BaseModel, ValidationError

from ..crypto.errors import ConfigError
from ..crypto.files import write_atomic
from .settings_errors import explain

M = TypeVar("M", bound=BaseModel)


def read_settings(model: type[M], path: Path, sets: Iterable[str] = ()) -> M:
    """Read ``path``, apply ``--set`` overrides and check the result against ``model``.

    Raises ConfigError: the file is missing, unreadable, not TOML, or does not fit the model.
    """
    overrides = list(sets)
    mapping = apply_sets(read_toml(path), overrides)
    where = f"{path} with --set {' '.join(overrides)}" if overrides else str(path)
    return check_settings(model, mapping, where=where)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises ConfigError when it cannot be had."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(
            "there is no such file", where=str(path), fix="check the spelling of the path"
        ) from None
    except IsADirectoryError:
        raise ConfigError(
            "this is a folder, a TOML file is needed",
            where=str(path),
            fix="name a file inside it",
        ) from None
    except OSError as error:
        raise ConfigError(
            f"the file cannot be read: {error.strerror}",
            where=str(path),
            fix="check who may read the file",
        ) from None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"line {line} is not UTF-8 text, so this is not a TOML file",
            where=str(path),
            fix="save the file as UTF-8",
        ) from None
    return parse_toml(text, where=str(path))


def parse_toml(text: str, *, where: str) -> dict[str, Any]:
    """The tables of a TOML text. Raises ConfigError with line and column."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"not valid TOML at {_position(str(error), text)}",
            where=where,
            fix="texts stand in quotes, tables are written [name], comments start with #",
        ) from None
    except RecursionError:
        raise ConfigError(
            "the lists or tables are nested too deeply", where=where, fix="flatten them"
        ) from None


def _position(message: str, text: str) -> str:
    """tomllib's message with the position first, always as line and column."""
    found = re.fullmatch(
        r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", message, re.DOTALL
    )
    if found is None:
        return f"an unknown place: {message}"
    what, line, column = found.groups()
    if line is None:  # tomllib names no position for what only the end of the file shows
        lines = text.splitlines() or [""]
        line, column = str(len(lines)), str(len(lines[-1]) + 1)
    return f"line {line}, column {column}: {what}"


def check_settings(model: type[M], mapping: Mapping[str, Any], *, where: str) -> M:
    """``mapping`` as a ``model``, strictly typed: the text "7" is no number.

    Raises ConfigError that lists every key that does not fit.
    """
    try:
        # Through JSON: pydantic's strict mode then still takes a list where a tuple is meant.
        return model.model_validate_json(json.dumps(mapping, default=str), strict=True)
    except ValidationError as error:
        what, fix = explain(error, model, mapping)
        raise ConfigError(what, where=where, fix=fix) from None


def apply_sets(mapping: Mapping[str, Any], sets: Iterable[str]) -> dict[str, Any]:
    """A copy of ``mapping`` with each ``key=value`` of ``sets`` put in, later ones winning.

    A key is a dotted path (``privacy.mode``; ``faults.0.loss`` for the first of a list), a
    value is TOML (``8.0``, ``true``, ``[1, 2]``, ``"7"``) or else a plain text. Raises ConfigError.
    """
    result = copy.deepcopy(dict(mapping))
    for assignment in sets:
        key, value = split_assignment(assignment, option="--set")
        _put(result, key.split("."), toml_value(value), said=assignment, where="--set")
    return result


def put_values(
    mapping: Mapping[str, Any], values: Mapping[str, Any], *, where: str
) -> dict[str, Any]:
    """A copy of ``mapping`` with each value put in at its dotted key. Raises ConfigError."""
    result = copy.deepcopy(dict(mapping))
    for key, value in values.items():
        _put(result, key.split("."), copy.deepcopy(value), said=key, where=where)
    return result


def flattened(table: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested tables as one, whose keys are dotted paths; lists and plain values stay whole."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            flat |= flattened(value, f"{above}{key}.")
        else:
            flat[f"{above}{key}"] = value
    return flat


def split_assignment(assignment: str, *, option: str) -> tuple[str, str]:
    """Key and text of the ``key=value`` that ``option`` was given. Raises ConfigError."""
    key, equals, value = assignment.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts) or not _is_utf8(assignment):
        raise ConfigError(
            f"'{assignment}' is not of the form key=value",
            where=option,
            fix=f"write for example {option} privacy.mode=none",
        )
    return ".".join(parts), value.strip()


def _is_utf8(text: str) -> bool:
    """False when an argument held other bytes: Python hands those over as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def toml_value(text: str) -> Any:
    """A value as it stands in TOML, or else the text itself."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return parsed["value"] if len(parsed) == 1 else text


def _put(table: dict[str, Any], parts: list[str], value: Any, *, said: str, where: str) -> None:
    """Set ``value`` at the path ``parts``, making the tables on the way."""
    place: Any = table
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        if isinstance(place, dict):
            if last:
                place[part] = value
            else:
                place = place.setdefault(part, {})
        elif isinstance(place, list) and part.isdecimal() and int(part) < len(place):
            if last:
                place[int(part)] = value
            else:
                place = place[int(part)]
        else:
            raise ConfigError(
                f"'{said}' leads nowhere: '{'.'.join(parts[:depth])}' is "
                + (f"a list of {len(place)}" if isinstance(place, list) else "a value, no table"),
                where=where,
                fix="lists are numbered from 0, as in --set faults.0.loss=0.1",
            )


def to_toml(model: BaseModel) -> str:
    """The settings as TOML text that reads back to an equal model. None is left out."""
    return tomli_w.dumps(model.model_dump(mode="json", exclude_none=True))


def write_settings(model: BaseModel, path: Path) -> None:
    """Write the settings to ``path``, atomically. Raises StorageError."""
    write_atomic(path, to_toml(model).encode())
