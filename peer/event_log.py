"""The event log: one JSON object a line, appended as things happen (gossip/events.py).

Lines are handed to the operating system one by one and never synced: what a power cut takes is
the last seconds of the log, nothing that the protocol needs, and a flash card is written in whole
pages when the system thinks fit.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import IO

from ..crypto.errors import StorageError
from ..crypto.files import storage_error
from ..gossip.events import Event
from . import log_parts
from .upkeep import WHOLE, LogConfig

_as_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class EventLog:
    """Appends events to a file; each line is on its way to the disk when `write` returns.

    ``config`` bounds the disk that it takes: a full part is set aside (peer/log_parts.py).
    Raises StorageError when the file cannot be opened or written.
    """

    def __init__(self, path: Path, config: LogConfig = WHOLE) -> None:
        self._path = path
        self._config = config
        try:
            torn = path.exists() and path.stat().st_size > 0 and not _ends_in_newline(path)
            self._file: IO[str] = path.open("a", encoding="utf-8", buffering=1)
            if torn:  # a kill in mid-line: its half stays, for a reader to report
                self._file.write("\n")
            self._size = path.stat().st_size
            self._compressing = log_parts.compress(path)
        except OSError as error:
            raise storage_error(error, path) from error

    def write(self, event: Event, *, time: float, peer: str) -> None:
        """Append one event that the peer named `peer` notes at `time` (seconds)."""
        line = {"time": round(time, 6), "peer": peer, **event.as_fields()}
        try:
            text = _as_json(line) + "\n"
            if self._size + len(text) > self._config.part_mb * 1e6 and self._size:
                self._begin_part()
            self._file.write(text)
            self._size += len(text)  # json.dumps writes ASCII
        except OSError as error:
            raise storage_error(error, self._path) from error
        except ValueError as error:  # NaN has no JSON, and a closed file no line
            raise StorageError(
                f"this event cannot be written: {error}", where=str(self._path)
            ) from error

    def _begin_part(self) -> None:
        self._file.close()
        log_parts.set_aside(self._path, self._config.parts)
        self._file = self._path.open("a", encoding="utf-8", buffering=1)
        self._size = 0
        if self._compressing is None or not self._compressing.is_alive():
            self._compressing = log_parts.compress(self._path)

    def close(self) -> None:
        """Close the file; a line that could not be written was told by `write`."""
        with suppress(OSError):
            self._file.close()


def _ends_in_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"
