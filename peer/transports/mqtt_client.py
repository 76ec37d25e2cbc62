"""One MQTT client of aiomqtt, set up as the transport needs it, and taken down wholly."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import ssl
from typing import Any

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from .mqtt_limits import MqttLimits
from .mqtt_settings import MqttSettings

_QUIET = logging.getLogger("tidings.mqtt.paho")
_QUIET.setLevel(logging.CRITICAL)  # it warns of what is told here in other words


class _BoundedQueue(asyncio.Queue[aiomqtt.Message]):
    """Messages not yet looked at. aiomqtt drops what does not fit; chunks are sent again."""

    max_bytes = math.inf  # a subclass for each session sets it

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self._bytes = 0

    def put_nowait(self, item: aiomqtt.Message) -> None:
        size = _size(item)
        if self._bytes + size > self.max_bytes:
            raise asyncio.QueueFull
        super().put_nowait(item)
        self._bytes += size

    def get_nowait(self) -> aiomqtt.Message:
        item = super().get_nowait()
        self._bytes -= _size(item)
        return item


def _size(message: aiomqtt.Message) -> int:
    return len(message.payload or b"") + 512 if isinstance(message.payload, bytes) else 512


def new_client(
    settings: MqttSettings,
    limits: MqttLimits,
    client_id: str,
    presence: str,
    tls: ssl.SSLContext | None,
) -> aiomqtt.Client:
    """A client that is not connected yet; its last will empties the topic ``presence``."""
    options: dict[str, Any] = {"clean_session": True, "protocol": aiomqtt.ProtocolVersion.V311}
    if settings.protocol == "5":
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = settings.session_expiry_s
        properties.MaximumPacketSize = limits.max_packet_bytes
        properties.ReceiveMaximum = 2 * limits.chunks_in_flight
        options = {
            "protocol": aiomqtt.ProtocolVersion.V5,
            "clean_start": settings.session_expiry_s == 0,
            "properties": properties,
        }
    username = settings.username or presence.rpartition("/")[2]
    client = aiomqtt.Client(
        settings.host,
        settings.port,
        identifier=client_id,
        username=username if settings.password is not None else None,
        password=settings.password,
        will=aiomqtt.Will(presence, b"", qos=1, retain=True),
        keepalive=settings.keepalive_s,
        timeout=limits.connect_s,
        queue_type=type("_Queue", (_BoundedQueue,), {"max_bytes": limits.max_inbox_bytes}),
        max_inflight_messages=2 * limits.chunks_in_flight,
        tls_context=tls,
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        logger=_QUIET,
        **options,
    )
    client.pending_calls_threshold = 10**9  # a task for each is meant to wait
    return client


def abandon(client: aiomqtt.Client) -> None:
    """Close what aiomqtt leaves open when a connection ends in another way than it began."""
    misc, inner = client._misc_task, client._client
    if misc is not None:
        misc.cancel()
    connection = inner.socket()
    if isinstance(connection, socket.socket) and connection.fileno() >= 0:
        loop = asyncio.get_running_loop()
        loop.remove_reader(connection.fileno())
        loop.remove_writer(connection.fileno())
        connection.close()
    failure = client._disconnected
    if failure.done() and not failure.cancelled():
        failure.exception()  # looked at, so that asyncio does not complain
