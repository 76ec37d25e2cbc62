"""Following the event logs of a run while they are written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .run_log import LogLine, parse_line


class Follower:
    """Reads what was appended to some logs since it last looked; half a line waits for its end."""

    def __init__(self, files: list[Path]) -> None:
        self._places = dict.fromkeys(files, 0)

    def fresh(self) -> Iterator[LogLine]:
        """The new lines of each log in turn; corrupt ones are left for inspect to tell."""
        for file in self._places:
            yield from self._fresh(file)

    def _fresh(self, file: Path) -> Iterator[LogLine]:
        if not file.exists():
            return
        with file.open("rb") as stream:
            stream.seek(self._places[file])
            for raw in stream:
                if not raw.endswith(b"\n"):
                    return
                self._places[file] += len(raw)
                try:
                    yield parse_line(raw)
                except ValueError:
                    continue
