"""A broker inside this process, for demonstrations and tests: no set-up, and nothing to install.

It listens on the loopback address alone, because it has no passwords, no ACL and no bounds: its
queues grow as far as the memory goes. It speaks MQTT 3.1.1.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from ....crypto.errors import ConfigError, TransportError
from .settings import MqttSettings

_HOST = "127.0.0.1"
_LOGGERS = ("amqtt", "transitions")


@asynccontextmanager
async def embedded_broker(port: int = 0) -> AsyncIterator[MqttSettings]:
    """Run a broker while the block runs, on ``port`` or, with 0, on any that is free.

    Gives the settings with which peers of this machine reach it. Needs asyncio. Raises
    ConfigError when amqtt is not installed, TransportError when the port is in use.
    """
    try:
        from amqtt.broker import Broker  # type: ignore[import-untyped]
        from amqtt.errors import BrokerError  # type: ignore[import-untyped]
    except ImportError:
        raise ConfigError(
            "a broker of its own needs a package that is not installed",
            where="transport",
            fix="pip install 'tidings[broker]', or name a broker",
        ) from None
    for name in _LOGGERS:  # each connection and each packet is worth a line to them
        logging.getLogger(name).setLevel(logging.CRITICAL)
    port = port or _free_port()
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"{_HOST}:{port}"}},
            "plugins": {
                "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
            },
        }
    )
    try:
        await broker.start()
    except (BrokerError, OSError) as error:
        raise TransportError(
            f"the broker cannot listen: {error.__cause__ or error}",
            where=f"{_HOST}:{port}",
            fix="choose another port, or 0 for any",
        ) from None
    try:
        yield MqttSettings(host=_HOST, port=port, protocol="3.1.1", session_expiry_s=0)
    finally:
        with anyio.CancelScope(shield=True):
            await broker.shutdown()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
    return port
