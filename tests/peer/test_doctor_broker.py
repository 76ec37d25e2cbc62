"""`tidings peer doctor` and a real mosquitto: what keeps a peer out is named, with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peer.mqtt_kit import Mosquitto
from tests.peer.owner import Owner
from tests.peer.test_doctor import edit, told
from tidings.peer import doctor_machine as machine
from tidings.peer.folder import PeerFolder


class Behind:
    """A peer that is admitted, and the broker that its file names."""

    def __init__(self, owner: Owner, folder: Path) -> None:
        (self.peer, _) = owner.join(owner.create(), "ada", "bob")
        opened = PeerFolder.open(self.peer)
        self.owner, self.identity = owner, opened.identity()
        self.broker = Mosquitto(
            folder, network=opened.admission().certificate.network_id, members=[self.identity]
        )
        settings = self.broker.settings(self.identity)
        edit(self.peer, 'transport = "libp2p"', 'transport = "mqtt"')
        with (self.peer / "peer.toml").open("a") as file:
            file.write(
                f'\n[broker]\nurl = "{settings.url}"\nca_file = "{settings.ca_file}"\n'
                'password_file = "password"\n'
            )
        self.password(settings.password)

    def password(self, text: str) -> None:
        place = self.peer / "password"
        place.write_text(text)
        place.chmod(0o600)

    def doctor(self, *, code: int) -> dict[str, str]:
        return told(self.owner, self.peer, code=code)["broker"]

    def deny(self, line: str) -> None:
        """Take one rule out of the ACL."""
        rules = (self.broker.folder / "acl").read_text()
        assert line in rules
        self.broker.write_acl("\n".join(r for r in rules.splitlines() if line not in r) + "\n")


@pytest.fixture
def behind(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Behind:
    monkeypatch.setattr(machine, "is_synchronised", lambda: True)
    return Behind(Owner(tmp_path, capfd), tmp_path / "broker")


def test_a_broker_that_serves_this_peer(behind: Behind) -> None:
    with behind.broker:
        found = behind.doctor(code=0)
    assert found["outcome"] == "ok"
    assert "knows this peer's name and password, and delivers" in found["found"]


def test_a_wrong_password(behind: Behind) -> None:
    behind.password("not it")
    with behind.broker:
        found = behind.doctor(code=2)
    assert "does not know this name with this password" in found["found"] or (
        "does not authorize" in found["found"]
    )
    assert "check username" in found["fix"]


def test_a_certificate_of_another_authority(behind: Behind, tmp_path: Path) -> None:
    other = Mosquitto(tmp_path / "other", members=[behind.identity])
    ca_file = other.settings(behind.identity).ca_file
    edit(behind.peer, str(behind.broker.settings(behind.identity).ca_file), str(ca_file))
    with behind.broker:
        found = behind.doctor(code=2)
    assert "its certificate is not trusted" in found["found"]
    assert "set ca_file to the ca.pem" in found["fix"]


@pytest.mark.parametrize(
    ("rule", "topic"),
    [
        ("pattern write tidings/{}/to/+/%u", "to"),
        ("pattern read tidings/{}/to/%u/+", "to"),
        ("pattern write tidings/{}/feed/%u", "feed"),
        ("pattern read tidings/{}/feed/+", "feed"),
    ],
)
def test_an_acl_that_denies_what_a_peer_needs(behind: Behind, rule: str, topic: str) -> None:
    with behind.broker:
        behind.deny(rule.format(behind.broker.network.hex()))
        found = behind.doctor(code=2)
    assert "its ACL denies this peer 'write' or 'read' of tidings/" in found["found"]
    assert f"/{topic}/{behind.identity.verify_key.hex()}" in found["found"]
    assert "network broker-config" in found["fix"]
