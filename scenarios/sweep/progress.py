"""The progress of a sweep: one bar over all its runs, with the time left."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from .jobs import Job


class SweepProgress:
    """Shows which share of ``planned`` runs is done, ``kept`` of them from before."""

    def __init__(
        self, console: Console, *, planned: int, kept: int, processes: int, quiet: bool = False
    ) -> None:
        self._planned = planned
        self._kept = kept
        self._shares: dict[str, float] = {}
        self._progress = Progress(
            TextColumn("{task.description}", style="bold"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[over]}/{task.fields[planned]} runs"),
            TimeElapsedColumn(),
            TextColumn("left"),
            # runs are few and long at times, so the speed is that of the last five minutes
            TimeRemainingColumn(),
            speed_estimate_period=300,
            console=console,
            disable=quiet,
            expand=True,
        )
        self._task = self._progress.add_task(
            f"{processes} at once",
            total=planned - kept,
            over=kept,
            planned=planned,
        )

    def __enter__(self) -> SweepProgress:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def watch(self, job: Job, share: float) -> None:
        """A run is done to this share; 1.0 when it is over."""
        self._shares[job.id] = share
        self._progress.update(
            self._task,
            completed=sum(self._shares.values()),
            over=self._kept + sum(one >= 1.0 for one in self._shares.values()),
        )
