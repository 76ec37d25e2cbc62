"""What a summary of a long log costs, against the bare parsing of its lines.

    python benchmarks/inspection.py [--size-mb 1000] [--json]

The log is that of a real simulation, repeated with later rounds (benchmarks/_long_log.py). Ours is
the whole command, `tidings inspect RUN --json`, from its start to its end; bare is a program that
calls `orjson.loads` on each line and drops what it gets. Each runs in a process of its own, in
turn; times are of the processor, medians; memory is the most that was resident at once.

Exit code 1 when the summary takes over 3 times the bare parsing or over 300 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

MOST_TIME = 3.0
MOST_MB = 300.0
SCALER = Path(__file__).with_name("_long_log.py")
BARE = """
import sys, orjson
with open(sys.argv[1], "rb") as log:
    for line in log:
        orjson.loads(line)
"""


def measured(command: list[str]) -> tuple[float, float]:
    """Seconds of processor time and MB resident that a command took."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[:4]} failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6


def compare(run: Path, times: int) -> dict[str, float]:
    """Both commands in turn, so many times."""
    log = run / "events.jsonl"
    bare, ours = [], []
    for _ in range(times):
        bare.append(measured([sys.executable, "-c", BARE, str(log)]))
        ours.append(measured([sys.executable, "-m", "tidings", "inspect", str(run), "--json"]))
    bare_s = statistics.median(seconds for seconds, _ in bare)
    ours_s = statistics.median(seconds for seconds, _ in ours)
    return {
        "size_mb": log.stat().st_size / 1e6,
        "bare_s": bare_s,
        "ours_s": ours_s,
        "ratio": ours_s / bare_s,
        "resident_mb": max(memory for _, memory in ours),
    }


def main() -> int:
    """Measure, print, and say by the exit code whether the requirement holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-mb", type=float, default=1000)
    parser.add_argument("--peers", type=int, default=40)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        run = Path(place) / "run"
        # in a process of its own: what its parent once held would count as a child's memory
        size_bytes = str(int(options.size_mb * 1e6))
        command = [sys.executable, str(SCALER), str(run), size_bytes, str(options.peers)]
        subprocess.run(command, check=True)
        figures = compare(run, options.times)
    if options.json:
        print(json.dumps(figures))
    else:
        table = Table("log", "bare parsing", "summary", "ratio", "resident")
        table.add_row(
            f"{figures['size_mb']:.0f} MB",
            f"{figures['bare_s']:.1f} s",
            f"{figures['ours_s']:.1f} s",
            f"{figures['ratio']:.2f}",
            f"{figures['resident_mb']:.0f} MB",
        )
        Console().print(table)
    return int(figures["ratio"] > MOST_TIME or figures["resident_mb"] > MOST_MB)


if __name__ == "__main__":
    sys.exit(main())
