"""The processes of a sweep, one a core: who works on what, and what becomes of whom that dies."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from .worker import Order, work

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(slots=True, eq=False)
class _Worker:
    process: SpawnProcess
    connection: Connection
    order: int | None = None  # the number of the one that it works on


@dataclass(slots=True)
class Crew:
    """Runs orders in ``size`` processes. ``on_share`` hears of each order how far it is.

    An order is over when ``on_share`` heard 1.0, or when it is in what ``run`` gives back.
    """

    size: int
    on_share: Callable[[int, float], None]
    _workers: list[_Worker] = field(default_factory=list)

    def run(self, orders: Sequence[Order]) -> dict[int, str]:
        """Carry out all orders; of those that failed, their number and why.

        However it ends, by KeyboardInterrupt among others, no process is left behind.
        """
        # read once, when numpy and torch are loaded: two threads on one core are slower than one
        os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
        waiting = deque(range(len(orders)))
        failed: dict[int, str] = {}
        try:
            while waiting or any(worker.order is not None for worker in self._workers):
                self._hand_out(orders, waiting)
                for worker in self._ready():
                    self._hear(worker, failed)
        finally:
            self._dismiss()
        return failed

    def _hand_out(self, orders: Sequence[Order], waiting: deque[int]) -> None:
        idle = sum(worker.order is None for worker in self._workers)
        for _ in range(min(self.size - len(self._workers), len(waiting) - idle)):
            self._workers.append(_start())
        for worker in self._workers:
            if worker.order is None and waiting:
                worker.order = waiting.popleft()
                with suppress(BrokenPipeError):  # it died: noticed where its words are read
                    worker.connection.send_bytes(orders[worker.order].encode())

    def _ready(self) -> list[_Worker]:
        found = wait([worker.connection for worker in self._workers])
        return [worker for worker in self._workers if worker.connection in found]

    def _hear(self, worker: _Worker, failed: dict[int, str]) -> None:
        order = worker.order
        try:
            said = json.loads(worker.connection.recv_bytes())
        except (EOFError, ConnectionResetError):
            worker.process.join()
            self._workers.remove(worker)
            if order is not None:
                failed[order] = f"its process ended by itself ({worker.process.exitcode})"
            return
        if order is None:
            return
        if "share" in said:
            self.on_share(order, min(said["share"], 0.999))
            return
        worker.order = None
        if "broken" in said:
            failed[order] = said["broken"]
        else:
            self.on_share(order, 1.0)

    def _dismiss(self) -> None:
        for worker in self._workers:
            worker.connection.close()
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
        self._workers.clear()


def _start() -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process=process, connection=ours)


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
