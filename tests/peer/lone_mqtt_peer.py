"""A program that runs one peer behind a broker, for tests that measure, freeze or kill it.

    python -m tests.peer.lone_mqtt_peer SEED_HEX SETTINGS_JSON LIMITS_JSON PEER_HEX WHAT

With WHAT ``echo`` it sends every frame back, with ``ask`` it sends frames to PEER without an end.
An address in place of these makes it a gateway that listens there and echoes. Who says "pour" to it
gets frames without an end. It prints "up" when its first link is there.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress

import anyio

from tests.peer.mqtt_kit import NETWORK, everybody
from tidings.crypto.errors import TransportError
from tidings.crypto.identity import Identity
from tidings.peer.transports.base import Delivery, Frame, LinkUp, Transport
from tidings.peer.transports.gateway import GatewayTransport
from tidings.peer.transports.libp2p.transport import Libp2pTransport
from tidings.peer.transports.mqtt.limits import MqttLimits
from tidings.peer.transports.mqtt.settings import MqttSettings
from tidings.peer.transports.mqtt.transport import MqttTransport
from tidings.peer.transports.trio_thread import TrioThread


async def main() -> None:
    seed, settings, limits_json, peer_hex, what = sys.argv[1:]
    identity, peer = Identity.from_seed(bytes.fromhex(seed)), bytes.fromhex(peer_hex)
    limits = MqttLimits(**json.loads(limits_json))

    def brokered(accept) -> MqttTransport:
        place = MqttSettings(**json.loads(settings))
        return MqttTransport(identity, NETWORK, place, accept, limits, warn=lambda text: None)

    def direct(accept) -> TrioThread:
        return TrioThread(Libp2pTransport(identity.seed, what, accept, limits))

    transport: Transport = (
        brokered(everybody)
        if what in ("echo", "ask")
        else GatewayTransport(direct, brokered, everybody)
    )
    up = anyio.Event()

    async def pour(to: bytes) -> None:
        while True:
            with suppress(TransportError):
                await transport.send(to, bytes(20_000))
            await anyio.sleep(0)

    async def deliver(delivery: Delivery) -> None:
        if isinstance(delivery, LinkUp) and not up.is_set():
            print("up", flush=True)
            up.set()
        elif isinstance(delivery, Frame) and delivery.data == b"pour":
            tasks.start_soon(pour, delivery.peer)
        elif isinstance(delivery, Frame) and what != "ask":
            with suppress(TransportError):  # the link may have broken since
                await transport.send(delivery.peer, b"echo:" + delivery.data)

    transport.seek({peer: ()})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(transport.run, deliver)
        await up.wait()
        if what == "ask":
            await pour(peer)


anyio.run(main)
