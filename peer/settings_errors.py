"""What is wrong with a settings file, in words: pydantic's errors told for people."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

# pydantic's error types, as what a person should have written; {ge} and so on come from ctx.
_EXPECTED = {
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a table",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "list_type": "a list",
    "literal_error": "one of {expected}",
    "union_tag_invalid": "one of {expected_tags}",
    "too_long": "at most {max_length} entries",
    "too_short": "at least {min_length} entries",
    "model_type": "a table",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "at least {min_length} characters",
    "string_type": 'text in "quotes"',
    "tuple_type": "a list",
}


def explain(
    error: ValidationError, model: type[BaseModel], mapping: Mapping[str, Any]
) -> tuple[str, str]:
    """What is wrong with ``mapping`` and what to do about it, for a ConfigError.

    Every wrong key is told once, by its dotted path, with what was expected and found.
    """
    told: list[str] = []
    expected: dict[str, list[str]] = {}  # by path: a union expects several things
    found: dict[str, str] = {}
    for detail in error.errors(include_url=False):
        path, models = _follow(detail["loc"], model, mapping)
        kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
        if kind.startswith("union_tag_"):
            path += f".{context['discriminator'].strip(chr(39))}"
            value = context.get("tag")
        if kind == "extra_forbidden":
            told.append(_unknown_key(path, models))
        elif kind in ("missing", "union_tag_not_found"):
            told.append(f"{path}: this key is needed and missing")
        elif kind == "value_error":
            told.append(f"{path}: {context['error']}" if path else str(context["error"]))
        else:
            expectation = _expectation(detail)
            expected.setdefault(path, []).append(expectation)
            found[path] = _shown(value) + _nearest_value(value, expectation)
    for path, expectations in expected.items():
        either = " or ".join(dict.fromkeys(expectations))
        told.append(f"{path}: expected {either}, found {found[path]}")
    if len(told) == 1:
        return told[0], "correct this key"
    listed = "".join(f"\n  - {line}" for line in told)
    return f"{len(told)} settings cannot be used:{listed}", "correct these keys"


def _expectation(detail: ErrorDetails) -> str:
    if detail["type"] not in _EXPECTED:
        return detail["msg"]
    context = {  # pydantic gives the bounds of a number as float: 10, not 10.0
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in detail.get("ctx", {}).items()
    }
    return _EXPECTED[detail["type"]].format(**context)


def _unknown_key(path: str, models: Iterable[type[BaseModel]]) -> str:
    """The complaint about a key that no model has, with the nearest key that there is."""
    known = sorted({name for each in models for name in each.model_fields})
    key = path.rpartition(".")[2]
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if near:
        return f"{path}: unknown key; did you mean '{near[0]}'?"
    return f"{path}: unknown key; known here: {', '.join(known)}"


def _nearest_value(value: object, expectation: str) -> str:
    """The allowed value that is spelled most like the one found."""
    allowed = expectation.split("'")[1::2]
    near = difflib.get_close_matches(value, allowed, n=1, cutoff=0.5) if type(value) is str else []
    return f"; did you mean '{near[0]}'?" if near else ""


def _shown(value: object) -> str:
    """A value as the user wrote it, shortened; of a table only that it is one."""
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, str):
        return f'the text "{value if len(value) <= 60 else value[:57] + "..."}"'
    return str(value)


def _follow(
    location: tuple[int | str, ...], model: type[BaseModel], mapping: Mapping[str, Any]
) -> tuple[str, list[type[BaseModel]]]:
    """The dotted path of an error and the models whose keys are known where it ends.

    pydantic's location also names the branch of a union it tried. Such a step is neither a key
    of the file nor a field of a model; it is left out of the path.
    """
    path = ""
    value: Any = mapping
    annotations: list[Any] = [model]
    parents: list[Any] = [model]
    for step in location:
        branch = _branch(annotations, step, value)
        if branch:
            annotations = branch
            continue
        parents, annotations = annotations, [t for each in annotations for t in _inside(each, step)]
        value = value[step] if _has(value, step) else None
        path += f".{step}" if path else str(step)
    return path, [each for each in parents if _is_model(each)]


def _branch(annotations: list[Any], step: int | str, value: Any) -> list[Any]:
    """The types left when ``step`` only says which branch of a union was tried; else nothing."""
    if len(annotations) < 2 or isinstance(step, int):
        return []
    models = [each for each in annotations if _is_model(each)]
    tagged = [each for each in models if step in _literals(each)]
    if tagged:  # the tag of a discriminated union: kind = "loss"
        return tagged
    if _has(value, step) or any(step in each.model_fields for each in models):
        return []
    return [each for each in annotations if _label(each) == step] or annotations


def _literals(model: type[BaseModel]) -> list[Any]:
    """The values that fields of the model are confined to."""
    kinds = (field.annotation for field in model.model_fields.values())
    return [value for each in kinds if get_origin(each) is Literal for value in get_args(each)]


def _label(annotation: Any) -> str:
    """pydantic's name for a branch of a union."""
    name = annotation.__name__ if get_origin(annotation) is None else str(annotation)
    return str(name).replace(" ", "")


def _has(value: Any, step: int | str) -> bool:
    if isinstance(value, list):
        return isinstance(step, int) and step < len(value)
    return isinstance(value, Mapping) and step in value


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _inside(annotation: Any, step: int | str) -> list[Any]:
    """The types that may stand at ``step`` inside a value of type ``annotation``."""
    if _is_model(annotation):
        field = annotation.model_fields.get(step)
        return _branches(field.annotation) if field is not None else []
    arguments = [each for each in get_args(annotation) if each is not Ellipsis]
    origin = get_origin(annotation)
    if origin in (dict, Mapping) and len(arguments) == 2:
        return _branches(arguments[1])
    if origin in (list, tuple) and isinstance(step, int):
        return [part for each in arguments for part in _branches(each)]
    return []


def _branches(annotation: Any) -> list[Any]:
    """The alternatives of a union, or the type alone."""
    if get_origin(annotation) is Annotated:
        return _branches(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [part for each in get_args(annotation) for part in _branches(each)]
    return [annotation]
