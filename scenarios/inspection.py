"""Reading a run once for all that is told of it: tally, summary, diagnosis, what is missing.

from tidings.scenarios.inspection import inspect_log
found = inspect_log(RunLog(folder))
found.summary, found.findings, found.missing
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from .clock_skew import Clocks, clocks_of
from .diagnosis import Finding, diagnose
from .line_files import Batch
from .missing import Missing, what_is_missing
from .run_log import RunLog
from .summary import summary_of
from .summary_values import RunSummary, finite
from .tally import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which events are looked at: of these peers (all if none), these kinds, this time.

    Times are seconds since the run began, by each log's own clock; None has no bound.
    """

    peers: Collection[str] = ()
    kinds: Collection[str] = ()
    from_s: float | None = None
    to_s: float | None = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return self == Selection()

    def takes(self, peer: str, kind: str, since_s: float) -> bool:
        """Whether an event of this peer and kind, so long after the beginning, is looked at."""
        return (
            (not self.peers or peer in self.peers)
            and (not self.kinds or kind in self.kinds)
            and (self.from_s is None or since_s >= self.from_s)
            and (self.to_s is None or since_s <= self.to_s)
        )

    def batches(self, log: RunLog) -> Iterator[Batch]:
        """The records that are looked at, one log after another."""
        if self.is_everything:
            return log.batches()
        begin = log.begin_s
        return (
            [each for each in batch if self.takes(each.peer, each.kind, each.time - begin)]
            for batch in log.batches()
        )


@dataclass(kw_only=True)
class Inspection:
    """What one reading of a log gave. ``begin_s`` is when it began, by the logs' own clocks."""

    log: RunLog
    selection: Selection
    tally: Tally
    summary: RunSummary
    begin_s: float
    missing: tuple[Missing, ...] = field(default=())

    @cached_property
    def clocks(self) -> Clocks:
        """How far the peers' clocks are apart."""
        return clocks_of(self.tally)

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """The diagnosis; none of a selection, which is no whole picture."""
        return diagnose(self.tally) if self.selection.is_everything else ()

    def as_json(self) -> dict[str, Any]:
        """The summary as a JSON value, with the findings and what is missing."""
        return {
            **self.summary.as_json(),
            "findings": [finite(asdict(each)) for each in self.findings],
            "missing": [asdict(each) for each in self.missing],
        }


EVERYTHING = Selection()


def inspect_log(log: RunLog, selection: Selection = EVERYTHING) -> Inspection:
    """Read a log once. Raises StorageError when that fails; lines never raise."""
    tally = Tally()
    for batch in selection.batches(log):
        tally.add_records(batch)
    tally.settle()
    return Inspection(
        log=log,
        selection=selection,
        tally=tally,
        summary=summary_of(tally, log),
        begin_s=log.begin_s,
        missing=what_is_missing(tally, log) if selection.is_everything else (),
    )
