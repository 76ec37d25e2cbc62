"""The log of a large run: the same facts as ``events.jsonl``, a table for each kind of event.

    RUN/events/KIND-000001.parquet   columns: time, peer, and the fields of the typed event

A table is Apache Parquet in parts, each of which can be read once it is closed: a run that is
killed loses the part it was at. pyarrow comes with ``tidings[scenarios]`` and is imported when
the first table is written.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..crypto.files import make_folder, storage_error
from ..gossip.events import Event
from .table_schema import arrow, schema_of

FOLDER = "events"
ROWS_A_GROUP = 1 << 16
ROWS_A_PART = 1 << 20
DRAFT = ".tmp"

IntArray = NDArray[np.integer[Any]]


class EventTables:
    """Writes tables of events; ``folder`` is the run's, ``peers`` are the names by node number.

    Raises ConfigError without pyarrow, StorageError when a table cannot be written.
    """

    def __init__(self, folder: Path, peers: Sequence[str]) -> None:
        self._folder = folder / FOLDER
        self._names = arrow().array([*peers, ""], type=arrow().string())
        self._tables: dict[str, _Table] = {}
        make_folder(self._folder)

    def append(self, kind: type[Event], *, time: Any, peer: IntArray, **columns: Any) -> None:
        """Add a row for each of ``peer``, node numbers (n,); -1 is the engine.

        ``time`` is in seconds, one number or (n,). Every field of the event is a column: an array
        or list with a value a row, a pyarrow array (``coded`` makes one of texts, ``ragged`` one
        of mappings), or one value for all rows: a text, number, None, tuple or dict. NaN in a
        field that may be None is None. A field that has a default may be left out.
        """
        pa = arrow()
        rows = len(peer)
        schema = schema_of(kind)
        given = {**_defaults(kind), **columns}
        fields = {field.name for field in dataclasses.fields(kind)}
        if given.keys() != fields:
            odd = ", ".join(sorted(given.keys() ^ fields))
            raise TypeError(f"{kind.kind} has other columns: {odd}")
        codes = np.where(peer < 0, len(self._names) - 1, peer).astype(np.int32)
        arrays = [
            _column(time, schema.field("time"), rows),
            pa.DictionaryArray.from_arrays(codes, self._names),
            *(_column(given[name], schema.field(name), rows) for name in schema.names[2:]),
        ]
        if kind.kind not in self._tables:
            self._tables[kind.kind] = _Table(self._folder, kind.kind, schema)
        self._tables[kind.kind].add(pa.RecordBatch.from_arrays(arrays, schema=schema))

    def close(self) -> None:
        """Write what is buffered and end the parts; what is added afterwards begins others."""
        for table in self._tables.values():
            table.end_part()


def coded(values: Sequence[str], codes: IntArray) -> Any:
    """A column of texts: for each row ``values[code]``. ``codes`` (n,) are integers."""
    return arrow().array(values, type=arrow().string()).take(arrow().array(codes))


def ragged(offsets: IntArray, keys: Any, values: NDArray[Any]) -> Any:
    """A column of mappings, as ``Mixed.neighbours`` is one.

    Row i maps ``keys[offsets[i]:offsets[i+1]]`` to the ``values`` there; offsets (n + 1,), ``keys``
    a column of texts (``coded``) and ``values`` numbers, both (offsets[n],).
    """
    return arrow().MapArray.from_arrays(offsets.astype(np.int32), keys, values)


class _Table:
    """One kind's table, in parts."""

    def __init__(self, folder: Path, kind: str, schema: Any) -> None:
        self._stem = folder / kind
        self._schema = schema
        # a run that is carried on leaves its earlier parts as they are
        self._part = len(list(folder.glob(f"{kind}-[0-9]*.parquet")))
        self._writer: Any = None
        self._waiting: list[Any] = []
        self._buffered = self._written = 0

    def add(self, batch: Any) -> None:
        """Take rows; a full group of them goes to the file, a full file is closed."""
        self._waiting.append(batch)
        self._buffered += len(batch)
        if self._buffered >= ROWS_A_GROUP:
            self._write()
            if self._written >= ROWS_A_PART:
                self.end_part()

    def _write(self) -> None:
        from pyarrow import parquet

        table = arrow().Table.from_batches(self._waiting, schema=self._schema)
        self._waiting, self._buffered = [], 0
        try:
            if self._writer is None:
                self._part += 1
                self._writer = parquet.ParquetWriter(
                    self._name() + DRAFT, self._schema, compression="zstd"
                )
            self._writer.write_table(table)
        except OSError as error:
            raise storage_error(error, self._stem.parent) from error
        self._written += len(table)

    def end_part(self) -> None:
        """Write what is buffered and close the part, so that it can be read."""
        if self._waiting:
            self._write()
        if self._writer is None:
            return
        try:
            self._writer.close()
            os.replace(self._name() + DRAFT, self._name())
        except OSError as error:
            raise storage_error(error, self._stem.parent) from error
        self._writer, self._written = None, 0

    def _name(self) -> str:
        return f"{self._stem}-{self._part:06d}.parquet"


def _defaults(kind: type[Event]) -> dict[str, Any]:
    found = {}
    for field in dataclasses.fields(kind):
        if field.default is not dataclasses.MISSING:
            found[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            found[field.name] = field.default_factory()
    return found


def _column(value: Any, field: Any, rows: int) -> Any:
    """A pyarrow array of ``rows`` values; one value stands for all rows."""
    pa = arrow()
    if isinstance(value, pa.Array):
        column = value if value.type == field.type else value.cast(field.type)
    elif isinstance(value, np.ndarray) and value.ndim:
        column = pa.array(value, from_pandas=field.nullable).cast(field.type)
    elif isinstance(value, list):
        column = pa.array(value, type=field.type)
    else:
        one = [list(value.items()) if isinstance(value, dict) else value]
        column = pa.array(one, type=field.type).take(pa.array(np.zeros(rows, np.int32)))
    if len(column) != rows:
        raise TypeError(f"column {field.name} has {len(column)} values for {rows} peers")
    return column
