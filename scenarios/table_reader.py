"""Reading the tables of a large run (scenarios/event_tables.py), whoever wrote them.

A table may be cut short, foreign or made to harm: its columns are compared with the typed event
before anything is read, rows come in batches of bounded length, and what does not fit is a
ValueError that says why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..crypto.files import storage_error
from ..gossip.events import Event
from .event_tables import DRAFT, FOLDER
from .line_files import Batch, Notes
from .records import Record, record_types
from .run_events import ALL_KINDS
from .table_schema import arrow, schema_of

ROWS_A_BATCH = 1 << 14
_PART = re.compile(r"([a-z-]+)-\d{6,}\.parquet")


def table_files(folder: Path) -> tuple[tuple[Path, ...], ...]:
    """The tables of a run, each as its parts in order; those first whose events come first.

    Equal times are usual in a table; what causes comes before what follows, as in ALL_KINDS.
    """
    found: dict[str, list[Path]] = {}
    for file in sorted((folder / FOLDER).glob("*.parquet")):
        match = _PART.fullmatch(file.name)
        if match is not None:
            found.setdefault(match[1], []).append(file)
    order = list(ALL_KINDS)
    ranked = sorted(found, key=lambda kind: order.index(kind) if kind in order else len(order))
    return tuple(tuple(found[kind]) for kind in ranked)


def drafts(folder: Path) -> tuple[Path, ...]:
    """Parts that were never closed: the run is at them, or was killed there."""
    return tuple(sorted((folder / FOLDER).glob(f"*.parquet{DRAFT}")))


def read_table(file: Path, notes: Notes) -> Iterator[Batch]:
    """The rows of a part as records, in batches, each in the order of its times.

    Raises StorageError when the file cannot be read.
    """
    match = _PART.fullmatch(file.name)
    kind = ALL_KINDS.get(match[1]) if match else None
    if kind is None:
        return
    try:
        for batch in _batches(file, kind, notes):
            yield TableRows(batch, kind)
    except ValueError as error:
        notes.refuse(file, 0, str(error))


def _batches(file: Path, kind: type[Event], notes: Notes) -> Iterator[Any]:
    """Record batches of pyarrow with the columns of ``kind``. ValueError says why there are none"""
    pa = arrow()
    from pyarrow import parquet

    schema = schema_of(kind)
    try:
        with file.open("rb") as stream, parquet.ParquetFile(stream) as part:
            _check_columns(part.schema_arrow, schema)
            row = 1
            for batch in part.iter_batches(batch_size=ROWS_A_BATCH, columns=schema.names):
                checked = batch.select(schema.names).cast(schema)
                checked.validate(full=True)
                yield _sound(checked, file, row, notes)
                row += len(batch)
        notes.advance(file.stat().st_size)
    except pa.ArrowException as error:
        raise ValueError(_first_line(error)) from None
    except OSError as error:
        if error.errno is None:  # not the disk: bytes that are no table
            raise ValueError(_first_line(error)) from None
        raise storage_error(error, file) from error


def _sound(batch: Any, file: Path, row: int, notes: Notes) -> Any:
    """The rows with a time and without a negative size."""
    checks = {"has no time": np.isfinite(batch.column("time").to_numpy())}
    if "size_bytes" in batch.schema.names:
        checks["has a negative size"] = batch.column("size_bytes").to_numpy() >= 0
    for why, good in checks.items():
        if not good.all():
            notes.refuse(file, row + int(np.argmin(good)), why, int((~good).sum()))
    every = np.logical_and.reduce(list(checks.values()))
    return batch if every.all() else batch.filter(arrow().array(every))


class TableRows(Sequence[Record]):
    """Rows of one kind, ordered by time; as columns, and as records when these are asked for."""

    def __init__(self, batch: Any, kind: type[Event]) -> None:
        self.kind = kind.kind
        self._batch = batch

    def __len__(self) -> int:
        return len(self._batch)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def __getitem__(self, index: Any) -> Any:
        return self._records[index]

    def column(self, name: str) -> Any:
        """A column as a pyarrow array, in the order of the file."""
        return self._batch.column(name)

    @cached_property
    def _records(self) -> list[Record]:
        make = record_types()[self.kind]
        rows = self._batch.take(arrow().compute.sort_indices(self._batch.column("time")))
        return list(map(make, *(_values(rows.column(name)) for name in rows.schema.names)))


def _values(column: Any) -> list[Any]:
    """The values of a column, as an event has them; texts that are equal are one object."""
    types = arrow().types
    if types.is_map(column.type):
        keys, items = _values(column.keys), column.items.to_pylist()
        return [dict(zip(keys[a:b], items[a:b], strict=True)) for a, b in _bounds(column)]
    if types.is_list(column.type):
        items = _values(column.values)
        return [tuple(items[a:b]) for a, b in _bounds(column)]
    if types.is_string(column.type):
        column = column.dictionary_encode()
    if types.is_dictionary(column.type):
        texts = column.dictionary.to_pylist()
        return [texts[code] for code in column.indices.to_pylist()]
    values: list[Any] = column.to_pylist()
    return values


def _bounds(column: Any) -> Iterator[tuple[int, int]]:
    """Where the items of each row of a list or map begin and end, in all of them."""
    return pairwise(column.offsets.to_pylist())


def _check_columns(found: Any, wanted: Any) -> None:
    for field in wanted:
        index = found.get_field_index(field.name)
        if index < 0:
            raise ValueError(f"has no column '{field.name}'")
        there = found.field(index).type
        if there != field.type and not _alike(there, field.type):
            raise ValueError(f"column '{field.name}' is {there}, not {field.type}")


def _alike(there: Any, wanted: Any) -> bool:
    """Whether only the encoding of texts differs, as after another program wrote them anew."""
    types = arrow().types
    if types.is_dictionary(wanted):
        wanted = wanted.value_type
    if types.is_dictionary(there):
        there = there.value_type
    return bool(there == wanted or (types.is_large_string(there) and types.is_string(wanted)))


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0][:200] or "not a table"
