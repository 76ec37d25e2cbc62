"""Wall time, CPU time and memory of a command and of every process that comes from it.

Frameworks start daemons in sessions of their own, so the processes are found by a mark in their
environment, which children inherit.
"""

from __future__ import annotations

import os
import resource
import subprocess
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import psutil

EVERY_S = 0.2
MARK = "TIDINGS_BENCHMARK_MARK"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """``memory_bytes`` is the largest sum of the processes' proportional set sizes seen."""

    wall_s: float
    cpu_s: float
    memory_bytes: int
    exit_code: int


@dataclass
class _Watch:
    mark: str
    cpu: dict[int, float] = field(default_factory=dict)
    memory: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.over.wait(EVERY_S):
            self.look()

    def look(self) -> list[psutil.Process]:
        found, memory = [], 0
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) != self.mark:
                    continue
                times = process.cpu_times()
                self.cpu[process.pid] = times.user + times.system
                memory += process.memory_full_info().pss
                found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        self.memory = max(self.memory, memory)
        return found


def measured(
    command: list[str], log: Path, environment: dict[str, str], *, timeout_s: float
) -> Cost:
    """Run a command to its end, its words in ``log``; nothing that it started is left behind.

    CPU time is the larger of what the sampler saw of all processes and what the kernel counted for
    those that were waited for. Raises subprocess.TimeoutExpired.
    """
    watch = _Watch(uuid.uuid4().hex)
    before = _children_s()
    began = time.monotonic()
    sampler = threading.Thread(target=watch.run, daemon=True)
    with log.open("wb") as words:
        process = subprocess.Popen(
            command,
            stdout=words,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=log.parent,  # some leave logs where they stand
            env={**os.environ, **environment, MARK: watch.mark},
        )
        sampler.start()
        try:
            exit_code = process.wait(timeout_s)
            wall_s = time.monotonic() - began
        finally:
            watch.over.set()
            sampler.join()
            for left in watch.look():
                left.kill()
            process.wait()
    return Cost(
        wall_s=wall_s,
        cpu_s=max(sum(watch.cpu.values()), _children_s() - before),
        memory_bytes=watch.memory,
        exit_code=exit_code,
    )


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
