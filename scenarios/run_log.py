"""Reading the event logs of a run: the only thing that tables, plots and reports read.

A run's folder holds ``events.jsonl`` and, when it was live, one more in each ``peers/NAME/``; a
log that outgrew its bounds has older parts beside it (peer/log_parts.py), which are read first.
A large run has most of its events in tables (scenarios/event_tables.py) instead. All are read
lazily and merged by time. Logs may come from elsewhere or have been cut short by a power failure,
so no line of them can raise: what cannot be understood is counted and reported with its file and
line.
"""

from __future__ import annotations

import gzip
import heapq
import zlib
from collections.abc import Iterator
from itertools import chain, groupby
from pathlib import Path
from typing import BinaryIO, cast

from ..crypto.errors import ConfigError
from ..crypto.files import storage_error
from ..peer import log_parts
from .log_line import MAX_LINE_BYTES, BadLine, LogLine, parse_line
from .run_events import ALL_KINDS, ConsensusMeasured, FaultMade, RunFinished, RunStarted
from .table_reader import drafts, kind_of, lines_of, read_batches, table_files

__all__ = [
    "ALL_KINDS",
    "LOG_NAME",
    "MAX_LINE_BYTES",
    "BadLine",
    "ConsensusMeasured",
    "FaultMade",
    "LogLine",
    "RunFinished",
    "RunLog",
    "RunStarted",
    "arms",
    "log_files",
    "parse_line",
]

LOG_NAME = "events.jsonl"
_NAME_A_RUN = "name a run's folder, as `tidings run` printed it"
MAX_REPORTED = 100  # corrupt lines are all counted; so many are kept with file and line


class RunLog:
    """The events of one run, in the order of their times.

    Iterating reads the files once more and counts afresh: ``corrupt`` is the number of lines left
    out, ``bad_lines`` the first hundred of them, ``torn`` the files whose last line was cut short
    (a process that was killed while writing; nothing is wrong with the rest). Within a file the
    order of its lines is kept, even where a clock was set back.

    Raises ConfigError for a folder without logs, StorageError for one that cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = log_files(folder)
        self.tables = table_files(folder)
        if not self.files:
            raise _nothing_here(folder)
        self.corrupt = 0
        self.bad_lines: list[BadLine] = []
        self.torn: list[str] = []

    def __iter__(self) -> Iterator[LogLine]:
        self.corrupt = 0
        self.bad_lines = []
        self.torn = [self._name(draft) for draft in drafts(self.folder)]
        logs = [
            chain.from_iterable(map(self._read, tuple(parts)))
            for _, parts in groupby(self.files, key=lambda file: file.parent)
        ]
        logs += [chain.from_iterable(map(self._read_table, parts)) for parts in self.tables]
        return heapq.merge(*logs, key=lambda line: line.time)

    def _read(self, file: Path) -> Iterator[LogLine]:
        name = self._name(file)
        try:
            with _opened(file) as stream:
                for number, (raw, whole) in enumerate(_lines(stream), start=1):
                    if not raw.strip():
                        continue
                    try:
                        line = parse_line(raw)
                    except ValueError as error:
                        if whole:
                            self._refuse(BadLine(file=name, line=number, why=str(error)))
                        else:
                            self.torn.append(name)
                        continue
                    yield line
        except (EOFError, zlib.error, gzip.BadGzipFile):
            self.torn.append(name)
        except OSError as error:
            raise storage_error(error, file) from error

    def _read_table(self, file: Path) -> Iterator[LogLine]:
        kind = kind_of(file)
        if kind is None:
            return

        def refuse(row: int, count: int, why: str) -> None:
            self._refuse(BadLine(file=self._name(file), line=row, why=why), count)

        try:
            for batch in read_batches(file, kind, refuse):
                yield from lines_of(batch, kind)
        except ValueError as error:
            refuse(0, 1, str(error))

    def _name(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()

    def _refuse(self, bad: BadLine, count: int = 1) -> None:
        self.corrupt += count
        if len(self.bad_lines) < MAX_REPORTED:
            self.bad_lines.append(bad)


def log_files(folder: Path) -> tuple[Path, ...]:
    """The logs of one run or one peer, each after its older parts; empty when there are none."""
    try:
        own = folder / LOG_NAME
        logs = (own, *sorted(folder.glob(f"peers/*/{LOG_NAME}")))
        return tuple(
            part for log in logs if log.is_file() for part in (*log_parts.parts_of(log), log)
        )
    except OSError as error:
        raise storage_error(error, folder) from error


def _opened(file: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(file)) if file.suffix == ".gz" else file.open("rb")


def arms(folder: Path) -> dict[str, Path]:
    """The runs in a folder by name: the folder itself, or each arm of a comparison.

    Raises ConfigError when neither the folder nor a folder in it holds an event log.
    """
    if log_files(folder):
        return {folder.resolve().name: folder}
    try:
        inside = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError as error:
        raise ConfigError(
            f"this is not a folder that can be read: {error.strerror}",
            where=str(folder),
            fix=_NAME_A_RUN,
        ) from error
    found = {path.name: path for path in inside if log_files(path)}
    if not found:
        raise _nothing_here(folder)
    return found


def _lines(stream: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """Each line and whether it was whole; of an over-long line no more than its beginning."""
    while raw := stream.readline(MAX_LINE_BYTES + 1):
        last = raw
        while len(last) > MAX_LINE_BYTES and not last.endswith(b"\n"):
            last = stream.readline(MAX_LINE_BYTES + 1)
        yield raw, last.endswith(b"\n")


def _nothing_here(folder: Path) -> ConfigError:
    return ConfigError(f"no event log ({LOG_NAME}) was found", where=str(folder), fix=_NAME_A_RUN)
