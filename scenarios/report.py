"""A run's report: one HTML file, made from the event logs alone.

page/document.py says why it can be opened without trust.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..crypto.files import write_atomic
from .comparison import named_runs
from .inspection import inspect_log
from .page.document import page
from .page.film import MAX_PEERS
from .page.run_story import Reel, run_json
from .run_log import RunLog, arms

REPORT_NAME = "report.html"


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Write ``report.html`` into a run's folder, or into that of a comparison; gives its path.

    Raises ConfigError for a folder without logs, StorageError when it cannot be read or written.
    """
    return _write(arms(folder), folder.resolve().name, out or folder / REPORT_NAME)


def write_reports(folders: Sequence[Path], out: Path) -> Path:
    """One report that compares several runs; raises as ``write_report`` does."""
    found = named_runs(folders)
    return _write(found, " against ".join(list(found)[:4]), out)


def _write(folders: Mapping[str, Path], title: str, out: Path) -> Path:
    runs = [_told(name, folder) for name, folder in folders.items()]
    write_atomic(out, page(title, {"runs": runs}).encode())
    return out


def _told(name: str, folder: Path) -> dict[str, object]:
    """One run: its log is read for the summary, then, if that can be drawn, for the film."""
    log, reel = RunLog(folder), Reel()
    found = inspect_log(log)
    if found.summary.peers <= MAX_PEERS:
        for line in log:
            reel.add(line)
    scenario = found.tally.run.scenario if found.tally.run else ""
    return run_json(name, found.summary, found.findings, reel, scenario)
