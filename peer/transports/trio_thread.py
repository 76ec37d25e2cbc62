"""A transport that needs trio, for a program that runs on asyncio.

The transport runs on trio in a thread of its own. What it delivers crosses to the asyncio loop and
is waited for there, so back-pressure and order stay what they were; what is asked of it crosses
the other way. Ending ``run`` ends the thread.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import anyio
import trio
from anyio.abc import TaskGroup, TaskStatus

from ...crypto.errors import TransportError
from .base import Backend, Deliver, Delivery, Transport

logger = logging.getLogger(__name__)


class TrioThread:
    """``inner``, which needs trio, as a transport for asyncio."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self._loop: asyncio.AbstractEventLoop
        self._deliver: Deliver
        self._token: trio.lowlevel.TrioToken | None = None
        self._tasks: TaskGroup | None = None
        self._error: BaseException | None = None

    @property
    def backend(self) -> Backend:
        """asyncio, on the outside."""
        return "asyncio"

    async def run(
        self,
        deliver: Deliver,
        *,
        task_status: TaskStatus[list[str]] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """See ``Transport.run``."""
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        ready: asyncio.Future[list[str]] = self._loop.create_future()
        over = asyncio.Event()
        thread = threading.Thread(
            target=self._thread, args=(ready, over), name="trio-transport", daemon=True
        )
        thread.start()
        ended = asyncio.ensure_future(over.wait())
        try:
            waiting: list[asyncio.Future[Any]] = [ready, ended]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                task_status.started(ready.result())
                await over.wait()
        finally:
            with anyio.CancelScope(shield=True):
                self._end()
                await ended
        if self._error is not None:
            raise self._error

    async def send(self, peer: bytes, frame: bytes) -> None:
        """See ``Transport.send``."""
        await self._ask(lambda: self._inner.send(peer, frame))

    def seek(self, peers: Mapping[bytes, Sequence[str]]) -> None:
        """See ``Transport.seek``."""
        if self._token is None:
            self._inner.seek(peers)
            return
        wanted = dict(peers)
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._seek, wanted)

    async def disconnect(self, peer: bytes, why: str) -> None:
        """See ``Transport.disconnect``."""
        with suppress(TransportError):  # it has ended, and all links with it
            await self._ask(lambda: self._inner.disconnect(peer, why))

    # -- on the asyncio side ---------------------------------------------------------------

    async def _ask(self, make: Callable[[], Awaitable[None]]) -> None:
        """Have the other thread carry something out, and wait for it."""
        answer: asyncio.Future[None] = self._loop.create_future()

        def settle(error: BaseException | None) -> None:
            if answer.done():
                return  # nobody waits any more
            if error is None:
                answer.set_result(None)
            else:
                answer.set_exception(error)

        async def carry_out() -> None:
            error: BaseException | None = TransportError("this transport has ended")
            try:
                await make()
                error = None
            except TransportError as raised:
                error = raised
            finally:
                self._tell(settle, error)

        def begin() -> None:
            if self._tasks is None:
                self._tell(settle, TransportError("this transport has ended"))
            else:
                self._tasks.start_soon(carry_out)

        try:
            if self._token is None:
                raise TransportError("this transport does not run")
            self._token.run_sync_soon(begin)
        except trio.RunFinishedError:
            raise TransportError("this transport has ended") from None
        await answer

    def _end(self) -> None:
        def cancel() -> None:
            if self._tasks is not None:
                self._tasks.cancel_scope.cancel()

        with suppress(trio.RunFinishedError):
            if self._token is not None:
                self._token.run_sync_soon(cancel)

    # -- on the trio side ------------------------------------------------------------------

    def _thread(self, ready: asyncio.Future[list[str]], over: asyncio.Event) -> None:
        try:
            trio.run(self._main, ready)
        except BaseException as error:  # told to whoever awaits ``run``
            self._error = error
        finally:
            self._tell(over.set)

    async def _main(self, ready: asyncio.Future[list[str]]) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            try:
                addresses = await tasks.start(self._inner.run, self._cross)
                self._tell(_set_unless_done, ready, addresses)
                await anyio.sleep_forever()
            finally:
                self._tasks = None

    async def _cross(self, delivery: Delivery) -> None:
        """Deliver on the asyncio loop; returns when it was taken there."""
        token, taken = trio.lowlevel.current_trio_token(), anyio.Event()
        future = asyncio.run_coroutine_threadsafe(self._hand_over(delivery), self._loop)

        def wake(_: object) -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(taken.set)

        future.add_done_callback(wake)
        try:
            await taken.wait()
        except anyio.get_cancelled_exc_class():
            future.cancel()
            raise
        future.result()

    async def _hand_over(self, delivery: Delivery) -> None:
        await self._deliver(delivery)

    def _seek(self, peers: Mapping[bytes, Sequence[str]]) -> None:
        try:
            self._inner.seek(peers)
        except TransportError as error:
            logger.warning("an address cannot be used: %s", error)

    def _tell(self, function: Callable[..., object], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: the program ends
            self._loop.call_soon_threadsafe(function, *arguments)


def _set_unless_done(future: asyncio.Future[list[str]], value: list[str]) -> None:
    if not future.done():
        future.set_result(value)
