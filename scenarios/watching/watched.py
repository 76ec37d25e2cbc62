"""What is known of a run that is going on: its logs so far, read again and again."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from ...crypto.errors import ConfigError
from ..diagnosis import diagnose
from ..follow import FolderFollower
from ..page.run_story import Reel, facts, run_json
from ..run_log import RunFinished, RunLog, RunStarted, log_files
from ..summary import summary_of
from ..summary_values import RunSummary
from ..tally import Tally

Shape = tuple[float, int, int, int, int]


class Watched:
    """A folder whose logs are followed; any thread may ask.

    Raises ConfigError when there is no log in the folder.
    """

    def __init__(self, folder: Path) -> None:
        if not log_files(folder):
            raise ConfigError(
                "there is no event log here yet",
                where=str(folder),
                fix="name a run's folder or a peer's, once it has started",
            )
        self.name = folder.resolve().name
        self.ended = False
        self._folder = folder
        self._follower = FolderFollower(folder)
        self._tally, self._reel, self._scenario = Tally(), Reel(), ""
        self._lock = threading.Lock()

    def look(self) -> int:
        """Take in what is new; the number of events."""
        count = 0
        with self._lock:
            for line in self._follower.fresh():
                count += 1
                self._tally.add(line)
                self._reel.add(line)
                match line.event:
                    case RunStarted():
                        self._scenario, self.ended = line.event.scenario, False
                    case RunFinished():
                        self.ended = True
        return count

    def story(self) -> tuple[Shape, dict[str, Any]]:
        """All of it, for a page that begins; and its shape, which tells when a step is enough."""
        with self._lock:
            shape = self._reel.film.shape()
            told = (self._summary(), diagnose(self._tally), self._reel, self._scenario)
            return shape, run_json(self.name, *told)

    def step(self, shape: Shape) -> dict[str, Any] | None:
        """What a page that has everything up to ``shape`` lacks; None when it needs all."""
        with self._lock:
            if self._reel.film.shape() != shape:
                return None
            run = {"facts": facts(self._summary()), "curves": self._reel.curves.as_json()}
            return {"film": self._reel.film.last_frame(), "run": run}

    def summary(self) -> RunSummary:
        """The run in numbers, so far."""
        with self._lock:
            return self._summary()

    def accuracies(self) -> list[float]:
        """Mean accuracy by round, for a line in a terminal."""
        with self._lock:
            return [mean for mean in self._reel.curves.as_json()["mean"] if mean is not None]

    def _summary(self) -> RunSummary:
        return summary_of(self._tally, RunLog(self._folder))
