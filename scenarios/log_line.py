"""One line of an event log: bytes that anybody may have written become a typed event, or none."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..gossip.events import Event
from .run_events import ALL_KINDS

MAX_LINE_BYTES = 4 * 2**20
LARGEST = 2**62  # of the integers in a log


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of a log.

    ``time`` is in seconds, ``peer`` names who wrote it (empty for the engine). ``event`` is typed
    where its kind is known; a kind of a later version stays the dictionary that was read.
    """

    time: float
    peer: str
    event: Event | dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """A line that was left out; ``file`` is relative to the run, ``line`` counts from 1."""

    file: str
    line: int
    why: str


def parse_line(raw: bytes) -> LogLine:
    """One line of a log. Raises ValueError, which says why it is none, for all other bytes."""
    if len(raw) > MAX_LINE_BYTES:
        raise ValueError(f"longer than {MAX_LINE_BYTES} bytes")
    try:
        fields = json.loads(raw.decode("utf-8"), parse_int=_bounded_int)
    except (ValueError, RecursionError):
        raise ValueError("not a line of JSON") from None
    match fields:
        case {"event": str() as kind, "time": int() | float() as time, "peer": str() as peer}:
            if isinstance(time, bool) or not math.isfinite(time):
                raise ValueError("has no time")
            event = _typed(kind, raw) if kind in ALL_KINDS else fields
            return LogLine(time=float(time), peer=peer, event=event)
        case _:
            raise ValueError("not an object with event, time and peer")


def _typed(kind: str, raw: bytes) -> Event:
    try:
        event = _adapter(kind).validate_json(raw, strict=True)
    except ValidationError:
        raise ValueError(f"not the fields of '{kind}'") from None
    if getattr(event, "size_bytes", 0) < 0:
        raise ValueError("has a negative size")
    return event


@cache
def _adapter(kind: str) -> TypeAdapter[Event]:
    return TypeAdapter(ALL_KINDS[kind])


def _bounded_int(digits: str) -> int:
    # Sums and plots turn integers into floats, which an endless one would overflow.
    if len(digits) > 20 or not -LARGEST <= int(digits) <= LARGEST:
        raise ValueError("integer out of range")
    return int(digits)
