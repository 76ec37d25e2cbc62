"""Carrying on what was stopped: `tidings run --resume RUN`.

array, ray   go on from the last checkpoint, to the bits that the run would have come to
sim          begins again: it follows from the seed, and comes to the same log. So do runs of the
             arrays that have no checkpoint
live         starts the peers again, which go on from their folders

Of a comparison, the arms that are not finished are carried on, and those not begun are run.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

from ..crypto.errors import ConfigError
from ..crypto.files import make_folder
from ..peer.settings_files import check_settings, read_toml
from .arms import arm_of
from .engines.array.checkpoint import NAME as CHECKPOINT
from .engines.array.checkpoint import rewind
from .event_tables import FOLDER as TABLES
from .run_log import LOG_NAME
from .runner import BY_ROWS, SCENARIO_NAME, Watch, check_run, run_arm, stoppable
from .scenario import Scenario

BEFORE = "events-before.jsonl"
_END = b'"run-finished"'


def resume_scenario(
    folder: Path, watch: Watch, *, processes: bool = False, tape: Path | None = None
) -> dict[str, Path]:
    """Carry on the run in ``folder`` where it was stopped; the folder of each arm by its name.

    Raises ConfigError when there is nothing to carry on, or not as it was, and KeyboardInterrupt
    when it was stopped again.
    """
    scenario = _scenario_in(folder)
    check_run(scenario, processes=processes, tape=tape)
    if (folder / LOG_NAME).exists():
        if _is_finished(folder) and not (folder / CHECKPOINT).exists():
            raise ConfigError(
                "this run has come to its end",
                where=str(folder),
                fix=f"tidings inspect {folder}",
            )
        with stoppable():
            _resume_arm(scenario, folder, watch, processes=processes, tape=tape)
        return {scenario.name: folder}
    folders: dict[str, Path] = {arm: folder / arm for arm in scenario.arms}
    with stoppable():
        for arm, place in folders.items():
            if not (place / LOG_NAME).exists():
                make_folder(place)
                run_arm(arm_of(scenario, arm), place, watch, processes=processes)
            elif not _is_finished(place):
                _resume_arm(_scenario_in(place), place, watch, processes=processes)
    return folders


def _scenario_in(folder: Path) -> Scenario:
    file = folder / SCENARIO_NAME
    return check_settings(Scenario, read_toml(file), where=str(file))


def _resume_arm(
    scenario: Scenario, folder: Path, watch: Watch, *, processes: bool, tape: Path | None = None
) -> None:
    if scenario.engine == "live":
        faults = scenario.faults
        if faults.cuts or faults.crashes or faults.crash_every_s:
            raise ConfigError(
                "its cuts and crashes are timed from its beginning, so it cannot be carried on",
                where=str(folder),
                fix="start it anew, with another --out",
            )
        _drop_end(folder / LOG_NAME)
        run_arm(scenario, folder, watch, processes=processes, resume=True)
    elif scenario.engine in BY_ROWS and (folder / CHECKPOINT).exists():
        rewind(folder)
        run_arm(scenario, folder, watch, processes=False, tape=tape, resume=True)
    else:
        with _compared(folder):
            run_arm(scenario, folder, watch, processes=False, tape=tape)


@contextmanager
def _compared(folder: Path) -> Iterator[None]:
    """Put the log aside; what is written in its place must begin with the same lines.

    Raises ConfigError when it does not: another version of something made it.
    """
    log, before = folder / LOG_NAME, folder / BEFORE
    if not before.exists():  # else a resumption was killed, and this is the longer one
        os.replace(log, before)
    log.unlink(missing_ok=True)
    shutil.rmtree(folder / TABLES, ignore_errors=True)
    try:
        yield
    finally:
        length = log.stat().st_size if log.exists() else 0
        if length and (number := _differs(before, log)):
            raise ConfigError(
                f"the run does not come to what it came to before, from line {number} on",
                where=str(log),
                fix=f"use the versions that began it; its first log is {before}",
            )
        if length < before.stat().st_size:  # stopped again, earlier than before
            os.replace(before, log)
        else:
            before.unlink()


def _differs(before: Path, after: Path) -> int:
    """The first line in which two logs differ, 0 for none; the shorter one ends the comparison."""
    with before.open("rb") as one, after.open("rb") as other:
        pairs = takewhile(_both_told, zip(one, other, strict=False))
        return next((number for number, (a, b) in enumerate(pairs, 1) if a != b), 0)


def _both_told(lines: tuple[bytes, bytes]) -> bool:
    """Whether two lines are whole and not the end of a log."""
    return all(line.endswith(b"\n") and _END not in line for line in lines)


def _is_finished(folder: Path) -> bool:
    """Whether the log says that the run came to its end by itself."""
    lines = _last_lines(folder / LOG_NAME)
    return bool(lines) and _END in lines[-1] and b'"outcome":"finished' in lines[-1]


def _drop_end(log: Path) -> None:
    """Cut the line off a log that says how the run ended."""
    lines = _last_lines(log)
    if lines and _END in lines[-1]:
        os.truncate(log, log.stat().st_size - len(lines[-1]))


def _last_lines(log: Path) -> list[bytes]:
    """The last lines of a log, or none when there is no log."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - 2**16))
            return stream.readlines()
    except FileNotFoundError:
        return []
