"""Reading the event logs of a run: the only thing that tables, plots and reports read.

A run's folder holds ``events.jsonl`` and, when it was live, one more in each ``peers/NAME/``; a
log that outgrew its bounds has older parts beside it (peer/log_parts.py), which are read first.
They are read lazily, line by line, and merged by time. Logs may come from elsewhere or have been
cut short by a power failure, so no line of them can raise: what cannot be understood is counted
and reported with its file and line.
"""

from __future__ import annotations

import gzip
import heapq
import json
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain, groupby
from pathlib import Path
from typing import Any, BinaryIO, cast

from pydantic import TypeAdapter, ValidationError

from ..crypto.errors import ConfigError
from ..crypto.files import storage_error
from ..gossip.events import KINDS, Event
from ..peer import log_parts

LOG_NAME = "events.jsonl"
MAX_LINE_BYTES = 4 * 2**20
_NAME_A_RUN = "name a run's folder, as `tidings run` printed it"
MAX_REPORTED = 100  # corrupt lines are all counted; so many are kept with file and line


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """An engine began a run; ``scenario`` is the name or the text of what it runs."""

    name: str
    engine: str
    transport: str
    seed: int
    peers: int
    rounds: int
    scenario: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """An engine ended a run; ``outcome`` says how, such as "finished" or "interrupted"."""

    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultMade(Event):
    """An engine did what [faults] says; ``what`` is cut, healed, killed or restarted.

    ``nodes`` are those that were meant; none for a cut, which concerns all.
    """

    what: str
    nodes: tuple[int, ...] = ()


ALL_KINDS: dict[str, type[Event]] = {
    **KINDS,
    RunStarted.kind: RunStarted,
    RunFinished.kind: RunFinished,
    FaultMade.kind: FaultMade,
}


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
        if not self.files:
            raise _nothing_here(folder)
        self.corrupt = 0
        self.bad_lines: list[BadLine] = []
        self.torn: list[str] = []

    def __iter__(self) -> Iterator[LogLine]:
        self.corrupt = 0
        self.bad_lines = []
        self.torn = []
        logs = [
            chain.from_iterable(map(self._read, tuple(parts)))
            for _, parts in groupby(self.files, key=lambda file: file.parent)
        ]
        return heapq.merge(*logs, key=lambda line: line.time)

    def _read(self, file: Path) -> Iterator[LogLine]:
        name = file.relative_to(self.folder).as_posix()
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

    def _refuse(self, bad: BadLine) -> None:
        self.corrupt += 1
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
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**64:
        raise ValueError("integer out of range")
    return int(digits)


def _lines(stream: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """Each line and whether it was whole; of an over-long line no more than its beginning."""
    while raw := stream.readline(MAX_LINE_BYTES + 1):
        last = raw
        while len(last) > MAX_LINE_BYTES and not last.endswith(b"\n"):
            last = stream.readline(MAX_LINE_BYTES + 1)
        yield raw, last.endswith(b"\n")


def _nothing_here(folder: Path) -> ConfigError:
    return ConfigError(f"no event log ({LOG_NAME}) was found", where=str(folder), fix=_NAME_A_RUN)
