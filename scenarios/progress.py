"""The progress of a run, two lines for each arm:

quickstart ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━  round 60/60  0:00:26
  accuracy 86.9 % (worst 85.8 %)  consensus distance 0.810  epsilon 7.97
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median_low
from types import TracebackType

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from ..gossip.events import Evaluated
from ..peer.clock import monotonic_time
from .formats import shown
from .run_events import ConsensusMeasured, RoundDone, RunFinished, RunStarted
from .run_log import LogLine
from .scenario import Scenario
from .tally import Tally, sketched_distance

EVERY_S = 0.1  # the figures are worked out so often, however fast events come


class _TwoLines(Progress):
    """A progress bar with a line of figures under each task, for terminals of 80 columns."""

    def get_renderables(self) -> Iterable[RenderableType]:
        for task in self.tasks:
            yield self.make_tasks_table([task])
            yield task.fields["figures"]


class RunProgress:
    """Shows events as a progress bar, one for each arm; quiet when nobody looks.

    Of several ``arms`` each is named, and a baseline always is.
    """

    def __init__(self, console: Console, arms: Sequence[str] = (), *, quiet: bool = False) -> None:
        self._named = len(arms) > 1
        self._progress = _TwoLines(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(bar_width=None),
            TextColumn("round"),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=quiet,
            expand=True,
        )
        self._tally = Tally()
        self._rounds: dict[str, int] = {}  # peer -> the round that it was tested on last
        self._whole = _Whole()
        self._task: TaskID | None = None
        self._shown = monotonic_time()

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
            self._begin(scenario)
        self._tally.add(line)
        if isinstance(line.event, Evaluated):
            self._rounds[line.peer] = line.event.round
        elif isinstance(line.event, RoundDone):
            self._whole.take(line.event)
        elif isinstance(line.event, ConsensusMeasured):
            self._whole.distance = line.event.distance
        over = isinstance(line.event, RunFinished)
        if over or monotonic_time() - self._shown >= EVERY_S:
            self._show()
        if over and self._task is not None:
            self._progress.stop_task(self._task)

    def _begin(self, scenario: Scenario) -> None:
        self._tally = Tally()
        self._rounds = {}
        self._whole = _Whole()
        named = self._named or scenario.arms != ("gossip",)
        self._task = self._progress.add_task(
            _label(scenario.name, scenario.arms[0] if named else ""),
            total=scenario.rules.rounds,
            figures=Text("  starting"),
        )

    def _show(self) -> None:
        self._shown = monotonic_time()
        if self._task is not None:
            self._progress.update(
                self._task,
                # where half of the peers are: one that is away does not hold up the bar
                completed=median_low(self._rounds.values() or [self._whole.round]),
                figures=self._figures(),
            )

    def _figures(self) -> Text:
        """Over each peer's last model, or what the engine tells of all."""
        peers = self._tally.peers.values()
        accuracies = [peer.last.accuracy for peer in peers if peer.last is not None]
        distance = sketched_distance([peer.sketch for peer in peers if peer.sketch])
        if accuracies:
            mean, worst = sum(accuracies) / len(accuracies), min(accuracies)
        elif self._whole.accuracy:
            (mean, worst), distance = self._whole.accuracy, self._whole.distance
        else:
            return Text("  starting")
        parts: list[str | tuple[str, str]] = [
            "  accuracy ",
            (f"{100 * mean:.1f} %", "green"),
            f" (worst {100 * worst:.1f} %)",
        ]
        if distance is not None:
            parts.append(f"  consensus distance {distance:.3g}")
        epsilons = [peer.epsilon for peer in peers if peer.epsilon is not None]
        if epsilons:
            parts += ["  epsilon ", (f"{max(epsilons):.2f}", "magenta")]
        else:
            parts.append("  privacy off")
        return Text.assemble(*parts)


@dataclass(slots=True)
class _Whole:
    """What an engine tells of all peers together: mean and worst accuracy, when last tested."""

    round: int = 0
    accuracy: tuple[float, float] | None = None
    distance: float | None = None

    def take(self, event: RoundDone) -> None:
        self.round = event.round
        if event.accuracy_mean is not None and event.accuracy_min is not None:
            self.accuracy = (event.accuracy_mean, event.accuracy_min)


def _label(name: str, arm: str) -> str:
    """What the bar of an arm is called."""
    return " ".join(part for part in (shown(name, limit=24), arm) if part)
