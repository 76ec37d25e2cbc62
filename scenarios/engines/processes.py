"""Peers of a live run as processes: started, killed and started again as the scenario says.

A peer that ends by itself ends the run with what it said. When this process dies, however it
dies, the system ends the peers.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ...crypto.errors import TidingsError, TransportError
from ...gossip.events import Event
from ...peer.clock import monotonic_time
from ...peer.folder import PeerFolder
from ..faults import Crash, Cut
from ..network.namespaces import HostNetwork
from ..run_log import FaultMade

LOOK_EVERY_S = 0.1
STOP_S = 10.0
OUTPUT_NAME = "output.txt"  # what a peer printed
_PR_SET_PDEATHSIG = 1


def fault_plan(crashes: Sequence[Crash], cuts: Sequence[Cut]) -> list[tuple[float, FaultMade]]:
    """What is to happen when, in seconds of the run, in the order of the times."""
    plan: list[tuple[float, FaultMade]] = []
    for cut in cuts:  # the switch drops the packets; here they are only told
        plan.append((cut.from_s, FaultMade(what="cut")))
        plan.append((cut.to_s, FaultMade(what="healed")))
    for crash in crashes:
        nodes = (crash.node,)
        plan.append((crash.at_s, FaultMade(what="killed", nodes=nodes)))
        plan.append((crash.at_s + crash.for_s, FaultMade(what="restarted", nodes=nodes)))
    return sorted(plan, key=lambda each: each[0])


def run_processes(
    folders: Sequence[PeerFolder],
    look: Callable[[], str | None],
    note: Callable[[Event], None],
    network: HostNetwork | None = None,
    plan: Sequence[tuple[float, FaultMade]] = (),
) -> str:
    """Run the peers until ``look`` says how it ended, and do meanwhile what ``plan`` says.

    Raises TransportError when a peer ends that was not to.
    """
    town = _Processes(folders, network)
    left = deque(plan)
    with town.running():
        began = monotonic_time()
        if network is not None:
            network.begin()
        while (outcome := look()) is None:
            while left and left[0][0] <= monotonic_time() - began:
                _, fault = left.popleft()
                for node in fault.nodes:
                    (town.kill if fault.what == "killed" else town.start)(node)
                note(fault)
            town.check()
            time.sleep(LOOK_EVERY_S)
    return outcome


class _Processes:
    """`tidings peer run` for each folder, by node number."""

    def __init__(self, folders: Sequence[PeerFolder], network: HostNetwork | None) -> None:
        self._folders = folders
        self._network = network
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start all; all are ended with the block."""
        try:
            for index in range(len(self._folders)):
                self.start(index)
            yield
        finally:
            for process in self._running.values():
                process.send_signal(signal.SIGTERM)
            for process in self._running.values():
                try:
                    process.wait(timeout=STOP_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def start(self, index: int) -> None:
        """Start a peer, on its host if there are hosts."""
        folder = self._folders[index].path
        command = [sys.executable, "-m", "tidings", "peer", "run", str(folder)]
        if self._network is not None:
            command = self._network.command(index, command)
        with (folder / OUTPUT_NAME).open("ab") as output:
            self._running[index] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                start_new_session=True,  # Ctrl-C is ours to pass on
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )

    def kill(self, index: int) -> None:
        """End a peer as a power cut does."""
        process = self._running.pop(index)
        process.kill()
        process.wait()

    def check(self) -> None:
        """Raises TransportError when a peer has ended by itself."""
        for index, process in self._running.items():
            if process.poll() is not None:
                raise _peer_ended(self._folders[index], process.returncode)


def _die_with_parent() -> None:
    # between fork and exec: nothing that could wait for a lock of another thread
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


_libc = ctypes.CDLL(None)


def _peer_ended(folder: PeerFolder, exit_code: int) -> TidingsError:
    """What to tell of a peer that was not asked to stop."""
    how = f"exit code {exit_code}"
    if exit_code < 0:
        how = f"signal {signal.Signals(-exit_code).name}"
    output = folder.path / OUTPUT_NAME
    said = output.read_text(errors="replace").strip()[-2000:]
    return TransportError(
        f"{folder.path.name} ended by itself with {how}" + (f"; it said:\n{said}" if said else ""),
        where=str(output),
        fix=f"run it alone to see more: tidings peer run {folder.path}",
    )
