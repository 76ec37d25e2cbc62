"""A broker for the peers of a live run, started and stopped with it.

It listens on loopback, or on a host of its own in a network of namespaces (mosquitto alone).

embedded     amqtt in a thread of this process: nothing to install, no TLS, no passwords
mosquitto    the real one, with TLS, a password for each peer and the ACL, from the files that
             `tidings network broker-config` writes
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeAlias

from anyio.from_thread import start_blocking_portal

from ..crypto.errors import ConfigError, TransportError
from ..crypto.files import write_atomic
from ..peer.broker import BrokerConfig
from ..peer.broker_files import write_for_members
from ..peer.clock import monotonic_time, wall_time

BrokerKind = Literal["embedded", "mosquitto"]
START_S = 10.0
LOOPBACK = "127.0.0.1"
Command = list[str]


def as_it_is(command: Command) -> Command:
    """A command that is started on this machine."""
    return command


def make_broker(
    kind: BrokerKind,
    folder: Path,
    network_id: bytes,
    members: Mapping[str, bytes],
    port: int,
    *,
    host: str = LOOPBACK,
    on_host: Callable[[Command], Command] = as_it_is,
) -> Broker:
    """The broker of that kind for `members` (name -> verify key), on a port of ``host``.

    ``on_host`` makes a command into one that is started on that host.

    Raises ConfigError when mosquitto is not installed.
    """
    if kind == "embedded":
        return EmbeddedBroker(port)
    return Mosquitto(folder, network_id, members, port, host=host, on_host=on_host)


class EmbeddedBroker:
    """amqtt, in a thread with an event loop of its own."""

    def __init__(self, port: int) -> None:
        self._port = port

    def equip(self, name: str, folder: Path) -> BrokerConfig:
        """It wants nothing but its address."""
        url = f"mqtt://{LOOPBACK}:{self._port}"
        return BrokerConfig(url=url, protocol="3.1.1", session_expiry_s=0)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Raises TransportError when the port is in use, ConfigError without amqtt."""
        from ..peer.transports.mqtt.broker import embedded_broker

        with (
            start_blocking_portal("asyncio") as portal,
            portal.wrap_async_context_manager(embedded_broker(self._port)),
        ):
            yield


class Mosquitto:
    """A real mosquitto with TLS, passwords and an ACL."""

    def __init__(
        self,
        folder: Path,
        network_id: bytes,
        members: Mapping[str, bytes],
        port: int,
        *,
        host: str = LOOPBACK,
        on_host: Callable[[Command], Command] = as_it_is,
    ) -> None:
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise ConfigError(
                "mosquitto is not installed",
                where="broker",
                fix="install it (Debian: apt-get install mosquitto), or use broker = 'embedded'",
            )
        self._program = program
        self._host, self._port = host, port
        self._on_host = on_host
        self._folder = folder
        now = datetime.fromtimestamp(wall_time(), UTC)
        self._written = write_for_members(
            folder.absolute(), network_id, members, [host], port, now, bind=host
        )
        if os.geteuid() == 0:  # it would become a user that may not read the run's folder
            config = self._written.config
            write_atomic(config, config.read_bytes() + b"user root\n", 0o600)

    def equip(self, name: str, folder: Path) -> BrokerConfig:
        """Each peer gets the CA's certificate and its own password."""
        password = (self._written.passwords / f"{name}.password").read_bytes()
        write_atomic(folder / "broker.password", password, 0o600)
        write_atomic(folder / "ca.pem", self._written.ca.read_bytes())
        return BrokerConfig(
            url=f"mqtts://{self._host}:{self._port}",
            ca_file="ca.pem",
            password_file="broker.password",
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Raises TransportError when it does not start."""
        log = self._folder / "mosquitto.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self._on_host([self._program, "-c", str(self._written.config)]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            try:
                self._wait_until_it_runs(process, log)
                yield
            finally:
                process.terminate()
                process.wait()

    def _wait_until_it_runs(self, process: subprocess.Popen[bytes], log: Path) -> None:
        deadline = monotonic_time() + START_S
        while b" running\n" not in log.read_bytes():
            if process.poll() is not None or monotonic_time() > deadline:
                raise TransportError(
                    f"mosquitto did not start: {log.read_text(errors='replace')[-500:]}",
                    where=str(self._folder),
                )
            time.sleep(0.02)


Broker: TypeAlias = EmbeddedBroker | Mosquitto
