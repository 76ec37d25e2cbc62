"""Settings of a broker, and the files for one: what is accepted, and what mosquitto takes."""

from __future__ import annotations

import asyncio
import base64
import shutil
import ssl
import stat
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import aiomqtt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.peer.mqtt_kit import NETWORK, QUICK, A, B
from tidings.crypto.errors import ConfigError
from tidings.peer.transports.mqtt.broker_config import (
    Bridge,
    BrokerPlan,
    acl,
    broker_config,
    mosquitto_conf,
    new_passwords,
    password_line,
    write_broker_config,
)
from tidings.peer.transports.mqtt.certificates import make_certificates
from tidings.peer.transports.mqtt.client import new_client
from tidings.peer.transports.mqtt.limits import MqttLimits
from tidings.peer.transports.mqtt.settings import MqttSettings
from tidings.peer.transports.mqtt.topics import Topics
from tidings.peer.transports.mqtt.warnings import Warnings

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def test_a_url_names_host_port_and_tls():
    plain = MqttSettings.from_url("mqtt://broker.local")
    assert (plain.host, plain.port, plain.tls) == ("broker.local", 1883, False)
    sealed = MqttSettings.from_url("mqtts://[::1]:9999", password="secret")
    assert (sealed.host, sealed.port, sealed.tls) == ("::1", 9999, True)
    assert sealed.url == "mqtts://[::1]:9999"
    assert "secret" not in repr(sealed)


@pytest.mark.parametrize(
    "url",
    ["", "broker", "http://broker", "mqtt://", "mqtt://x:99999", "mqtt://x/path", "mqtt://x?a=b"],
)
def test_what_is_no_address_of_a_broker_is_refused(url):
    with pytest.raises(ConfigError, match="no address of a broker"):
        MqttSettings.from_url(url)


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(ConfigError) as caught:
        MqttSettings.from_url("mqtts://me:hunter2@broker")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        MqttSettings.from_url("mqtts://me:hunter2@broker/path")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "bad",
    [
        {"host": ""},
        {"port": 0},
        {"keepalive_s": 0},
        {"session_expiry_s": -1},
        {"ca_file": "ca.pem"},
    ],
)
def test_settings_that_cannot_be_used_are_refused(bad):
    with pytest.raises(ConfigError):
        MqttSettings(**{"host": "broker", **bad})


@pytest.mark.parametrize(
    "bad",
    [
        {"chunk_bytes": 2**20},
        {"max_inbox_bytes": 2**20},
        {"chunks_in_flight": 65},
        {"chunks_in_flight": 0},
        {"silence_s": 1.0},
    ],
)
def test_limits_that_contradict_each_other_are_refused(bad):
    with pytest.raises(ConfigError):
        MqttLimits(**bad)


def test_tls_checks_the_broker():
    context = MqttSettings(host="broker", tls=True).tls_context()
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert MqttSettings(host="broker").tls_context() is None


def test_topics_are_read_as_they_are_written():
    topics, others = Topics(NETWORK, A), Topics(NETWORK, B)
    assert topics.parse(others.to(A)) == ("to", B)
    assert [topics.parse(topic)[0] for topic in topics.of(B)] == ["here", "feed", "head"]
    assert all(topics.parse(topic).sender == B for topic in topics.of(B))
    assert topics.parse(topics.to(B)) is None  # for another
    assert Topics(b"other network id", A).parse(others.to(A)) is None
    assert topics.parse(others.to(A) + "\n") is None
    assert topics.parse(others.to(A).upper()) is None


@given(st.text(max_size=200))
def test_any_topic_is_read(text):
    topics = Topics(NETWORK, A)
    assert topics.parse(text) is None
    assert topics.parse(topics.here(A)[:41] + text) is None or len(text) > 64


def test_the_same_trouble_is_said_once_in_a_while():
    said = []
    warnings = Warnings(said.append, 60.0)
    for _ in range(3):
        warnings.say("one")
        warnings.say("two")
    assert said == ["one", "two"]
    often = Warnings(said.append, 0.0)
    for _ in range(3):
        often.say("three")
    assert said[2:] == ["three"] * 3


# -- files for mosquitto -----------------------------------------------------------------------


def test_a_password_line_is_what_mosquitto_passwd_writes(tmp_path):
    program = shutil.which("mosquitto_passwd")
    if program is None:
        pytest.fail("mosquitto is not installed: run tools/setup-test-tools")
    file = tmp_path / "passwords"
    subprocess.run([program, "-b", "-c", str(file), "alice", "pass word"], check=True)
    theirs = file.read_text().strip()
    salt = base64.b64decode(theirs.split("$")[3])
    assert password_line("alice", "pass word", salt) == theirs
    assert password_line("alice", "pass Word", salt) != theirs


@pytest.mark.parametrize("name", ["", "a:b", "a\nb"])
def test_a_user_name_that_would_break_the_file_is_refused(name):
    with pytest.raises(ConfigError):
        password_line(name, "x", bytes(12))


