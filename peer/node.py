"""One running node: feeds the protocol core what happens, and carries out what it answers.

One loop handles one input at a time. Whatever may wait is a task of its own: each link has an
outbox, so a slow neighbour holds up nobody else. Training and the core's arithmetic run in worker
threads, so the network never waits for them; only what comes to an idle peer with a small model is
handled at once, for the way to a thread and back would take as long. A checkpoint is on the disk
before the effects that follow it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType

import anyio
from anyio.abc import TaskStatus
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from anyio.to_thread import run_sync

from ..crypto.errors import TidingsError
from ..crypto.membership import Bulletin
from ..gossip import effects as fx
from ..gossip.core import unfold
from ..gossip.events import Event
from ..gossip.state import State
from .clock import monotonic_time, wall_time
from .event_log import EventLog
from .inbox import Inbox
from .outboxes import Outboxes
from .sleep import NEVER, SleepConfig
from .store import Store
from .training import Trainer
from .transports import base
from .transports.addresses import announceable, merged
from .transports.base import Retaining, Transport

INBOX_LENGTH = 256
SMALL_MODEL = 2**18  # parameters; the core takes about 2 ms for a delta
HANDOVERS = 4  # from an outbox to the wire
Job = fx.Train | fx.Evaluate


def _up_to_a_job(effects: Iterator[fx.Effect]) -> list[fx.Effect]:
    """The next effects, the last of them one that keeps the learner busy: it need not wait."""
    part = []
    for effect in effects:
        part.append(effect)
        if isinstance(effect, Job):
            break
    return part


def root_cause(error: BaseException) -> BaseException:
    """The one error behind nested groups: what a person should be told."""
    while isinstance(error, BaseExceptionGroup):
        mendable = error.subgroup(TidingsError)
        error = (mendable or error).exceptions[0]
    return error


class Node:
    """A peer at work on a transport. ``name`` is for its event log.

    ``peers`` are those that its owner named, with their addresses; ``announce`` holds the addresses
    to tell others instead of those that the transport listens on.

    Store and log are the caller's to close, after ``at_rest`` is set: a learner cannot be
    interrupted, so its thread may outlive ``run`` for a while.
    """

    def __init__(
        self,
        *,
        name: str,
        state: State,
        trainer: Trainer,
        store: Store,
        log: EventLog,
        transport: Callable[[], Transport],
        peers: Mapping[bytes, Sequence[str]] = MappingProxyType({}),
        announce: Sequence[str] = (),
        sleep: SleepConfig = NEVER,
        watch: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self.name = name
        self.state = state
        self._trainer = trainer
        self._store = store
        self._log = log
        self._make_transport = transport
        self.transport = transport()
        self._peers = peers
        self._announce = announce
        self._wanted: Mapping[bytes, tuple[str, ...]] = {}  # by the core
        self.transport.seek(peers)
        self._sleep = sleep
        self._tired = False  # the rounds between two sleeps are done
        self._radio: anyio.CancelScope  # of the transport's task
        self._silent: anyio.Event  # the transport's task has ended
        self._watch = watch
        self._timers: dict[str, float] = {}
        self._outboxes: Outboxes
        self.at_rest = threading.Event()  # no thread of the learner's is running
        self.at_rest.set()

    async def run(self, *, task_status: TaskStatus[list[str]] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled; ``started`` gets the addresses that the transport listens on.

        Raises TransportError when the address cannot be used, StorageError when the disk fails.
        """
        send, inbox = anyio.create_memory_object_stream[fx.Input](INBOX_LENGTH)
        self._inbox = send
        # the core asks for one training at a time, so this never grows
        jobs, work = anyio.create_memory_object_stream[Job](math.inf)
        self._core = anyio.CapacityLimiter(1)  # a thread of its own, whoever trains
        try:
            async with anyio.create_task_group() as tasks:
                self._outboxes = Outboxes(tasks, lambda: self.transport)
                deliver = Inbox(send, self._outboxes)
                addresses = await tasks.start(self._listen, deliver)
                tasks.start_soon(self._work, work, send)
                task_status.started(addresses)
                await self._take(fx.Started(), jobs)
                while True:
                    places = tuple(self._announce or announceable(addresses))
                    await self._take(fx.Listening(addresses=places), jobs)
                    await self._loop(inbox, jobs)
                    await self._fall_silent(inbox, jobs)
                    await anyio.sleep(self._sleep.for_s)
                    self.transport = self._make_transport()
                    self.transport.seek(merged(self._peers, self._wanted))
                    addresses = await tasks.start(self._listen, deliver)
        except BaseExceptionGroup as group:
            raise root_cause(group) from None

    async def tell(self, bulletin: Bulletin) -> None:
        """Pass on what the peer's owner got from the network's, while the peer runs."""
        await self._inbox.send(fx.Told(bulletin=bulletin))

    async def _loop(
        self, inbox: MemoryObjectReceiveStream[fx.Input], jobs: MemoryObjectSendStream[Job]
    ) -> None:
        """Handle what happens, until it is time to sleep."""
        while not self._tired:
            event, idle = await self._next_input(inbox)
            if event is not None:
                await self._take(event, jobs, at_once=idle and self._is_small(event))
            for timer in self._due_timers():
                await self._take(fx.TimerFired(timer=timer), jobs)

    async def _next_input(
        self, inbox: MemoryObjectReceiveStream[fx.Input]
    ) -> tuple[fx.Input | None, bool]:
        """What came, None when a timer is due first, and whether it had to be waited for."""
        with suppress(anyio.WouldBlock):
            event = inbox.receive_nowait()
            return event, False
        with anyio.move_on_after(self._next_timer()):
            return await inbox.receive(), True
        return None, True

    async def _hand_over(self) -> None:
        """Let frames reach the wire before the core's thread and this one share a processor."""
        for _ in range(HANDOVERS):
            await anyio.lowlevel.checkpoint()

    def _is_small(self, event: fx.Input) -> bool:
        """Whether two changes of thread take longer than the core is likely to."""
        return isinstance(event, fx.Received) and self.state.me.genesis.size <= SMALL_MODEL

    # -- sleep -----------------------------------------------------------------------------

    async def _listen(self, deliver: base.Deliver, *, task_status: TaskStatus[list[str]]) -> None:
        self._radio, self._silent = anyio.CancelScope(), anyio.Event()
        try:
            with self._radio:
                await self.transport.run(deliver, task_status=task_status)
        finally:
            self._silent.set()

    async def _fall_silent(
        self, inbox: MemoryObjectReceiveStream[fx.Input], jobs: MemoryObjectSendStream[Job]
    ) -> None:
        """End the transport; the core hears that all links are gone. Training goes on."""
        self._tired = False
        self._radio.cancel()
        await self._silent.wait()
        with suppress(anyio.WouldBlock):
            while True:  # what came before the silence comes before it for the core as well
                await self._take(inbox.receive_nowait(), jobs)
        for link in sorted(self.state.up):
            self._outboxes.close(link)
            await self._take(fx.NeighbourDown(link=link, why="asleep"), jobs)
        self._tired = False

    # -- inputs ----------------------------------------------------------------------------

    async def _work(
        self,
        work: MemoryObjectReceiveStream[Job],
        inbox: MemoryObjectSendStream[fx.Input],
    ) -> None:
        async for job in work:
            await inbox.send(await run_sync(self._answer, job, abandon_on_cancel=True))

    def _answer(self, job: Job) -> fx.Input:
        self.at_rest.clear()
        try:
            if isinstance(job, fx.Train):
                return self._trainer.train(job)
            return self._trainer.evaluate(job)
        finally:
            self.at_rest.set()

    def _next_timer(self) -> float:
        if not self._timers:
            return math.inf
        return max(0.0, min(self._timers.values()) - monotonic_time())

    def _due_timers(self) -> list[str]:
        now = monotonic_time()
        due = sorted((at, name) for name, at in self._timers.items() if at <= now)
        for _, name in due:
            del self._timers[name]
        return [name for _, name in due]

    # -- effects ---------------------------------------------------------------------------

    async def _take(
        self, event: fx.Input, jobs: MemoryObjectSendStream[Job], *, at_once: bool = False
    ) -> None:
        effects = unfold(self.state, event, monotonic_time())
        if at_once:
            await self._carry_out(effects, jobs)
            return
        while part := await run_sync(_up_to_a_job, effects, limiter=self._core):
            await self._carry_out(part, jobs)

    async def _carry_out(
        self, effects: Iterable[fx.Effect], jobs: MemoryObjectSendStream[Job]
    ) -> None:
        # what is noted is written once something was done, for neither that nor the core need wait
        noted: list[tuple[float, Event]] = []
        try:
            for effect in effects:
                if isinstance(effect, fx.Record):
                    noted.append((wall_time(), effect.event))
                    self._watch(effect.event)
                    self._tired |= self._sleep.is_due(effect.event)
                else:
                    await self._do(effect, jobs)
                    self._write(noted)
        finally:
            self._write(noted)

    def _write(self, noted: list[tuple[float, Event]]) -> None:
        while noted:
            time, event = noted.pop(0)
            self._log.write(event, time=time, peer=self.name)

    async def _do(self, effect: fx.Effect, jobs: MemoryObjectSendStream[Job]) -> None:
        match effect:
            case fx.Send():
                await self._outboxes.post((effect.to,), bytes(effect.frame))
                await self._hand_over()
            case fx.Broadcast():
                await self._outboxes.broadcast(effect.to, bytes(effect.frame))
                await self._hand_over()
            case fx.SetTimer():
                self._timers[effect.timer] = effect.at
            case fx.Keep():
                await run_sync(self._store.keep, effect.checkpoint, limiter=self._core)
            case fx.Train() | fx.Evaluate():
                await jobs.send(effect)
            case fx.Seek() | fx.Leave() | fx.Disconnect():
                await self._connect(effect)

    async def _connect(self, effect: fx.Seek | fx.Leave | fx.Disconnect) -> None:
        """What concerns whom this peer is linked with, or who may find it."""
        match effect:
            case fx.Seek():
                self._wanted = effect.peers
                self.transport.seek(merged(self._peers, self._wanted))
            case fx.Leave():
                if isinstance(self.transport, Retaining):
                    self.transport.leave(bytes(effect.notice))
            case fx.Disconnect():
                await self.transport.disconnect(effect.link, effect.why)
