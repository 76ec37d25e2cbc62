"""What waits to be sent: an outbox for each link, so that a slow neighbour holds up nobody else.

Where one publish reaches several links (``base.Broadcasting``), a frame for all of them goes that
way to those links that have nothing else waiting. It keeps its place among their frames: what
comes after it waits until the transport has taken it. A link that lags gets its own copy, in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import anyio
from anyio.abc import TaskGroup

from ..crypto.errors import TransportError
from .transports.base import Broadcasting, Prompt, Transport

OUTBOX_LENGTH = 64  # frames that may wait for one link before it is cut


class _Outbox:
    def __init__(self, link: bytes, transport: Transport) -> None:
        self.link = link
        self._prompt = transport if isinstance(transport, Prompt) else None
        # an event stands for a broadcast: it is set when the transport has taken that
        self.send, self.receive = anyio.create_memory_object_stream[bytes | anyio.Event](
            OUTBOX_LENGTH
        )
        self.waiting = 0  # not yet handed over

    def send_now(self, frame: bytes) -> bool:
        """Hand a frame over if the transport takes it at once."""
        return self._prompt is not None and self._prompt.send_now(self.link, frame)


class Outboxes:
    """The outboxes of the links that are up; ``transport`` gives the one that they are of."""

    def __init__(self, tasks: TaskGroup, transport: Callable[[], Transport]) -> None:
        self._tasks = tasks
        self._transport = transport
        self._open: dict[bytes, _Outbox] = {}

    def open(self, link: bytes) -> None:
        """Begin to send to a link that came up."""
        outbox = self._open[link] = _Outbox(link, self._transport())
        self._tasks.start_soon(self._drain, outbox)

    def close(self, link: bytes) -> None:
        """Forget what waits for a link that broke: it has no place on the next."""
        outbox = self._open.pop(link, None)
        if outbox is not None:
            outbox.send.close()

    async def post(self, links: Iterable[bytes], frame: bytes) -> None:
        """Send a frame to each of some links; those that broke a moment ago are left out."""
        for link in links:
            outbox = self._open.get(link)
            if outbox is not None and (outbox.waiting or not outbox.send_now(frame)):
                await self._put(outbox, frame)

    async def broadcast(self, links: Iterable[bytes], frame: bytes) -> None:
        """Send a frame to some links, with one publish where the transport has such."""
        transport, rest = self._transport(), list(links)
        if isinstance(transport, Broadcasting):
            idle = [link for link in rest if link in self._open and not self._open[link].waiting]
            together = transport.reached_together(idle)
            if len(together) > 1:
                taken = anyio.Event()
                outboxes = [self._open[link] for link in together]
                for outbox in outboxes:
                    await self._put(outbox, taken)
                self._tasks.start_soon(self._publish, transport, outboxes, frame, taken)
                rest = [link for link in rest if link not in together]
        await self.post(rest, frame)

    async def _put(self, outbox: _Outbox, item: bytes | anyio.Event) -> None:
        try:
            outbox.send.send_nowait(item)
            outbox.waiting += 1
        except anyio.WouldBlock:
            # a frame left out would be a gap; a new link begins with a hello and one road
            await self._disconnect(outbox, "too slow: its outbox is full")
        except anyio.BrokenResourceError:
            pass  # the link broke; its NeighbourDown is on the way

    async def _publish(
        self,
        transport: Broadcasting,
        outboxes: list[_Outbox],
        frame: bytes,
        taken: anyio.Event,
    ) -> None:
        try:
            links = [outbox.link for outbox in outboxes if self._is_open(outbox)]
            await transport.broadcast(links, frame)
        except TransportError as error:
            for outbox in outboxes:
                await self._disconnect(outbox, str(error))
        finally:
            taken.set()

    async def _drain(self, outbox: _Outbox) -> None:
        with outbox.receive:
            async for item in outbox.receive:
                if not self._is_open(outbox):
                    return
                if isinstance(item, anyio.Event):
                    await item.wait()
                else:
                    try:
                        await self._transport().send(outbox.link, item)
                    except TransportError as error:
                        await self._disconnect(outbox, str(error))
                        return
                outbox.waiting -= 1

    def _is_open(self, outbox: _Outbox) -> bool:
        return self._open.get(outbox.link) is outbox

    async def _disconnect(self, outbox: _Outbox, why: str) -> None:
        if self._is_open(outbox):
            await self._transport().disconnect(outbox.link, why)
