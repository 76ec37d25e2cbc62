"""The schema in the docs is that of the code, and real lines have the fields that it names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.small import simulate, small
from tidings.gossip.events import Event
from tidings.scenarios.log_schema import log_schema
from tidings.scenarios.run_log import ALL_KINDS
from tools import log_schema as tool

DOCS = Path(__file__).parents[2] / "docs"


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Whether a value fits the part of JSON Schema that the log's schema makes use of."""
    if "const" in schema:
        return bool(value == schema["const"])
    if "anyOf" in schema:
        return any(fits(value, each) for each in schema["anyOf"])
    match schema["type"]:
        case "integer":
            whole = isinstance(value, int) and not isinstance(value, bool)
            return whole and schema["minimum"] <= value <= schema["maximum"]
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "string":
            return isinstance(value, str)
        case "null":
            return value is None
        case "array":
            return isinstance(value, list) and all(fits(each, schema["items"]) for each in value)
        case "object" if "properties" in schema:
            known = schema["properties"]
            return set(schema["required"]) <= set(value) and all(
                fits(each, known[name]) for name, each in value.items() if name in known
            )
        case "object":
            return all(fits(each, schema["additionalProperties"]) for each in value.values())
    raise AssertionError(schema)


def test_the_schema_in_the_docs_is_up_to_date():
    written = (DOCS / "event-log.schema.json").read_text("utf-8")
    assert written == tool.text(), "run: python tools/log_schema.py"


def test_every_kind_is_explained_in_the_docs():
    page = (DOCS / "event-log.md").read_text("utf-8")
    assert [kind for kind in ALL_KINDS if f"`{kind}`" not in page] == []


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    """The lines of a small run in which several things go wrong."""
    faults = (
        "faults.loss=0.05",
        'faults.liars=[{node=1, behaviour="equivocate"}]',
        "faults.crashes=[{node=2, at_s=0.2, for_s=0.5}]",
    )
    run = simulate(small("privacy.mode=record", "rules.rounds=5", *faults))
    return [
        json.loads(json.dumps({"time": line.time, "peer": line.peer, **line.event.as_fields()}))
        for line in run.lines
        if isinstance(line.event, Event)
    ]


def test_what_peers_write_fits_the_schema(lines: list[dict[str, Any]]):
    parts = log_schema()["$defs"]
    assert len({line["event"] for line in lines}) > 9
    for line in lines:
        assert fits(line, parts[line["event"]]), line
        others = [kind for kind, part in parts.items() if fits(line, part)]
        assert others == [line["event"]]


def test_the_schema_names_every_field_and_no_other(lines: list[dict[str, Any]]):
    parts = log_schema()["$defs"]
    for line in lines:
        assert line.keys() == parts[line["event"]]["properties"].keys()
        assert not fits({**line, "time": "noon"}, parts[line["event"]])
