"""Brokers and peers for the tests of the MQTT transport."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import aiomqtt
import anyio
import pytest

from tidings.crypto.errors import TransportError
from tidings.crypto.identity import Identity
from tidings.peer.clock import monotonic_time, wall_time
from tidings.peer.transports.base import Delivery, Frame, LinkDown, LinkUp
from tidings.peer.transports.mqtt.broker_config import (
    CA_CERTIFICATE,
    Bridge,
    BrokerPlan,
    broker_config,
    new_passwords,
    password_line,
    write_broker_config,
)
from tidings.peer.transports.mqtt.certificates import make_certificates
from tidings.peer.transports.mqtt.client import new_client
from tidings.peer.transports.mqtt.limits import MqttLimits
from tidings.peer.transports.mqtt.settings import MqttSettings
from tidings.peer.transports.mqtt.transport import MqttTransport

NETWORK = bytes(range(16))
# In the order of their keys: of any two, the earlier one dials.
IDENTITIES = sorted(
    (Identity.from_seed(bytes([n]) * 32) for n in range(1, 9)), key=lambda i: i.verify_key
)
SMALL, LARGE = IDENTITIES[0], IDENTITIES[-1]
A, B = SMALL.verify_key, LARGE.verify_key
QUICK = MqttLimits(
    heartbeat_s=0.2,
    silence_s=1.2,
    handshake_s=1.0,
    backoff_min_s=0.05,
    backoff_max_s=0.2,
    broker_backoff_max_s=0.4,
    broadcast_wait_s=0.4,
    progress_s=3.0,
    connect_s=2.0,
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def everybody(key: bytes) -> bool:
    return True


@dataclass
class Mosquitto:
    """A real broker with the files that broker_config writes, on a free loopback port."""

    folder: Path
    port: int = field(default_factory=free_port)
    keep: bool = False
    extra: str = ""
    bridge: Bridge | None = None
    bridge_password: str | None = None
    network: bytes = NETWORK
    members: list[Identity] = field(default_factory=lambda: list(IDENTITIES))
    process: subprocess.Popen | None = None
    starts: int = 0

    def __post_init__(self) -> None:
        program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            pytest.fail("mosquitto is not installed: run tools/setup-test-tools")
        self.program = program
        plan = BrokerPlan(
            network_id=self.network,
            folder=self.folder,
            port=self.port,
            bind="127.0.0.1",
            keep=self.keep,
            bridge=self.bridge,
        )
        self.passwords = new_passwords(i.verify_key for i in self.members)
        certificates = make_certificates(
            ["127.0.0.1", "localhost"], now=datetime.fromtimestamp(wall_time(), UTC)
        )
        files = broker_config(
            plan, self.passwords, certificates, bridge_password=self.bridge_password
        )
        write_broker_config(self.folder, files, keep=self.keep)
        config = self.folder / "mosquitto.conf"
        # As root it would become a user that may not read the folder.
        user = "user root\n" if os.geteuid() == 0 else ""
        config.write_text(config.read_text() + user + self.extra)

    def start(self) -> None:
        self.log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            [self.program, "-c", str(self.folder / "mosquitto.conf"), "-v"],
            stdout=self.log,
            stderr=self.log,
        )
        deadline = monotonic_time() + 5
        while monotonic_time() < deadline:
            if self.process.poll() is not None:
                raise AssertionError((self.folder / "log").read_text())
            # It listens before it minds signals, so its own word is waited for.
            if (self.folder / "log").read_bytes().count(b" running\n") == self.starts + 1:
                self.starts += 1
                return
            time.sleep(0.02)
        raise AssertionError("mosquitto did not start")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.log.close()
            self.process = None

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def write_acl(self, text: str) -> None:
        (self.folder / "acl").write_text(text)
        self.process.send_signal(signal.SIGHUP)
        time.sleep(0.2)

    def allow_spy(self) -> MqttSettings:
        """Settings of one more user, who may read and write everything, as the broker could."""
        with (self.folder / "passwords").open("a") as file:
            file.write(password_line("spy", "spy", b"salt" * 3) + "\n")
        self.write_acl((self.folder / "acl").read_text() + "user spy\ntopic readwrite #\n")
        return self.settings(self.members[0], username="spy", password="spy")

    def settings(self, identity: Identity, **changes) -> MqttSettings:
        settings = MqttSettings(
            host="127.0.0.1",
            port=self.port,
            tls=True,
            ca_file=str(self.folder / CA_CERTIFICATE),
            password=self.passwords[identity.verify_key],
        )
        return replace(settings, **changes)

    def __enter__(self) -> Mosquitto:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()


@dataclass
class Relay:
    """A TCP relay in front of a broker, which can fall silent in both directions, or be slow to
    hand on what the broker says.
    """

    target: int
    port: int = 0
    silent: bool = False
    down_bytes_per_s: float = float("inf")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Relay]:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, self._serve)
            yield self
            tasks.cancel_scope.cancel()

    async def _serve(self, client: anyio.abc.SocketStream) -> None:
        async with (
            client,
            await anyio.connect_tcp("127.0.0.1", self.target) as broker,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(self._pump, client, broker, tasks.cancel_scope, float("inf"))
            tasks.start_soon(self._pump, broker, client, tasks.cancel_scope, self.down_bytes_per_s)

    async def _pump(self, source, target, scope, bytes_per_s) -> None:
        try:
            async for data in source:
                while self.silent:
                    await anyio.sleep(0.02)
                await target.send(data)
                await anyio.sleep(len(data) / bytes_per_s)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        scope.cancel()


@dataclass
class Peer:
    transport: MqttTransport
    key: bytes
    seen: list[Delivery] = field(default_factory=list)
    gate: anyio.Event | None = None
    warnings: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    stop: Callable[[], None] = lambda: None

    async def deliver(self, delivery: Delivery) -> None:
        if self.gate is not None and isinstance(delivery, Frame):
            await self.gate.wait()
        self.seen.append(delivery)

    async def until(self, condition: Callable[[], bool], within_s: float = 10) -> None:
        with anyio.move_on_after(within_s):
            while not condition():
                await anyio.sleep(0.005)
            return
        raise AssertionError(
            f"not within {within_s} s: links {self.links()}, {self.why()}, {self.warnings}"
        )

    async def linked(self, within_s: float = 10) -> None:
        await self.until(lambda: self.links()[-1:] == ["up"], within_s)

    async def unlinked(self, within_s: float = 10) -> None:
        await self.until(lambda: self.links()[-1:] == ["down"], within_s)

    async def got(self, number: int, within_s: float = 20) -> list[bytes]:
        await self.until(lambda: len(self.frames()) >= number, within_s)
        return self.frames()

    async def warned(self, text: str, within_s: float = 10) -> None:
        await self.until(lambda: any(text in w for w in self.warnings), within_s)

    def links(self) -> list[str]:
        names = {LinkUp: "up", LinkDown: "down"}
        return [names[type(d)] for d in self.seen if type(d) in names]

    def frames(self) -> list[bytes]:
        return [d.data for d in self.seen if isinstance(d, Frame)]

    def why(self) -> list[str]:
        return [d.why for d in self.seen if isinstance(d, LinkDown)]


def make_peer(
    identity: Identity, settings: MqttSettings, *, limits=QUICK, accept=everybody, **options
) -> Peer:
    warnings: list[str] = []
    transport = MqttTransport(
        identity, NETWORK, settings, accept, limits, warn=warnings.append, **options
    )
    return Peer(transport, identity.verify_key, warnings=warnings)


@asynccontextmanager
async def running(*peers: Peer, seek: bool = True) -> AsyncIterator[None]:
    """Run the peers; with ``seek`` each seeks all others."""
    if seek:
        for peer in peers:
            peer.transport.seek({other.key: () for other in peers if other is not peer})
    async with anyio.create_task_group() as tasks:
        for peer in peers:
            scope = await tasks.start(_run, peer)
            peer.stop = scope.cancel
        yield
        tasks.cancel_scope.cancel()


async def _run(peer: Peer, *, task_status) -> None:
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            peer.addresses = await tasks.start(peer.transport.run, peer.deliver)
            task_status.started(scope)


async def sent(peer: Peer, to: bytes, frame: bytes) -> bool:
    """Send; False when there was no link at that moment."""
    try:
        await peer.transport.send(to, frame)
    except TransportError:
        return False
    return True


@asynccontextmanager
async def spying(
    settings: MqttSettings, heard: list[tuple[str, bytes]] | None, limits=QUICK
) -> AsyncIterator[aiomqtt.Client]:
    """A client that may publish everything, and hears every message unless ``heard`` is None."""

    async def listen() -> None:
        async for message in client.messages:
            heard.append((str(message.topic), message.payload))

    client = new_client(settings, limits, "spy", "spy/gone", settings.tls_context())
    async with client, anyio.create_task_group() as tasks:
        if heard is not None:
            await client.subscribe("#", 1)
            tasks.start_soon(listen)
        yield client
        tasks.cancel_scope.cancel()


async def caught_up(spy: aiomqtt.Client, heard: list[tuple[str, bytes]]) -> None:
    """Return when the spy has heard all that the broker had before."""
    await spy.publish("spy/caught-up", b"", 1)
    with anyio.fail_after(20):
        while ("spy/caught-up", b"") not in heard:
            await anyio.sleep(0.01)


@contextmanager
def mosquitto(folder: Path, **options) -> Iterator[Mosquitto]:
    with Mosquitto(folder, **options) as broker:
        yield broker
