"""Live runs over MQTT: a broker in the process, and a real mosquitto with TLS and an ACL."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from tests.scenarios.small import small
from tests.scenarios.test_live import FEW, assert_all_is_well, run
from tidings.crypto.errors import ConfigError
from tidings.peer.folder import PeerFolder
from tidings.scenarios import brokers

MQTT = (*FEW, "transport=mqtt", "peers=4")


def test_peers_meet_at_a_broker_that_nobody_had_to_set_up(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert_all_is_well(run(small(*MQTT), folder), folder, peers=4)


def test_peers_meet_at_a_mosquitto_with_tls_passwords_and_acl(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert_all_is_well(run(small(*MQTT, "broker=mosquitto"), folder), folder, peers=4)
    log = (folder / "broker" / "mosquitto.log").read_text()
    for path in (folder / "peers").iterdir():
        user = PeerFolder.open(path).identity().verify_key.hex()
        assert re.search(rf"New client connected .*\(p5, .*u'{user}'", log)  # MQTT v5, by password
        broker = PeerFolder.open(path).config().broker
        assert broker is not None
        assert broker.url.startswith("mqtts://127.0.0.1:")
        assert stat.S_IMODE((path / "broker.password").stat().st_mode) == 0o600


def test_processes_of_their_own_meet_at_the_embedded_broker(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    summary = run(small(*FEW, "transport=mqtt", "peers=3"), folder, processes=True)
    assert_all_is_well(summary, folder, peers=3)


def test_a_missing_mosquitto_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brokers.shutil, "which", lambda *_, **__: None)
    with pytest.raises(ConfigError, match="mosquitto is not installed"):
        run(small(*MQTT, "broker=mosquitto"), tmp_path / "run")
