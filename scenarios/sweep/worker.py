"""A process of a sweep: it takes one run after the other and tells how far it is.

It speaks JSON with the process that started it, and ends with it, however that ends.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import threading
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from ...crypto.errors import ConfigError, TidingsError
from ...gossip.events import Evaluated
from ...peer.clock import monotonic_time
from ...peer.settings_files import check_settings, parse_toml
from ..run_events import RoundDone, RunStarted
from ..run_log import LogLine
from ..runner import run_scenario
from ..scenario import Scenario
from ..summary import RunSummary, summarise
from .results import result_of, write_result

EVERY_S = 0.2  # so often a worker tells how far it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A run to make: its scenario as TOML, and the folder, which may hold a broken-off try."""

    scenario: str
    folder: Path

    def encode(self) -> bytes:
        """The order as it goes to a worker."""
        return json.dumps({"scenario": self.scenario, "folder": str(self.folder)}).encode()

    @classmethod
    def decode(cls, raw: bytes) -> Order:
        """What ``encode`` was given."""
        fields = json.loads(raw)
        return cls(scenario=fields["scenario"], folder=Path(fields["folder"]))


def work(connection: Connection) -> None:
    """Carry out the orders that arrive until the other end closes; the body of a process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that gives orders
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    while True:
        try:
            order = Order.decode(connection.recv_bytes())
        except EOFError:
            return
        try:
            _carry_out(order, connection)
            said: dict[str, object] = {"done": True}
        except Exception:  # a mistake of ours, or the disk: the run can be tried again
            said = {"broken": traceback.format_exc()}
        connection.send_bytes(json.dumps(said).encode())


def _end_with_the_parent() -> None:
    """End this process at once when the one that started it is gone, even by kill -9."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _carry_out(order: Order, connection: Connection) -> None:
    where = str(order.folder)
    scenario = check_settings(Scenario, parse_toml(order.scenario, where=where), where=where)
    shutil.rmtree(order.folder, ignore_errors=True)
    teller = _Teller(scenario, connection)
    began = monotonic_time()
    folders: dict[str, Path] = {}
    error = ""
    try:
        folders = run_scenario(scenario, order.folder, teller.watch)
    except TidingsError as caught:
        # what a scenario leads to, such as training that diverges, is a result as well
        error = str(caught)
    wall_s = monotonic_time() - began
    summaries: dict[str, RunSummary] = {}
    for arm in scenario.arms:
        path = folders.get(arm) or (order.folder if len(scenario.arms) == 1 else order.folder / arm)
        try:
            summaries[arm] = summarise(path)
        except ConfigError:
            if not error:
                raise  # a run without logs that ended well
    write_result(order.folder, result_of(summaries, wall_s=wall_s, error=error))


class _Teller:
    """Tells the other process now and then which share of the run is done."""

    def __init__(self, scenario: Scenario, connection: Connection) -> None:
        self._connection = connection
        self._whole = max(scenario.rules.rounds * len(scenario.arms), 1)
        self._before = 0  # rounds of the arms that are over
        self._peers = scenario.peers
        self._tested: dict[str, int] = {}  # peer -> the round that it was tested on last
        self._round = 0  # that the engine says it has done, where it speaks for all peers
        self._told = monotonic_time()

    def watch(self, scenario: Scenario, line: LogLine) -> None:
        """Take an event of the run into account."""
        if isinstance(line.event, RunStarted):
            self._before += max(self._tested.values(), default=self._round)
            self._tested, self._round = {}, 0
            self._peers = scenario.peers
        if isinstance(line.event, Evaluated):
            self._tested[line.peer] = line.event.round
        if isinstance(line.event, RoundDone):
            self._round = line.event.round
        if monotonic_time() - self._told >= EVERY_S:
            self._told = monotonic_time()
            mean = sum(self._tested.values()) / self._peers
            share = min((self._before + max(mean, self._round)) / self._whole, 1.0)
            self._connection.send_bytes(json.dumps({"share": share}).encode())
