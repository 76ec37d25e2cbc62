"""One log file, or an older part of one, as records in its own order, a chunk at a time."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from ..crypto.files import storage_error
from ..gossip.events import Event
from .log_line import MAX_LINE_BYTES, parse_line
from .records import Record, decode_chunk, lines_in, record_of

CHUNK_BYTES = 1 << 16  # a chunk and its records stay in the cache

Batch = Sequence[Record]


class Notes:
    """What a reader has to say beside the records; a log keeps them (scenarios/run_log.py)."""

    def refuse(self, file: Path, line: int, why: str, count: int = 1) -> None:
        """``count`` lines from ``line`` on (counted from 1) are no events."""

    def torn(self, file: Path) -> None:
        """The file ends in the midst of a line."""

    def unknown(self, count: int = 1) -> None:
        """Events of a kind that this version does not know were left out."""

    def advance(self, size: int) -> None:
        """So many more bytes of the file were read."""


def read_records(file: Path, notes: Notes) -> Iterator[Batch]:
    """The records of a file in batches. Raises StorageError when the file cannot be read."""
    try:
        with _opened(file) as (stream, below):
            number, seen = 1, 0
            for chunk in _chunks(stream):
                batch = decode_chunk(chunk) if len(chunk) <= MAX_LINE_BYTES else None
                if batch is None:
                    batch = list(_one_by_one(file, chunk, number, notes))
                    number += lines_in(chunk)
                else:
                    number += len(batch)
                yield batch
                place = below.tell()
                notes.advance(place - seen)
                seen = place
    except (EOFError, zlib.error, gzip.BadGzipFile):
        notes.torn(file)
    except OSError as error:
        raise storage_error(error, file) from error


def _one_by_one(file: Path, chunk: bytes, number: int, notes: Notes) -> Iterator[Record]:
    for line, raw in enumerate(io.BytesIO(chunk), start=number):
        if not raw.strip():
            continue
        try:
            found = parse_line(raw)
        except ValueError as error:
            if raw.endswith(b"\n"):
                notes.refuse(file, line, str(error))
            else:
                notes.torn(file)
            continue
        if isinstance(found.event, Event):
            yield record_of(found)
        else:
            notes.unknown()


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    """Whole lines, many at a time; of an over-long line no more than its beginning."""
    while chunk := stream.read(CHUNK_BYTES):
        if not chunk.endswith(b"\n"):
            rest = stream.readline(MAX_LINE_BYTES + 1)
            chunk += rest
            while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
                rest = stream.readline(MAX_LINE_BYTES + 1)
            if rest.endswith(b"\n") and not chunk.endswith(b"\n"):
                chunk += b"\n"
        yield chunk


@contextmanager
def _opened(file: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """The stream of lines, and that of the file's own bytes below it."""
    with file.open("rb") as below:
        if file.suffix != ".gz":
            yield below, below
            return
        with gzip.open(below) as stream:
            yield cast(BinaryIO, stream), below
