"""A peer that starts before its broker waits for it; a mistake ends it when the broker says so."""

from __future__ import annotations

import socket
import time
from dataclasses import replace

import aiomqtt
import anyio
import pytest
from aiomqtt.exceptions import MqttConnectError

from tests.peer.mqtt_kit import (
    LARGE,
    QUICK,
    SMALL,
    A,
    B,
    Mosquitto,
    free_port,
    make_peer,
    mosquitto,
    running,
)
from tests.peer.peer_folders import small_town
from tests.peer.test_launch import ended, wait_for
from tests.peer.test_launch import running as process_of
from tidings.crypto.errors import TransportError
from tidings.peer.node import root_cause
from tidings.peer.transports.mqtt import session
from tidings.peer.transports.mqtt.refusal import Refusal, explain
from tidings.peer.transports.mqtt.settings import MqttSettings

HERE = MqttSettings(host="127.0.0.1", port=1)
INF = float("inf")


@pytest.fixture
def anyio_backend():
    return "asyncio"


# -- what is a mistake, and what may pass --------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "patience_s", "words"),
    [
        (socket.gaierror(-3, "Temporary failure in name resolution"), INF, "cannot be looked up"),
        (socket.gaierror(-2, "Name or service not known"), 60, "host name is not known"),
        (OSError(101, "Network is unreachable"), INF, "no way to it"),
        (OSError(113, "No route to host"), INF, "no way to it"),
        (OSError(100, "Network is down"), INF, "Network is down"),
        (OSError(111, "Connection refused"), INF, "nothing listens"),
        (OSError(104, "Connection reset by peer"), 60, "closed the connection"),
        (OSError("[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred"), 60, "closed the connection"),
        (OSError("[SSL: WRONG_VERSION_NUMBER] wrong version number"), 0, "does not speak TLS"),
        (OSError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"), 0, "not trusted"),
        (
            OSError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate is not yet valid"),
            INF,
            "not valid yet",
        ),
        (aiomqtt.MqttError("Operation timed out"), INF, "did not answer"),
        (ValueError("encoding with 'idna' codec failed"), 0, "no host name"),
        (MqttConnectError(0x86), 0, "name with this password"),
        (MqttConnectError(0x87), 0, "does not authorize"),
        (MqttConnectError(0x88), INF, "not available"),
        (MqttConnectError(0x8C), 0, ""),  # a word of the broker's that is not in the table
        (MqttConnectError(3), INF, "not available"),
        (MqttConnectError(5), 0, "does not authorize"),
    ],
    ids=str,
)
def test_the_broker_s_word_is_final_and_the_weather_is_not(error, patience_s, words):
    refusal = explain(error, HERE)
    assert refusal.patience_s == patience_s
    assert words in refusal.error.what
    assert refusal.error.fix


async def refused(settings, limits=QUICK) -> TransportError:
    """How a transport ends that makes a mistake."""
    with anyio.fail_after(20), pytest.raises((TransportError, ExceptionGroup)) as caught:
        await make_peer(SMALL, settings, limits=limits).transport.run(_nobody)
    error = root_cause(caught.value)
    assert isinstance(error, TransportError)
    assert error.where == settings.url
    return error


async def _nobody(delivery) -> None:
    raise AssertionError(delivery)


@pytest.mark.anyio
async def test_a_wrong_password(broker):
    error = await refused(broker.settings(SMALL, password="wrong"))
    assert "does not authorize this peer" in error.what
    assert "password" in error.fix


@pytest.mark.anyio
async def test_a_broker_that_wants_a_password_gets_none(broker):
    error = await refused(broker.settings(SMALL, password=None))
    assert "password" in error.fix


@pytest.mark.anyio
async def test_a_certificate_of_another_authority(broker, tmp_path):
    other = Mosquitto(tmp_path / "other")
    error = await refused(broker.settings(SMALL, ca_file=str(other.folder / "ca.pem")))
    assert "certificate is not trusted" in error.what
    assert "ca_file" in error.fix


@pytest.mark.anyio
async def test_what_may_pass_or_not_ends_a_peer_when_it_lasts(monkeypatch):
    def brief(error, settings):
        refusal = explain(error, settings)
        assert refusal.patience_s == 60
        return Refusal(refusal.error, 0.3)

    monkeypatch.setattr(session, "explain", brief)
    error = await refused(MqttSettings(host="no-such-host.invalid"))
    assert "host name is not known" in error.what


# -- waiting ---------------------------------------------------------------------------------------


