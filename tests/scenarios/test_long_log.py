"""A log that is many times as long takes hardly more memory (benchmarks/inspection.py: 1 GB)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCALER = Path(__file__).parents[2] / "benchmarks" / "_long_log.py"
RESIDENT = """
import resource, sys
from pathlib import Path
from tidings.scenarios.inspection import inspect_log
from tidings.scenarios.run_log import RunLog
found = inspect_log(RunLog(Path(sys.argv[1])))
print(found.summary.rounds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def write_long_log(folder: Path, size_bytes: int) -> Path:
    """A log of about that size: that of a simulation of eight peers, again and again."""
    subprocess.run([sys.executable, str(SCALER), str(folder), str(size_bytes), "8"], check=True)
    return folder


def resident(run: Path) -> tuple[int, int]:
    """The rounds that a process of its own counts in a log, and the bytes that it holds for it."""
    # by a small process in between: what a parent holds when it forks counts as its child's
    command = [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])"]
    inner = [sys.executable, "-c", RESIDENT, str(run)]
    done = subprocess.run([*command, *inner], capture_output=True, text=True, check=True)
    rounds, size_bytes = done.stdout.split()
    return int(rounds), int(size_bytes)


@pytest.mark.parametrize("megabytes", [8, pytest.param(150, marks=pytest.mark.nightly)])
def test_memory_grows_by_a_small_part_of_the_log(tmp_path: Path, megabytes: int):
    short = write_long_log(tmp_path / "short", 10**6)
    long = write_long_log(tmp_path / "long", megabytes * 10**6)
    few, base = resident(short)
    many, whole = resident(long)
    assert many > 5 * few
    assert whole - base < 0.25 * (long / "events.jsonl").stat().st_size + 10e6
    assert whole < 300e6
