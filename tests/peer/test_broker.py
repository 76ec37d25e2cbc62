"""`[broker]` in peer.toml, and `tidings network broker-config`."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.peer.owner import Owner
from tidings.crypto.errors import ConfigError, IdentityError
from tidings.crypto.identity import Identity, libp2p_peer_id
from tidings.crypto.membership import JoinRequest
from tidings.crypto.network import NetworkAdmin
from tidings.peer.broker import BrokerConfig
from tidings.peer.config import PeerConfig
from tidings.peer.settings_files import check_settings

PEER = {"name": "a", "learner": {"kind": "softmax", "features": 2, "classes": 2}}


def test_paths_start_from_the_peer_s_folder(tmp_path: Path) -> None:
    (tmp_path / "pw").touch(0o600)
    (tmp_path / "pw").write_text("secret\n")
    config = BrokerConfig(url="mqtts://broker.lan", ca_file="ca.pem", password_file="pw")
    settings = config.settings(tmp_path)
    assert (settings.host, settings.port, settings.tls) == ("broker.lan", 8883, True)
    assert (settings.password, settings.ca_file) == ("secret", str(tmp_path / "ca.pem"))
    assert "secret" not in repr(settings)


def test_a_password_that_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("secret\n")
    (tmp_path / "pw").chmod(0o644)
    with pytest.raises(IdentityError, match="chmod 600"):
        BrokerConfig(url="mqtts://broker.lan", password_file="pw").settings(tmp_path)


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no address of a broker"):
        BrokerConfig(url="http://broker.lan").settings(tmp_path)


def test_mqtt_needs_a_broker() -> None:
    with pytest.raises(ConfigError, match=r"\[broker\] with a url"):
        check_settings(PeerConfig, {**PEER, "transport": "mqtt"}, where="peer.toml")


def test_a_peer_behind_a_broker_is_named_without_an_address() -> None:
    other = Identity.from_seed(bytes(32))
    peers = [f"/p2p/{libp2p_peer_id(other.verify_key)}"]
    config = check_settings(PeerConfig, {**PEER, "peers": peers}, where="peer.toml")
    assert config.addresses() == {other.verify_key: []}
    with pytest.raises(ConfigError, match="ends badly"):
        check_settings(PeerConfig, {**PEER, "peers": ["/p2p/nobody"]}, where="peer.toml")


def test_broker_config_writes_what_mosquitto_and_each_member_need(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    owner = Owner(tmp_path, capfd)
    folder = owner.create()
    admin = NetworkAdmin.open(folder)
    for number, name in enumerate(("one", "two")):
        admin.admit(JoinRequest.make(name, Identity.from_seed(bytes([number]) * 32)))
    done = owner.run("network", "broker-config", folder, "--host", "broker.lan")
    assert done.code == 0
    assert "mqtts://broker.lan:8883" in done.out
    broker = folder / "broker"
    assert {"mosquitto.conf", "acl", "ca.pem"} <= {file.name for file in broker.iterdir()}
    passwords = sorted((broker / "members").iterdir())
    assert [file.name for file in passwords] == ["one.password", "two.password"]
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in passwords)
    assert len({file.read_text() for file in passwords}) == 2
