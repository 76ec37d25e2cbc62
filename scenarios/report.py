"""A run's report: one HTML file, made from the event logs alone.

page/document.py says why it can be opened without trust.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..crypto.files import write_atomic
from .comparison import named_runs
from .inspection import Inspection, inspect_log
from .page.document import page
from .page.film import MAX_PEERS
from .page.run_story import Reel, run_json
from .run_log import RunLog, arms

REPORT_NAME = "report.html"


def write_report(
    folder: Path, out: Path | None = None, read: Mapping[str, Inspection] | None = None
) -> Path:
    """Write ``report.html`` into a run's folder, or into that of a comparison; gives its path.

    ``read`` are the runs by name, where they have been read already. Raises ConfigError for a
    folder without logs, StorageError when it cannot be read or written.
    """
    runs = _read(arms(folder)) if read is None else read
    return _write(runs, folder.resolve().name, out or folder / REPORT_NAME)


def write_reports(folders: Sequence[Path], out: Path) -> Path:
    """One report that compares several runs; raises as ``write_report`` does."""
    found = _read(named_runs(folders))
    return _write(found, " against ".join(list(found)[:4]), out)


def _read(folders: Mapping[str, Path]) -> dict[str, Inspection]:
    return {name: inspect_log(RunLog(folder)) for name, folder in folders.items()}


def _write(runs: Mapping[str, Inspection], title: str, out: Path) -> Path:
    told = [_told(name, found) for name, found in runs.items()]
    write_atomic(out, page(title, {"runs": told}).encode())
    return out


def _told(name: str, found: Inspection) -> dict[str, object]:
    """One run; where it can be drawn its log is read once more, in the order of time."""
    reel = Reel()
    if found.summary.peers <= MAX_PEERS:
        for line in found.log:
            reel.add(line)
    scenario = found.tally.run.scenario if found.tally.run else ""
    return run_json(name, found.summary, found.findings, reel, scenario)
