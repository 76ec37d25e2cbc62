"""The JSON Schema of a line of an event log, derived from the typed events."""

from __future__ import annotations

import inspect
from typing import Any

from pydantic import TypeAdapter

from ..gossip.events import LOG_VERSION, Event
from .log_line import LARGEST
from .run_events import ALL_KINDS


def log_schema() -> dict[str, Any]:
    """A schema (draft 2020-12) that each line of ``events.jsonl`` fits: one of the kinds of event.

    Further fields are allowed, for a later version may add some.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of a Tidings event log",
        "description": f"Version {LOG_VERSION} of the format. docs/event-log.md explains it.",
        "oneOf": [{"$ref": f"#/$defs/{kind}"} for kind in ALL_KINDS],
        "$defs": {kind: _schema_of(kind, event) for kind, event in ALL_KINDS.items()},
    }


def _schema_of(kind: str, event: type[Event]) -> dict[str, Any]:
    derived = TypeAdapter(event).json_schema()
    fields = {name: _cleaned(each) for name, each in derived.get("properties", {}).items()}
    return {
        "description": inspect.cleandoc(event.__doc__ or ""),
        "type": "object",
        "properties": {
            "event": {"const": kind},
            "time": {"type": "number", "description": "seconds of the writer's clock"},
            "peer": {"type": "string", "description": "the writer's name; empty for an engine"},
            **fields,
        },
        "required": ["event", "time", "peer", *derived.get("required", [])],
    }


def _cleaned(schema: Any) -> Any:
    """Without titles, which only repeat names, and with the bounds of integers."""
    if isinstance(schema, list):
        return [_cleaned(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    cleaned = {key: _cleaned(value) for key, value in schema.items() if key != "title"}
    if cleaned.get("type") == "integer":
        cleaned |= {"minimum": -LARGEST, "maximum": LARGEST}
    return cleaned
