"""The event log: one JSON object a line, appended as things happen (gossip/events.py)."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import IO

from ..crypto.errors import StorageError
from ..crypto.files import storage_error
from ..gossip.events import Event


class EventLog:
    """Appends events to a file; each line is on its way to the disk when `write` returns.

    Raises StorageError when the file cannot be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            torn = path.exists() and path.stat().st_size > 0 and not _ends_in_newline(path)
            self._file: IO[str] = path.open("a", encoding="utf-8", buffering=1)
            if torn:  # a kill in mid-line: its half stays, for a reader to report
                self._file.write("\n")
        except OSError as error:
            raise storage_error(error, path) from error

    def write(self, event: Event, *, time: float, peer: str) -> None:
        """Append one event that the peer named `peer` notes at `time` (seconds)."""
        line = {"time": round(time, 6), "peer": peer, **event.as_fields()}
        try:
            self._file.write(json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n")
        except OSError as error:
            raise storage_error(error, self._path) from error
        except ValueError as error:  # NaN has no JSON, and a closed file no line
            raise StorageError(
                f"this event cannot be written: {error}", where=str(self._path)
            ) from error

    def close(self) -> None:
        """Close the file; a line that could not be written was told by `write`."""
        with suppress(OSError):
            self._file.close()


def _ends_in_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"
