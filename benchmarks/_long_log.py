"""Event logs of any length: those of a real simulation, repeated with later rounds.

python benchmarks/_long_log.py FOLDER BYTES PEERS
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tidings.scenarios.runner import run_scenario
from tidings.scenarios.scenario import load_scenario

SETS = (
    'learner={kind="softmax", features=64, classes=10}',
    "engine=sim",
    "privacy.mode=none",
    "rules.rounds=8",
    "rules.deadline_s=1.0",
)
NUMBERED = ("round", "sequence", "from_round", "to_round")
ONCE = ("run-started", "peer-started", "link-up", "run-finished", "peer-finished")


def write_long_log(folder: Path, size_bytes: int, *, peers: int = 40, seed: int = 1) -> Path:
    """Write ``folder/events.jsonl`` of about that size; gives the folder.

    A scenario of ``peers`` is simulated once; its events stand there again and again, each time
    with later rounds, sequence numbers and times, as if the run had gone on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    base = _simulated(peers, seed)
    rounds = max(line.get("round", 0) for line in base)
    entries = max(line.get("sequence", 0) for line in base)
    duration = base[-1]["time"]
    first = [line for line in base if line["event"] in ONCE[:3]]
    again = [line for line in base if line["event"] not in ONCE]
    with (folder / "events.jsonl").open("w") as log:
        log.write(_text(first))
        repetition = 0
        while log.tell() < size_bytes:
            later = (rounds * repetition, entries * repetition, duration * repetition)
            log.write(_text(_shifted(again, *later)))
            repetition += 1
    return folder


def _simulated(peers: int, seed: int) -> list[dict[str, Any]]:
    scenario = load_scenario("quickstart", (*SETS, f"peers={peers}", f"seed={seed}"))
    with tempfile.TemporaryDirectory() as place:
        run = Path(place) / "run"
        run_scenario(scenario, run, lambda scenario, line: None)
        return [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]


def _shifted(
    lines: list[dict[str, Any]], rounds: int, entries: int, time: float
) -> Iterator[dict[str, Any]]:
    for line in lines:
        changed = {**line, "time": round(line["time"] + time, 6)}
        for name in NUMBERED:
            if changed.get(name):
                changed[name] += entries if name == "sequence" else rounds
        yield changed


def _text(lines: Any) -> str:
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)


if __name__ == "__main__":
    write_long_log(Path(sys.argv[1]), int(sys.argv[2]), peers=int(sys.argv[3]))
