"""Following the event logs of a run while they are written."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..peer.log_parts import number_of, parts_of
from .run_log import LOG_NAME, LogLine, parse_line


@dataclass(slots=True)
class _Place:
    """How far a log was read: all parts up to this number, then so many bytes."""

    part: int = 0
    offset: int = 0
    inode: int = 0  # a log that was set aside is another file under the old name


class Follower:
    """Reads what was appended to some logs since it last looked; half a line waits for its end.

    A log that is set aside meanwhile is followed into its part, compressed or not. Corrupt lines
    are left for inspect to tell.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self._places = {file: _Place() for file in files}

    def fresh(self) -> Iterator[LogLine]:
        """The new lines of each log in turn."""
        for log, place in list(self._places.items()):
            with suppress(FileNotFoundError):  # not written yet, or set aside just now
                yield from self._fresh(log, place)

    def _fresh(self, log: Path, place: _Place) -> Iterator[LogLine]:
        inode = log.stat().st_ino
        if inode != place.inode:
            for part in parts_of(log):
                number = number_of(log, part)
                if number > place.part:
                    yield from _lines(part, place)
                    place.part, place.offset = number, 0
            place.inode = inode
        yield from _lines(log, place)


class FolderFollower(Follower):
    """Follows every log in the folder of a run or of a peer; those of peers that join are found
    when they appear.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(())
        self._folder = folder

    def fresh(self) -> Iterator[LogLine]:
        """The new lines of each log in turn."""
        for log in (self._folder / LOG_NAME, *sorted(self._folder.glob(f"peers/*/{LOG_NAME}"))):
            if log.exists():
                self._places.setdefault(log, _Place())
        yield from super().fresh()


def _lines(file: Path, place: _Place) -> Iterator[LogLine]:
    """The whole lines from ``place`` on, which moves along."""
    opening = gzip.open if file.suffix == ".gz" else open
    with suppress(EOFError, zlib.error, gzip.BadGzipFile), opening(file, "rb") as stream:
        stream.seek(place.offset)
        for raw in stream:
            if not raw.endswith(b"\n"):
                return
            place.offset += len(raw)
            with suppress(ValueError):
                yield parse_line(raw)