def test_every_member_gets_a_password_of_its_own():
    passwords = new_passwords([A, B])
    assert passwords[A] != passwords[B]
    assert all(len(base64.urlsafe_b64decode(text)) == 24 for text in passwords.values())


def test_the_secret_files_are_the_owners_alone_and_hold_no_password(tmp_path):
    plan = BrokerPlan(network_id=NETWORK, folder=tmp_path)
    passwords = new_passwords([A, B])
    files = broker_config(plan, passwords, make_certificates(["broker"], now=NOON))
    written = {path.name: path for path in write_broker_config(tmp_path, files)}
    for name in ("passwords", "broker.key", "mosquitto.conf"):
        assert stat.S_IMODE(written[name].stat().st_mode) == 0o600
    everything = b"".join(path.read_bytes() for path in written.values())
    assert passwords[A].encode() not in everything
    assert A.hex().encode() in written["passwords"].read_bytes()
    assert b"PRIVATE" not in written["ca.pem"].read_bytes() + written["broker.pem"].read_bytes()


def test_the_configuration_has_the_settings_that_worked(tmp_path):
    lines = mosquitto_conf(BrokerPlan(network_id=NETWORK, folder=tmp_path)).splitlines()
    for line in (
        "allow_anonymous false",
        "max_packet_size 1048576",
        "max_inflight_messages 16",
        "max_queued_bytes 134217728",
        "set_tcp_nodelay true",
        f"acl_file {tmp_path}/acl",
        "persistence true",
    ):
        assert line in lines
    with pytest.raises(ConfigError, match="absolute"):
        mosquitto_conf(BrokerPlan(network_id=NETWORK, folder=Path("here")))
    bridge = Bridge(host="other", port=8883, ca=b"", password="secret")
    bridged = mosquitto_conf(BrokerPlan(network_id=NETWORK, folder=tmp_path, bridge=bridge))
    assert "address other:8883" in bridged
    assert "secret" not in repr(bridge)


def test_the_acl_names_every_topic_that_a_member_uses():
    rules = acl(NETWORK).splitlines()
    for peer in (A, B):
        own = Topics(NETWORK, peer)
        other = Topics(NETWORK, {A: B, B: A}[peer])
        may_write = [rule.split()[2] for rule in rules if rule.startswith("pattern write")]
        may_read = [rule.split()[2] for rule in rules if rule.startswith("pattern read")]
        used = [*own.of(peer), own.to({A: B, B: A}[peer])]
        assert all(any(_covers(rule, topic, peer) for rule in may_write) for topic in used)
        heard = [*own.of({A: B, B: A}[peer]), other.to(peer)]
        assert all(any(_covers(rule, topic, peer) for rule in may_read) for topic in heard)
        foreign = [*own.of({A: B, B: A}[peer]), other.to(peer)]
        assert not any(_covers(rule, topic, peer) for rule in may_write for topic in foreign)
        assert not any(_covers(rule, own.to({A: B, B: A}[peer]), peer) for rule in may_read)


def _covers(rule: str, topic: str, user: bytes) -> bool:
    parts, levels = rule.replace("%u", user.hex()).split("/"), topic.split("/")
    return len(parts) == len(levels) and all(
        p in ("+", level) for p, level in zip(parts, levels, strict=True)
    )


def test_certificates_are_for_the_hosts_that_were_named(tmp_path):
    certificates = make_certificates(["broker.local", "192.0.2.7"], now=NOON)
    (tmp_path / "ca.pem").write_bytes(certificates.ca)
    (tmp_path / "broker.pem").write_bytes(certificates.broker)
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.fail("openssl is not installed")
    at = str(int(NOON.timestamp()))

    def verify(*host: str) -> int:
        command = [openssl, "verify", "-x509_strict", "-attime", at, "-purpose", "sslserver"]
        files = ["-CAfile", str(tmp_path / "ca.pem"), str(tmp_path / "broker.pem")]
        return subprocess.run(
            [*command, *host, *files], capture_output=True, check=False
        ).returncode

    assert verify("-verify_hostname", "broker.local") == 0
    assert verify("-verify_ip", "192.0.2.7") == 0
    assert verify("-verify_hostname", "other.local") != 0
    with pytest.raises(ConfigError, match="at least one host"):
        make_certificates([], now=NOON)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_messages_that_nobody_looks_at_are_bounded_in_bytes(anyio_backend):
    client = new_client(MqttSettings(host="broker"), QUICK, "id", "presence", None)
    queue = client._queue
    message = aiomqtt.Message("topic", bytes(2**20), 0, False, 1, None)
    for _ in range(QUICK.max_inbox_bytes // (2**20 + 512)):
        queue.put_nowait(message)
    with pytest.raises(asyncio.QueueFull):
        queue.put_nowait(message)
    queue.get_nowait()
    queue.put_nowait(message)