async def waits(monkeypatch, settings, limits=QUICK) -> str:
    """What a peer says, once in three attempts, that starts all the same."""
    attempts = 0

    def count(error, settings):
        nonlocal attempts
        attempts += 1
        return explain(error, settings)

    monkeypatch.setattr(session, "explain", count)
    peer = make_peer(SMALL, settings, limits=limits)
    async with running(peer):
        assert peer.addresses == [settings.url]
        await peer.until(lambda: attempts >= 3)
    (said,) = peer.warnings
    assert settings.url in said
    assert "waiting for it" in said
    return said


@pytest.mark.anyio
async def test_nothing_listens(monkeypatch):
    said = await waits(monkeypatch, MqttSettings(host="127.0.0.1", port=free_port()))
    assert "nothing listens there" in said
    assert "start the broker" in said


@pytest.mark.anyio
async def test_names_cannot_be_looked_up_before_the_network_is_there(monkeypatch):
    def no_network(*arguments, **options):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    said = await waits(monkeypatch, MqttSettings(host="broker.example"))
    assert "host names cannot be looked up" in said


@pytest.mark.anyio
async def test_ports_that_speak_otherwise(tmp_path, monkeypatch):
    port = free_port()
    with mosquitto(tmp_path, extra=f"listener {port} 127.0.0.1\n") as broker:
        assert "without TLS" in await waits(monkeypatch, broker.settings(SMALL, port=port))
        plain = broker.settings(SMALL, tls=False, ca_file=None)
        assert "mqtts://" in await waits(monkeypatch, plain, replace(QUICK, connect_s=0.3))


@pytest.mark.anyio
async def test_a_broker_that_accepts_and_says_nothing(monkeypatch):
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        settings = MqttSettings(host="127.0.0.1", port=port)
        said = await waits(monkeypatch, settings, replace(QUICK, connect_s=0.3))
        assert "did not answer in time" in said


@pytest.mark.anyio
async def test_a_mistake_is_told_when_the_broker_comes_and_can_speak(tmp_path):
    broker = Mosquitto(tmp_path)
    peer = make_peer(SMALL, broker.settings(SMALL, password="wrong"))
    try:
        with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
            async with running(peer):
                await peer.warned("nothing listens there")
                await anyio.to_thread.run_sync(broker.start)
                await anyio.sleep(20)
    finally:
        broker.kill()
    assert "does not authorize" in str(root_cause(caught.value))


@pytest.mark.anyio
async def test_a_broker_that_knew_this_peer_may_forget_and_remember_it(broker):
    a, b = make_peer(SMALL, broker.settings(SMALL)), make_peer(LARGE, broker.settings(LARGE))
    passwords = (broker.folder / "passwords").read_text()
    async with running(a, b):
        await a.linked()
        broker.kill()
        (broker.folder / "passwords").write_text("")
        await a.unlinked()
        await anyio.to_thread.run_sync(broker.start)
        await a.warned("does not authorize")
        broker.kill()
        (broker.folder / "passwords").write_text(passwords)
        await anyio.to_thread.run_sync(broker.start)
        await a.linked()
        assert sum("does not authorize" in warning for warning in a.warnings) == 1
        await b.linked()
        await a.transport.send(B, b"again")
        await b.got(1)
        assert A in {delivery.peer for delivery in b.seen}


# -- whole peers, in processes of their own --------------------------------------------------------


WAITING = ("transport=mqtt", "broker=mosquitto", "rules.deadline_s=30.0")


def test_peers_that_start_first_link_and_learn_when_the_broker_comes(tmp_path):
    town = small_town(tmp_path, *WAITING)
    one, other = town.folders
    with process_of(one) as first, process_of(other) as second:
        wait_for(one, "transport-warning")
        wait_for(other, "transport-warning")
        time.sleep(2)
        with town.broker.running():
            for folder in (one, other):
                wait_for(folder, "peer-finished")
                events = folder.events_file.read_text()
                assert '"event":"link-up"' in events
                assert '"message":"news"' in events
            for process in (first, second):
                process.terminate()
                code, _, said = ended(process)
                assert code == 0
                assert said.count("waiting for it") == 1
                assert said.index("waiting for it") < said.index("linked with")


def test_a_password_that_the_broker_does_not_know_ends_with_5(tmp_path):
    town = small_town(tmp_path, *WAITING)
    one, _ = town.folders
    (one.path / "broker.password").write_text("wrong")
    with process_of(one) as process:
        wait_for(one, "transport-warning")
        with town.broker.running():
            code, _, said = ended(process)
    assert code == 5
    assert "does not authorize this peer" in said
    assert "check username, password" in said
