"""Adding up frames that stand in tables, without a Python object for each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .table_reader import TableRows
from .table_schema import arrow

TRAFFIC = {"sent": "to", "received": "sender"}  # kinds, and the column that names the other end
WAITING_ROWS = 1 << 19


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """Frames that one peer sent to another, or heard from it."""

    bytes: int
    messages: int
    first_time: float
    last_time: float


class Traffic:
    """Sums by peer and other end; a table of them takes the place of the rows now and then."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Any]] = {kind: [] for kind in TRAFFIC}
        self._waiting = 0

    def add(self, rows: TableRows) -> None:
        """Take rows of one of the kinds in TRAFFIC."""
        pa = arrow()
        columns = {
            "peer": rows.column("peer").cast(pa.string()),
            "other": rows.column(TRAFFIC[rows.kind]),
            "bytes": rows.column("size_bytes"),
            "messages": pa.array([1]).take(pa.array([0] * len(rows))),
            "first": rows.column("time"),
            "last": rows.column("time"),
        }
        self._rows[rows.kind].append(pa.table(columns))
        self._waiting += len(rows)
        if self._waiting > WAITING_ROWS:
            for kind, tables in self._rows.items():
                self._rows[kind] = [_summed(tables)] if tables else []
            self._waiting = 0

    def sums(self) -> Iterator[tuple[str, str, str, Frames]]:
        """Kind, peer, other end and their frames; afterwards there are none."""
        for kind, tables in self._rows.items():
            if not tables:
                continue
            summed = _summed(tables)
            self._rows[kind] = []
            names = ("peer", "other", "bytes", "messages", "first", "last")
            for peer, other, *figures in zip(
                *(summed.column(name).to_pylist() for name in names), strict=True
            ):
                size, messages, first, last = figures
                yield (
                    kind,
                    peer,
                    other,
                    Frames(bytes=size, messages=messages, first_time=first, last_time=last),
                )


def _summed(tables: list[Any]) -> Any:
    wanted = [("bytes", "sum"), ("messages", "sum"), ("first", "min"), ("last", "max")]
    summed = arrow().concat_tables(tables).group_by(["peer", "other"]).aggregate(wanted)
    new = {f"{column}_{how}": column for column, how in wanted}
    return summed.rename_columns([new.get(name, name) for name in summed.column_names])
