"""What a peer takes of a machine: resident memory, time to start, and CPU while nothing happens.

    python benchmarks/footprint.py

Each row is `tidings peer run` in a process of its own, with four neighbours in processes of their
own: five rounds of the bundled digits, then idle. The figures are those of one of the five. The
environment is the one that `tidings peer service` gives a peer.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from tidings.peer.folder import PeerFolder
from tidings.scenarios.engines.town import prepare
from tidings.scenarios.scenario import load_scenario

PEERS, ROUNDS = 5, 5
SOFTMAX = 'learner={kind="softmax", features=64, classes=10}'
CASES = {
    "NumPy over MQTT": [SOFTMAX, "transport=mqtt", "broker=mosquitto", "privacy.mode=peer"],
    "NumPy over MQTT, record privacy": [SOFTMAX, "transport=mqtt", "broker=mosquitto"],
    "NumPy over libp2p": [SOFTMAX, "privacy.mode=peer"],
    "torch over libp2p": ["privacy.mode=peer"],
}
ENVIRONMENT = {
    **os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "PYTHONNODEBUGRANGES": "1",
}  # fmt: skip
# paho imports dnspython where it finds it, which brings the libraries of DNS over QUIC: 19 MB. Only
# libp2p depends on it, so a board with tidings[mqtt] has none.
LEAN = "import sys; sys.modules['dns'] = None; from tidings.__main__ import main; sys.exit(main())"


def measure(case: str, idle_s: float) -> dict:
    sets = [f"peers={PEERS}", f"rules.rounds={ROUNDS}", 'rules.topology={kind="complete"}']
    scenario = load_scenario("quickstart", (*sets, *CASES[case]))
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as running:
        town = prepare(scenario, Path(scratch) / "run")
        running.enter_context(town.broker.running() if town.broker else nullcontext())
        lean = scenario.transport == "mqtt"
        started = [running.enter_context(peer(folder, lean=lean)) for folder in town.folders]
        process, start_s = started[0]
        wait_for(town.folders[0], "peer-finished")
        seen = psutil.Process(process.pid)
        time.sleep(2)
        before, peak = sum(seen.cpu_times()[:2]), resident_peak(process.pid)
        time.sleep(idle_s)
        idle = (sum(seen.cpu_times()[:2]) - before) / idle_s
        return {
            "case": case, "resident_mb": seen.memory_info().rss / 1e6, "peak_mb": peak,
            "start_s": start_s, "idle_cpu_percent": 100 * idle,
        }  # fmt: skip


@contextmanager
def peer(folder: PeerFolder, *, lean: bool) -> Iterator[tuple[subprocess.Popen, float]]:
    """A running peer and the seconds until it said that it runs."""
    command = [sys.executable, *(("-c", LEAN) if lean else ("-m", "tidings"))]
    began = time.perf_counter()
    with (folder.path / "output.txt").open("wb") as errors:
        process = subprocess.Popen(
            [*command, "peer", "run", str(folder.path)], env=ENVIRONMENT,
            stdout=subprocess.PIPE, stderr=errors,
        )  # fmt: skip
    try:
        line = process.stdout.readline()
        if b"is node" not in line:
            sys.exit(f"{folder.path.name}: {line!r} {(folder.path / 'output.txt').read_text()}")
        yield process, time.perf_counter() - began
    finally:
        process.terminate()
        process.communicate()


def wait_for(folder: PeerFolder, event: str) -> None:
    end = time.monotonic() + 300
    while f'"{event}"' not in folder.events_file.read_text():
        if time.monotonic() > end:
            sys.exit(f"no {event} within five minutes")
        time.sleep(0.2)


def resident_peak(process: int) -> float:
    """The most that was ever resident, MB (Linux)."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return float("nan")


def bare(*modules: str) -> float:
    """Resident MB of a Python that imports these and nothing else."""
    code = "import " + ", ".join(["psutil", *modules])
    code += "\nprint(psutil.Process().memory_info().rss / 1e6)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idle", type=float, default=20.0, help="seconds of idle to measure")
    parser.add_argument("--case", choices=sorted(CASES), action="append", help="only these")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = [measure(case, arguments.idle) for case in arguments.case or CASES]
    imports = {"torch": bare("torch"), "libp2p": bare("libp2p"), "numpy": bare("numpy")}
    missed = list(misses(rows, imports))
    if arguments.json:
        print(json.dumps({"peers": rows, "bare_imports_mb": imports, "missed": missed}))
        sys.exit(bool(missed))
    table = Table("peer", "resident", "peak", "start", "idle CPU of a core")
    for row in rows:
        table.add_row(
            row["case"], f"{row['resident_mb']:.0f} MB", f"{row['peak_mb']:.0f} MB",
            f"{row['start_s']:.2f} s", f"{row['idle_cpu_percent']:.2f} %",
        )  # fmt: skip
    Console(width=100).print(table)
    both = imports["torch"] + imports["libp2p"]
    print("bare imports: " + ", ".join(f"{name} {mb:.0f} MB" for name, mb in imports.items()))
    for row in rows:
        if row["case"] == "torch over libp2p":
            print(f"torch over libp2p / bare torch + bare libp2p: {row['resident_mb'] / both:.2f}")
    for line in missed:
        print("MISSED:", line)
    sys.exit(bool(missed))


def misses(rows: list[dict], imports: dict[str, float]) -> Iterator[str]:
    """What a board was promised and does not get."""
    for row in rows:
        most_mb = math.inf
        if row["case"].startswith("NumPy over MQTT"):
            most_mb = 70.0
            if row["start_s"] > 1:
                yield f"{row['case']} starts in {row['start_s']:.2f} s, not 1 s"
        elif row["case"] == "torch over libp2p":
            most_mb = 1.25 * (imports["torch"] + imports["libp2p"])
        if row["resident_mb"] > most_mb:
            yield f"{row['case']} takes {row['resident_mb']:.0f} MB, not {most_mb:.0f} MB"
        if row["idle_cpu_percent"] > 1:
            yield f"{row['case']} idles at {row['idle_cpu_percent']:.2f} % of a core, not 1 %"


if __name__ == "__main__":
    main()
