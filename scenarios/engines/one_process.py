"""Peers of a live run in one process: started, ended and started again as the scenario says.

A peer that is killed is cancelled in the midst of what it does, and all that it had in memory is
gone; it comes back from its folder, as after a power cut.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence

import anyio
from anyio.abc import TaskGroup, TaskStatus
from anyio.to_thread import run_sync

from ...gossip.events import Event
from ...gossip.state import State
from ...peer.folder import PeerFolder
from ...peer.launch import STOP_S, opened
from ...peer.transports.base import Transport
from ...peer.transports.memory import MemoryHub, MemoryTransport
from ..network.lines import FaultyTransport, Lines
from ..network.switch import Switch
from ..run_log import FaultMade

LOOK_EVERY_S = 0.2
Plan = Sequence[tuple[float, FaultMade]]


async def run_together(
    transport: str,
    folders: Sequence[PeerFolder],
    look: Callable[[], str | None],
    note: Callable[[Event], None],
    switch: Switch | None = None,
    plan: Plan = (),
) -> str | None:
    """Run the peers until ``look`` says how it ended; None when it was stopped.

    ``switch`` decides what happens on the lines between them, ``plan`` what to the peers.
    """
    outcome: str | None = None
    async with anyio.create_task_group() as tasks:
        if threading.current_thread() is threading.main_thread():
            # a KeyboardInterrupt would come up in the midst of anything
            await tasks.start(_stop_on_signal, tasks.cancel_scope)
        lines = None
        if switch is not None:
            keys = [folder.identity().verify_key for folder in folders]
            lines = Lines(switch, {key: index for index, key in enumerate(keys)})
        peers = _Peers(tasks, folders, transport, lines)
        for index in range(len(folders)):
            await peers.start(index)
        if lines is not None:
            lines.begin()
        tasks.start_soon(_make_faults, peers, plan, note)
        while (outcome := look()) is None:
            await anyio.sleep(LOOK_EVERY_S)
        tasks.cancel_scope.cancel()
    return outcome


async def _make_faults(peers: _Peers, plan: Plan, note: Callable[[Event], None]) -> None:
    began = anyio.current_time()
    for at_s, fault in plan:
        await anyio.sleep_until(began + at_s)
        for node in fault.nodes:
            await (peers.kill if fault.what == "killed" else peers.start)(node)
        note(fault)


class _Peers:
    """The nodes of the folders, by number, each in a task of its own."""

    def __init__(
        self,
        tasks: TaskGroup,
        folders: Sequence[PeerFolder],
        transport: str,
        lines: Lines | None,
    ) -> None:
        self._tasks = tasks
        self._folders = folders
        self._mixed = transport == "mixed"
        self._hub = MemoryHub() if transport == "memory" else None
        self._lines = lines
        self._running: dict[int, tuple[anyio.CancelScope, anyio.Event]] = {}

    async def start(self, index: int) -> None:
        """Start a peer from its folder; returns when it listens."""
        await self._tasks.start(self._run, index)

    async def kill(self, index: int) -> None:
        """End a peer wherever it is; returns when its folder is free."""
        scope, ended = self._running.pop(index)
        scope.cancel()
        await ended.wait()

    async def _run(self, index: int, *, task_status: TaskStatus[list[str]]) -> None:
        scope, ended = self._running[index] = anyio.CancelScope(), anyio.Event()
        made = self._in_memory if self._hub is not None else None
        with opened(
            self._folders[index], transport=made, wrap=self._wrap, on_asyncio=self._mixed
        ) as node:
            try:
                with scope:
                    await node.run(task_status=task_status)
            finally:
                with anyio.CancelScope(shield=True):  # a learner cannot be interrupted
                    await run_sync(node.at_rest.wait, STOP_S)
        ended.set()

    def _in_memory(self, state: State) -> Transport:
        assert self._hub is not None
        return MemoryTransport(self._hub, state.me.key, state.may_link)

    def _wrap(self, state: State, transport: Transport) -> Transport:
        if self._lines is None:
            return transport
        return FaultyTransport(transport, self._lines, state.me.key)


async def _stop_on_signal(
    run: anyio.CancelScope, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            run.cancel()
