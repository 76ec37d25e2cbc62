"""Lines of a log as records: an event's fields with its time and peer, decoded many at once.

A record stands for a line where millions are read. It has the attributes of the typed event,
``time`` and ``peer``; its class is made from the event's, and msgspec decodes a whole chunk of
lines into records in one call. Whatever does not fit makes the chunk as a whole unfit: then
log_line.parse_line decides line by line, and says why. So it does alone where msgspec, which comes
with ``tidings[scenarios]``, is missing.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Sequence
from functools import cache, reduce
from operator import or_
from types import SimpleNamespace
from typing import Annotated, Any

import numpy as np

from ..gossip.events import Event
from .log_line import LARGEST, LogLine
from .run_events import ALL_KINDS

NEWLINE, OPENING, CLOSING = b"\n{}"

Record = Any  # a typed event's fields, time: float, peer: str, kind: str; see `record_types`


@cache
def record_types() -> dict[str, type[Record]]:
    """The record class of each kind; its fields are time, peer, and the event's in their order."""
    import msgspec

    small = Annotated[int, msgspec.Meta(ge=-LARGEST, le=LARGEST)]  # sums of them stay exact
    size = Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]
    types: dict[str, type[Record]] = {}
    for kind, event in ALL_KINDS.items():
        hints = typing.get_type_hints(event)
        fields: list[Any] = [("time", float), ("peer", str)]
        for field in dataclasses.fields(event):
            hint = hints[field.name]
            if hint is int:
                hint = size if field.name == "size_bytes" else small
            fields.append((field.name, hint, *_default(field, msgspec)))
        types[kind] = msgspec.defstruct(
            event.__name__,
            fields,
            tag=kind,
            tag_field="event",
            gc=False,
            namespace={"kind": kind},
        )
    return types


def _default(field: dataclasses.Field[Any], msgspec: Any) -> tuple[Any, ...]:
    if field.default_factory is not dataclasses.MISSING:
        return (msgspec.field(default_factory=field.default_factory),)
    return () if field.default is dataclasses.MISSING else (field.default,)


@cache
def _decoder() -> Callable[[bytes], Sequence[Record]] | None:
    try:
        import msgspec
    except ImportError:
        return None
    union: Any = reduce(or_, record_types().values())
    lines: Callable[[bytes], Sequence[Record]] = msgspec.json.Decoder(union).decode_lines

    def decode(chunk: bytes) -> Sequence[Record]:
        try:
            return lines(chunk)
        except msgspec.MsgspecError as error:
            raise ValueError(str(error)) from None

    return decode


def decode_chunk(chunk: bytes) -> Sequence[Record] | None:
    """The records of whole lines; None when some line may be no event of a known kind."""
    decode = _decoder()
    if decode is None or not chunk.endswith(b"\n"):
        return None
    try:
        records = decode(chunk)
    except (ValueError, RecursionError):
        return None
    return records if _is_object_a_line(chunk, len(records)) else None


def _is_object_a_line(chunk: bytes, objects: int) -> bool:
    """Whether so many objects, which a decoder found, stand on a line each, and on one alone.

    Within an object no "}" is followed by a line feed and "{" (a string holds no line feed).
    """
    data = np.frombuffer(chunk, np.uint8)
    ends = np.flatnonzero(data == NEWLINE)
    between = ends[:-1]
    return (
        len(ends) == objects
        and bool((data[between - 1] == CLOSING).all())
        and bool((data[between + 1] == OPENING).all())
    )


def lines_in(chunk: bytes) -> int:
    """How many ends of lines there are; ten times faster than to have ``bytes`` count them."""
    return int(np.count_nonzero(np.frombuffer(chunk, np.uint8) == NEWLINE))


def record_of(line: LogLine) -> Record:
    """A line, which has a typed event, as a record."""
    event = line.event
    assert isinstance(event, Event)
    fields = {name: getattr(event, name) for name in event.names()}
    return SimpleNamespace(kind=event.kind, time=line.time, peer=line.peer, **fields)


def line_of(record: Record) -> LogLine:
    """The record as a line with its typed event."""
    kind = ALL_KINDS[record.kind]
    fields = {name: getattr(record, name) for name in kind.names()}
    return LogLine(time=record.time, peer=record.peer, event=kind(**fields))
