"""The progress bar of a run: round, accuracy, consensus distance, epsilon."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from .run_log import LogLine, RunStarted
from .scenario import Scenario
from .tally import Tally, sketched_distance


class RunProgress:
    """Shows events as a progress bar, one for each arm; quiet when nobody looks."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("round"),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            console=console,
            disable=quiet,
        )
        self._tally = Tally()
        self._task: TaskID | None = None

    def __enter__(self) -> RunProgress:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def watch(self, scenario: Scenario, line: LogLine) -> None:
        """Take an event into account."""
        if isinstance(line.event, RunStarted):
            self._tally = Tally()
            name = scenario.name if scenario.arms == ("gossip",) else scenario.arms[0]
            self._task = self._progress.add_task(
                name, total=scenario.rules.rounds, figures="starting"
            )
        self._tally.add(line)
        if self._task is not None and getattr(line.event, "kind", "") == "evaluated":
            self._progress.update(self._task, completed=self._round(), figures=self._figures())

    def _round(self) -> int:
        """The round that all peers have been tested on."""
        peers = max(1, len(self._tally.peers))
        whole = [n for n, row in self._tally.rounds.items() if len(row.accuracy) >= peers]
        return max(whole, default=0)

    def _figures(self) -> str:
        row = self._tally.rounds.get(self._round())
        if row is None or not row.accuracy:
            return "starting"
        values = list(row.accuracy.values())
        distance = sketched_distance(list(row.sketches.values()))
        epsilons = [p.epsilon for p in self._tally.peers.values() if p.epsilon is not None]
        parts = [
            f"accuracy [green]{100 * sum(values) / len(values):.1f} %[/] "
            f"(worst {100 * min(values):.1f} %)"
        ]
        if distance is not None:
            parts.append(f"distance {distance:.3f}")
        parts.append(f"epsilon [magenta]{max(epsilons):.2f}[/]" if epsilons else "no privacy")
        return "  ".join(parts)
