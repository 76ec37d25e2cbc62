"""This peer's broadcasts, on their way to the broker one after another."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio

from ....crypto.errors import TransportError
from .feed import broadcast_digest, pack_piece
from .limits import MqttLimits
from .link import Link
from .pacing import Pacer
from .packets import Announcement
from .publisher import Publisher
from .topics import Topics

SMALL_BYTES = 1024  # up to this size a frame for each link is less than a broadcast


_AVOID_MOST_S = 3600.0  # how rarely a feed that cannot be published is tried again


@dataclass(frozen=True, slots=True)
class _Broadcast:
    number: int
    frame: bytes


class Broadcaster:
    """Publishes on the feed of the peer whose ``topics`` these are.

    ``instance`` tells the broadcasts of this run from those of another. What cannot be published
    because the broker is gone is dropped: the links that it was announced on are gone as well.
    When the feed cannot be published, broadcasts go over the links for a while.
    """

    def __init__(
        self,
        topics: Topics,
        out: Publisher,
        limits: MqttLimits,
        instance: bytes,
        warn: Callable[[str], None],
    ) -> None:
        self._topic = topics.my_feed
        self._out = out
        self._limits = limits
        self._instance = instance
        self._warn = warn
        self._pacer = Pacer(limits)
        self._number = 0
        self._queue: deque[_Broadcast] = deque()
        self._queued_bytes = 0
        self._queued = asyncio.Event()
        self._room = asyncio.Event()
        self._moved = asyncio.Event()
        self._pieces = self._pieces_bytes = 0
        self._avoid_until = float("-inf")
        self._avoid_s = limits.warn_every_s

    async def broadcast(self, links: Sequence[Link], frame: bytes) -> None:
        """Queue a frame, waiting while the queue is full, and announce it on ``links``."""
        await anyio.lowlevel.checkpoint()
        while self._queue and self._queued_bytes + len(frame) > self._limits.max_queued_bytes:
            self._room.clear()
            await self._room.wait()
        avoided = anyio.current_time() < self._avoid_until
        if len(links) < 2 or len(frame) <= SMALL_BYTES or avoided:
            for link in links:
                link.push(frame)
            return
        self._number += 1
        announced = Announcement(
            instance=self._instance, digest=broadcast_digest(frame), size=len(frame)
        )
        for link in links:
            link.announce(self._number, announced, frame)
        self._queue.append(_Broadcast(self._number, frame))
        self._queued_bytes += len(frame)
        self._queued.set()

    async def run(self) -> None:
        """Publish what is queued until cancelled."""
        while True:
            self._queued.clear()
            if not self._queue:
                await self._queued.wait()
                continue
            first, began = self._queue[0], anyio.current_time()
            failed = False
            try:
                await self._publish(first.number, first.frame)
            except* TransportError:
                failed = True
            self._learn(began, failed=failed)
            self._queue.popleft()
            self._queued_bytes -= len(first.frame)
            self._room.set()

    def _learn(self, began: float, *, failed: bool) -> None:
        """After a failure keep off the feed for a while.

        mosquitto 2.0.11 closes the connection of who publishes what its ACL denies, often before
        the reason can be read. Trying again with every broadcast would cost all links each time.
        """
        if not failed and not self._out.denied(self._topic, began):
            self._avoid_s = self._limits.warn_every_s
            return
        self._warn(
            "a broadcast could not be published, so broadcasts go over the links for"
            f" {self._avoid_s:g} s; if this is said again, the broker's ACL denies 'write' of"
            f" {self._topic}"
        )
        self._avoid_until = anyio.current_time() + self._avoid_s
        self._avoid_s = min(2 * self._avoid_s, _AVOID_MOST_S)

    async def _publish(self, number: int, frame: bytes) -> None:
        async with anyio.create_task_group() as tasks:
            at = 0
            while at < len(frame):
                size = min(self._pacer.chunk_bytes, len(frame) - at)
                if self._pieces and (
                    self._pieces >= self._limits.chunks_in_flight
                    or self._pieces_bytes + size > self._pacer.window_bytes
                ):
                    self._moved.clear()
                    await self._moved.wait()
                    continue
                self._pieces += 1
                self._pieces_bytes += size
                message = pack_piece(self._instance, number, frame, at, size)
                tasks.start_soon(self._publish_piece, message, size)
                at += size
                await anyio.lowlevel.checkpoint()

    async def _publish_piece(self, message: bytes, size: int) -> None:
        began = anyio.current_time()
        try:
            await self._out.publish(self._topic, message)
            now = anyio.current_time()
            self._pacer.acknowledged(size, now - began, now)
        finally:
            self._pieces -= 1
            self._pieces_bytes -= size
            self._moved.set()
