"""Reading the event logs of a run: the only thing that tables, plots and reports read.

A run's folder holds ``events.jsonl`` and, when it was live, one more in each ``peers/NAME/``; a
log that outgrew its bounds has older parts beside it (peer/log_parts.py), which are read first.
A large run has most of its events in tables (scenarios/event_tables.py) instead. All are read
lazily and merged by time. Logs may come from elsewhere or have been cut short by a power failure,
so no line of them can raise: what cannot be understood is counted and reported with its file and
line.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import chain, groupby
from pathlib import Path

from .line_files import Batch, Notes, read_records
from .log_files import LOG_NAME, arms, log_files, nothing_here
from .log_line import MAX_LINE_BYTES, BadLine, LogLine, parse_line
from .records import line_of
from .run_events import ALL_KINDS, ConsensusMeasured, FaultMade, RunFinished, RunStarted
from .table_reader import drafts, read_table, table_files

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

MAX_REPORTED = 100  # corrupt lines are all counted; so many are kept with file and line


class RunLog:
    """The events of one run, in the order of their times; of several folders as of one.

    Iterating reads the files once more and counts afresh: ``corrupt`` is the number of lines that
    are no events, ``bad_lines`` the first hundred of them, ``torn`` the files whose last line was
    cut short (a process that was killed while writing; nothing is wrong with the rest), ``unknown``
    the number of events of kinds that this version does not know. Within a file the order of its
    lines is kept, even where a clock was set back. ``advance`` is called with the number of bytes
    as they are read; ``size_bytes`` is what there is.

    Raises ConfigError for a folder without logs, StorageError for one that cannot be read.
    """

    def __init__(self, folder: Path, *others: Path) -> None:
        self.folder = folder
        self.folders = (folder, *others)
        for each in self.folders:
            if not log_files(each):
                raise nothing_here(each)
        self.files = tuple(file for each in self.folders for file in log_files(each))
        self.tables = tuple(parts for each in self.folders for parts in table_files(each))
        self.corrupt = self.unknown = 0
        self.advance: Callable[[int], None] = lambda size: None
        self.bad_lines: list[BadLine] = []
        self.torn: list[str] = []

    def __iter__(self) -> Iterator[LogLine]:
        self._begin()
        logs = [self._lines(log) for log in self._logs(_Notes(self))]
        return heapq.merge(*logs, key=lambda line: line.time)

    def batches(self) -> Iterator[Batch]:
        """The same events as records, many at a time, one log after another.

        Several times faster than iterating; the order is that of time within each log alone.
        """
        self._begin()
        return chain.from_iterable(self._logs(_Notes(self)))

    @cached_property
    def begin_s(self) -> float:
        """The time of the earliest first event of a log; 0 where there is none."""
        firsts = [
            next((batch[0].time for batch in log if batch), None) for log in self._logs(Notes())
        ]
        return min((time for time in firsts if time is not None), default=0.0)

    def _begin(self) -> None:
        self.corrupt = self.unknown = 0
        self.bad_lines = []
        self.torn = [self.name(draft) for each in self.folders for draft in drafts(each)]

    def _logs(self, notes: Notes) -> list[Iterator[Batch]]:
        """Each log, or table, from its oldest part to its newest."""
        logs: list[Iterator[Batch]] = [
            chain.from_iterable(read_records(part, notes) for part in tuple(parts))
            for _, parts in groupby(self.files, key=lambda file: file.parent)
        ]
        tables: list[Iterator[Batch]] = [
            chain.from_iterable(read_table(part, notes) for part in parts) for parts in self.tables
        ]
        return logs + tables

    def _lines(self, log: Iterator[Batch]) -> Iterator[LogLine]:
        for batch in log:
            yield from map(line_of, batch)

    def name(self, file: Path) -> str:
        """A file's path in the run, after its folder's name where there are several folders."""
        above = next(each for each in self.folders if file.is_relative_to(each))
        inside = file.relative_to(above).as_posix()
        return inside if len(self.folders) == 1 else f"{above.name}/{inside}"

    @property
    def size_bytes(self) -> int:
        """How long the files are, as far as they are still there."""
        files = [*self.files, *(part for parts in self.tables for part in parts)]
        return sum(file.stat().st_size for file in files if file.exists())


class _Notes(Notes):
    """Keeps in a log what its readers have to say."""

    def __init__(self, log: RunLog) -> None:
        self._log = log

    def refuse(self, file: Path, line: int, why: str, count: int = 1) -> None:
        self._log.corrupt += count
        if len(self._log.bad_lines) < MAX_REPORTED:
            self._log.bad_lines.append(BadLine(file=self._log.name(file), line=line, why=why))

    def torn(self, file: Path) -> None:
        self._log.torn.append(self._log.name(file))

    def unknown(self, count: int = 1) -> None:
        self._log.unknown += count

    def advance(self, size: int) -> None:
        self._log.advance(size)
