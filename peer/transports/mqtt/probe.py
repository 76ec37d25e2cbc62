"""Is a broker fit for a peer? Tried by a real connection, as `tidings peer doctor` asks.

The connection has a client id of its own and says nothing that anybody acts upon, so a peer that
runs meanwhile keeps its session, and its neighbours their links.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

import aiomqtt
import anyio

from ....crypto.errors import TransportError
from .client import Client, abandon, new_client
from .limits import MqttLimits
from .packets import VERSION, Kind
from .refusal import explain
from .settings import MqttSettings
from .topics import Topics


async def probe(settings: MqttSettings, network_id: bytes, own_key: bytes, wait_s: float) -> None:
    """Connect as the peer with ``own_key`` would, and have two messages come back.

    Each step is waited for ``wait_s`` seconds. Returns when the broker knows name and password and
    delivers on the peer's own topics. Raises ConfigError for a CA file that cannot be read, and
    TransportError, with what to do, for all else.
    """
    topics = Topics(network_id, own_key)
    link, feed = topics.to(own_key), topics.feed(own_key)
    client = new_client(
        replace(settings, session_expiry_s=0),
        MqttLimits(connect_s=wait_s),
        f"tidings-doctor-{os.urandom(8).hex()}",
        link,  # a last will there reaches this peer alone, which does not listen to itself
        settings.tls_context(),
    )
    try:
        await client.__aenter__()
    except (aiomqtt.MqttError, OSError, ValueError) as error:
        abandon(client)
        raise explain(error, settings).error from None
    try:
        for topic in (link, feed):
            await _Echo(client, topic, settings).come_back(wait_s)
        await client.__aexit__(None, None, None)
    finally:
        abandon(client)


@dataclass(slots=True)
class _Echo:
    """A message to a topic that one reads oneself: nobody's ACL answers better."""

    client: Client
    topic: str
    settings: MqttSettings
    payload: bytes = field(default_factory=lambda: bytes([VERSION, Kind.ECHO]) + os.urandom(8))
    is_denied: bool = False

    async def come_back(self, wait_s: float) -> None:
        """Raises TransportError when it does not."""
        self.client.on_denied = self._on_denied
        try:
            with anyio.fail_after(wait_s):
                await self.client.subscribe(self.topic, 1)
                await self.client.say(self.topic, self.payload, qos=1, timeout_s=wait_s)
                async for message in self.client.messages:
                    if message.payload == self.payload:
                        return
        except TimeoutError:
            raise self._denied("the broker takes a message and does not deliver it") from None
        except aiomqtt.MqttError as error:
            if not self.is_denied:
                how = f"the broker closed the connection over a message ({error})"
                raise self._denied(how) from None
        raise self._denied("the broker does not take a message")

    def _on_denied(self, topic: str, code: int) -> None:
        self.is_denied = True

    def _denied(self, what: str) -> TransportError:
        name = self.topic.split("/")[-1]
        return TransportError(
            f"{what}: its ACL denies this peer 'write' or 'read' of {self.topic}",
            where=self.settings.url,
            fix="write the ACL anew (`tidings network broker-config`); the user name that it"
            f" expects is the peer's verify key, {name}",
        )
