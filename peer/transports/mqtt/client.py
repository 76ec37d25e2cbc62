"""One MQTT client of aiomqtt, set up as the transport needs it, and taken down wholly."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import ssl
from collections.abc import Callable
from typing import Any

import aiomqtt
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from .limits import MqttLimits
from .settings import MqttSettings

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


class Client(aiomqtt.Client):
    """aiomqtt's client, which also says when the broker does not take a message.

    ``on_denied`` gets the topic and the reason code at once, because mosquitto 2.0.11 closes the
    connection right after it.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.speaks_5 = options["protocol"] == aiomqtt.ProtocolVersion.V5
        self.on_denied: Callable[[str, int], None] = lambda topic, code: None
        self._answers: dict[int, tuple[asyncio.Future[None], str]] = {}

    async def say(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int,
        retain: bool = False,
        properties: Properties | None = None,
        timeout_s: float,
    ) -> bool:
        """Publish, and wait for the broker's answer or, with ``qos`` 0, until it is written.

        False when there is no connection, which ``messages`` tells as well, with the reason.
        Raises MqttError when there is no answer in time.
        """
        info = self._client.publish(topic, payload, qos, retain, properties)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            return False
        if info.is_published():
            return True
        answer: asyncio.Future[None] = self._loop.create_future()
        self._answers[info.mid] = answer, topic
        try:
            async with asyncio.timeout(timeout_s):
                await answer
        except TimeoutError:
            raise aiomqtt.MqttError("the broker took too long to take a message") from None
        finally:
            self._answers.pop(info.mid, None)
        return True

    def _on_socket_register_write(self, client: Any, userdata: Any, sock: Any) -> None:
        """As aiomqtt's, which fails in the event loop when the socket is closed by then."""
        self._loop.call_soon_threadsafe(self._write_when_ready, sock)

    def _write_when_ready(self, sock: Any) -> None:
        if sock.fileno() >= 0:
            self._loop.add_writer(sock.fileno(), self._write)

    def _write(self) -> None:
        try:
            self._client.loop_write()
        except Exception as error:  # a broken pipe, mostly: the connection is gone
            if not self._disconnected.done():
                self._disconnected.set_exception(error)

    def _on_publish(
        self, client: Any, userdata: Any, mid: int, reason_code: ReasonCode, properties: Any
    ) -> None:
        if mid in self._answers:
            answer, topic = self._answers[mid]
            if reason_code.is_failure:
                self.on_denied(topic, reason_code.value)
            if not answer.done():
                answer.set_result(None)
        super()._on_publish(client, userdata, mid, reason_code, properties)


def new_client(
    settings: MqttSettings,
    limits: MqttLimits,
    client_id: str,
    presence: str,
    tls: ssl.SSLContext | None,
) -> Client:
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
    return Client(
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


def abandon(client: Client) -> None:
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
