"""Following the event logs of a run while they are written."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..peer.log_parts import parts_of
from .run_log import LOG_NAME, LogLine, parse_line


class _Place(NamedTuple):
    """How far a file was read; a log that was set aside is another file under the old name."""

    inode: int
    offset: int


class Follower:
    """Reads what was appended to some logs since it last looked; half a line waits for its end."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._places = dict.fromkeys(files, _Place(0, 0))

    def fresh(self) -> Iterator[LogLine]:
        """The new lines of each log in turn; corrupt ones are left for inspect to tell."""
        for file in list(self._places):
            with suppress(FileNotFoundError):  # not written yet, or set aside just now
                yield from self._fresh(file)

    def _fresh(self, file: Path) -> Iterator[LogLine]:
        inode, offset = self._places[file]
        if inode != file.stat().st_ino:
            if inode:  # what was appended before the log was set aside
                for part in parts_of(file):
                    if part.stat().st_ino == inode:
                        yield from self._read(file, part, offset)
            self._places[file] = _Place(file.stat().st_ino, 0)
            offset = 0
        yield from self._read(file, file, offset)

    def _read(self, log: Path, file: Path, offset: int) -> Iterator[LogLine]:
        with file.open("rb") as stream:
            stream.seek(offset)
            for raw in stream:
                if not raw.endswith(b"\n"):
                    return
                offset += len(raw)
                self._places[log] = self._places[log]._replace(offset=offset)
                yield from _parsed(raw)


class FolderFollower(Follower):
    """Follows every log in the folder of a run or of a peer, older parts first; logs of peers that
    join are found when they appear.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(())
        self._folder = folder

    def fresh(self) -> Iterator[LogLine]:
        """The new lines of each log in turn."""
        for log in (self._folder / LOG_NAME, *sorted(self._folder.glob(f"peers/*/{LOG_NAME}"))):
            if log not in self._places and log.exists():
                self._places[log] = _Place(0, 0)
                for part in parts_of(log):
                    yield from _whole(part)
        yield from super().fresh()


def _whole(part: Path) -> Iterator[LogLine]:
    """The lines of an older part, as far as it can be read."""
    opening = gzip.open if part.suffix == ".gz" else open
    with suppress(OSError, EOFError, zlib.error), opening(part, "rb") as stream:
        for raw in stream:
            yield from _parsed(raw)


def _parsed(raw: bytes) -> Iterator[LogLine]:
    with suppress(ValueError):
        yield parse_line(raw)
