"""The events themselves, merged by time and told in a line each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...gossip.events import Event, PeerStarted
from ..inspection import Selection
from ..run_log import RunLog
from .view import Column, View

LONG = ("sketch", "proof", "scenario")  # fields that nobody reads in a line
HASH_DIGITS = 12


def timeline(log: RunLog, selection: Selection) -> View:
    """A row for each event that is looked at, as a stream; times are since the run began."""
    columns = (Column("time", "seconds"), Column("peer"), Column("event"), Column("what"))
    return View(
        title="Timeline",
        columns=columns,
        rows=_rows(log, selection),
        empty="no event fits --peer, --kind, --from and --to",
    )


def _rows(log: RunLog, selection: Selection) -> Iterator[tuple[Any, ...]]:
    names: dict[str, str] = {}
    begin = log.begin_s
    for line in log:
        event, since_s = line.event, line.time - begin
        if isinstance(event, dict):
            continue
        if isinstance(event, PeerStarted):
            names.setdefault(event.id, line.peer)
        if selection.takes(line.peer, event.kind, since_s):
            yield since_s, line.peer, event.kind, told(event, names)


def told(event: Event, names: dict[str, str]) -> str:
    """An event's fields in a line, ids replaced by the names that are known."""
    parts = []
    for name, value in event.as_fields().items():
        if name == "event" or value in ("", (), {}, None):
            continue
        parts.append(f"{name}={'...' if name in LONG else _short(value, names)}")
    return " ".join(parts)


def _short(value: Any, names: dict[str, str]) -> str:
    if isinstance(value, str):
        known = names.get(value, value)
        return known[:HASH_DIGITS] if len(known) == 64 else known
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ",".join(f"{_short(k, names)}:{_short(v, names)}" for k, v in value.items())
    if isinstance(value, tuple):
        return ",".join(_short(each, names) for each in value)
    return str(value)
