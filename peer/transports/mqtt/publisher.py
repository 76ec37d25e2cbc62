"""Messages on their way to the broker, bounded in bytes, on one connection after another.

What was handed over and had not reached the broker when the connection broke is lost; links are
cut then and begin anew, so nobody waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiomqtt
import anyio
from anyio.abc import TaskGroup
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from ....crypto.errors import TransportError
from .client import Client
from .limits import MqttLimits

DENIED = 128  # the first reason code of MQTT 5 that means failure


class Publisher:
    """Publishes on the connection that is attached; ``lose`` is told when it is of no use."""

    def __init__(
        self,
        limits: MqttLimits,
        *,
        lose: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self._limits = limits
        self._lose = lose
        self._warn = warn
        self._client: Client | None = None
        self._tasks: TaskGroup | None = None
        self._hints = True
        self._unsent_bytes = 0
        self._room = asyncio.Event()
        self._awaited: set[asyncio.Future[None]] = set()
        self._denied_at: dict[str, float] = {}

    def attach(self, client: Client, tasks: TaskGroup, *, hints: bool) -> None:
        """Use this connection; without ``hints`` these are not published."""
        self._client, self._tasks, self._hints = client, tasks, hints
        self._unsent_bytes = 0
        client.on_denied = self._on_denied

    def detach(self) -> None:
        """The connection is gone: let go all who wait."""
        self._client = self._tasks = None
        self._room.set()
        for done in self._awaited:
            if not done.done():
                done.set_exception(TransportError("the connection to the broker broke"))

    def denied(self, topic: str, since: float) -> bool:
        """Whether the broker said that its ACL denies the topic, after the time ``since``."""
        return self._denied_at.get(topic, float("-inf")) >= since

    def post(self, topic: str, payload: bytes) -> None:
        """Send a small message without waiting; it is lost when the broker is gone."""
        if self._tasks is not None:
            self._tasks.start_soon(self._publish, topic, payload, 0)

    def hint(self, topic: str, payload: bytes) -> None:
        """Have the broker retain a small message that is of use but not needed."""
        if self._tasks is not None and self._hints:
            self._tasks.start_soon(self._publish, topic, payload, 0, True)

    async def hand_over(self, topic: str, payload: bytes) -> None:
        """Send a message after waiting for room; returns before the broker has it.

        Raises TransportError when the broker is gone.
        """
        tasks = await self._take_room(len(payload))
        tasks.start_soon(self._publish_counted, topic, payload, None)

    async def publish(self, topic: str, payload: bytes) -> None:
        """Send a message and wait until the broker has it, or says that it denies it.

        Raises TransportError when the broker is gone.
        """
        tasks = await self._take_room(len(payload))
        done = asyncio.get_running_loop().create_future()
        self._awaited.add(done)
        tasks.start_soon(self._publish_counted, topic, payload, done)
        try:
            await done
        finally:
            self._awaited.discard(done)

    async def _take_room(self, size: int) -> TaskGroup:
        await anyio.lowlevel.checkpoint()
        while self._tasks is not None and self._unsent_bytes + size > self._limits.max_unsent_bytes:
            self._room.clear()
            await self._room.wait()
        if self._tasks is None:
            raise TransportError("there is no connection to the broker")
        self._unsent_bytes += size
        return self._tasks

    async def _publish_counted(
        self, topic: str, payload: bytes, done: asyncio.Future[None] | None
    ) -> None:
        sent = await self._publish(topic, payload, 1)
        self._unsent_bytes -= len(payload)
        self._room.set()
        if sent and done is not None and not done.done():
            done.set_result(None)

    async def _publish(self, topic: str, payload: bytes, qos: int, retain: bool = False) -> bool:
        if self._client is None:
            return False
        properties = None
        if self._client.speaks_5 and not retain:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = self._limits.message_expiry_s
        try:
            return await self._client.say(
                topic,
                payload,
                qos=qos,
                retain=retain,
                properties=properties,
                timeout_s=self._limits.send_deadline_s(self._unsent_bytes),
            )
        except (aiomqtt.MqttError, ValueError) as error:
            self._lose(str(error))
            return False

    def _on_denied(self, topic: str, code: int) -> None:
        # Called by a reader of the event loop, outside of any task: anyio has no time there.
        self._denied_at[topic] = asyncio.get_running_loop().time()
        if len(self._denied_at) > self._limits.max_connections + 2:
            del self._denied_at[next(iter(self._denied_at))]
        self._warn(
            f"the broker denies 'write' of {topic} to this peer (reason code {code}): check its"
            " ACL, and that the user name is the one that it expects"
        )
