"""`tidings peer doctor`: each thing that can be wrong is found, named, and has a remedy."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.peer.owner import Owner
from tidings.crypto.accounting import PrivacyEvent
from tidings.crypto.files import exclusive
from tidings.crypto.identity import libp2p_peer_id
from tidings.crypto.ledger import Ledger
from tidings.peer import doctor_machine as machine
from tidings.peer.admission import Admission
from tidings.peer.doctor_check import Check
from tidings.peer.folder import PeerFolder


@pytest.fixture
def owner(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Owner:
    return Owner(tmp_path, capfd)


@pytest.fixture
def peer(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A peer that is fit to run, on a machine whose clock is right."""
    monkeypatch.setattr(machine, "is_synchronised", lambda: True)
    (ada, _) = owner.join(owner.create(), "ada", "bob")
    return ada


def edit(peer: Path, old: str, new: str) -> None:
    file = peer / "peer.toml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def told(owner: Owner, peer: Path, *, code: int) -> dict[str, dict[str, Any]]:
    """Name -> check; every remedy is there when, and only when, something is wrong."""
    done = owner.run("peer", "doctor", peer, "--json")
    assert done.code == code, done.out
    checks = json.loads(done.out)["checks"]
    for each in checks:
        assert bool(each["fix"]) == (each["outcome"] != "ok"), each
    return {each["name"]: each for each in checks}


def problems(checks: dict[str, dict[str, Any]]) -> list[str]:
    return [name for name, each in checks.items() if each["outcome"] == "problem"]


def test_a_peer_that_is_fit_has_no_problem_and_nothing_is_left_behind(
    owner: Owner, peer: Path
) -> None:
    before = sorted(os.listdir(peer))
    checks = told(owner, peer, code=0)
    assert problems(checks) == []
    assert {"clock", "disk", "writing", "memory", "key", "ledger", "packages"} <= set(checks)
    assert sorted(os.listdir(peer)) == before


def test_the_table_for_people_says_what_to_do(owner: Owner, peer: Path) -> None:
    (peer / "admission").unlink()
    done = owner.run("peer", "doctor", peer)
    assert done.code == 2
    assert "PROBLEM" in done.out
    assert "tidings network" in done.out


def test_no_peer_at_all_is_the_user_s_mistake(owner: Owner) -> None:
    done = owner.run("peer", "doctor", owner.folder / "none")
    assert (done.code, done.out) == (2, "")
    assert "there is no peer in this folder" in done.err


def test_settings_that_cannot_be_read_leave_the_other_checks_standing(
    owner: Owner, peer: Path
) -> None:
    edit(peer, "epsilon", "epsilom")
    checks = told(owner, peer, code=2)
    assert problems(checks) == ["settings"]
    assert "epsilom" in checks["settings"]["found"]
    assert checks["disk"]["outcome"] == "ok"


def test_a_key_that_others_can_read(owner: Owner, peer: Path) -> None:
    (peer / "identity.key").chmod(0o644)
    checks = told(owner, peer, code=2)
    assert "key" in problems(checks)
    assert "chmod" in checks["key"]["fix"]


def test_a_private_model_that_others_can_read(owner: Owner, peer: Path) -> None:
    Ledger(peer / "tidings.db").close()
    assert problems(told(owner, peer, code=0)) == []
    (peer / "tidings.db").chmod(0o640)
    assert "key" in problems(told(owner, peer, code=2))


def test_a_revoked_peer(owner: Owner, peer: Path) -> None:
    network = owner.folder / "net"
    assert owner.run("network", "revoke", network, "ada").code == 0
    # the bulletin that the others hold, beside this peer's own certificate
    folder = PeerFolder.open(peer)
    present = folder.admission()
    bulletin = type(present.bulletin).from_bytes((network / "bulletin.bin").read_bytes())
    revoked = Admission(network=present.network, certificate=present.certificate, bulletin=bulletin)
    folder.admission_file.write_bytes(revoked.to_bytes())
    checks = told(owner, peer, code=2)
    assert "revoked this peer" in checks["admission"]["found"]


def test_a_copy_of_a_peer(owner: Owner, peer: Path) -> None:
    Ledger(peer / "tidings.db").close()
    shutil.copytree(peer, owner.folder / "copy")
    checks = told(owner, owner.folder / "copy", code=2)
    assert "is a copy" in checks["ledger"]["found"]


def test_a_ledger_that_was_tampered_with(owner: Owner, peer: Path) -> None:
    ledger = Ledger(peer / "tidings.db")
    event = PrivacyEvent(mechanism="gaussian", noise_multiplier=4.0, sampling_rate=1.0, steps=1)
    ledger.append(event, 1, unit="peer", delta=1e-5)
    ledger._connection.execute("DROP TRIGGER ledger_never_changes")
    ledger._connection.execute("UPDATE ledger SET noise_multiplier = 9.0")
    ledger.close()
    checks = told(owner, peer, code=2)
    assert "row 1 of the privacy ledger was changed" in checks["ledger"]["found"]


def test_data_that_is_not_there(owner: Owner, peer: Path) -> None:
    (peer / "data.npz").unlink()
    assert problems(told(owner, peer, code=2)) == ["learner"]


def test_the_port_of_another_program_and_of_this_peer_itself(owner: Owner, peer: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        edit(peer, "/tcp/0", f"/tcp/{other.getsockname()[1]}")
        assert problems(told(owner, peer, code=2)) == ["listen"]
        with exclusive(peer / "lock", "running this peer"):
            assert "by this peer" in told(owner, peer, code=0)["listen"]["found"]


def test_an_address_of_another_machine() -> None:
    check = machine.listen("/ip4/192.0.2.1/tcp/4001", runs=False)
    assert check.outcome == "problem"
    assert "no address of this machine" in check.found


def test_neighbours_that_answer_and_that_do_not() -> None:
    with socket.socket() as here, socket.socket() as deaf:
        here.bind(("127.0.0.1", 0))
        here.listen()
        deaf.bind(("127.0.0.1", 0))  # bound, but nobody listens
        ports = [each.getsockname()[1] for each in (here, deaf)]
        found = machine.reach([f"/ip4/127.0.0.1/tcp/{port}" for port in ports], wait_s=1.0)
    assert [each.outcome for each in found] == ["ok", "warning"]
    assert "is that peer running" in found[1].fix


def test_a_broker_that_is_none_and_one_that_is_not_there(owner: Owner, peer: Path) -> None:
    with socket.socket() as broker:
        broker.bind(("127.0.0.1", 0))
        broker.listen()
        port = broker.getsockname()[1]
        edit(peer, 'transport = "libp2p"', 'transport = "mqtt"')
        text = (peer / "peer.toml").read_text()
        text += f'\n[broker]\nurl = "mqtt://127.0.0.1:{port}"\n'
        (peer / "peer.toml").write_text(text)
        checks = told(owner, peer, code=2)
        assert "it did not answer in time" in checks["broker"]["found"]
        assert "mqtts://" in checks["broker"]["fix"]
        assert "listen" not in checks
    checks = told(owner, peer, code=0)
    assert checks["broker"]["outcome"] == "warning"
    assert "is the broker running" in checks["broker"]["fix"]
    edit(peer, 'url = "', 'password_file = "none"\nurl = "')
    assert problems(told(owner, peer, code=2)) == ["broker"]


def test_a_neighbour_without_an_address_is_not_called(owner: Owner, peer: Path) -> None:
    from_bob = PeerFolder.open(owner.folder / "bob").identity()
    known = f'"/p2p/{libp2p_peer_id(from_bob.verify_key)}"'
    edit(peer, "peers = []", f"peers = [{known}]")
    assert told(owner, peer, code=0)["neighbours"]["outcome"] == "warning"


def test_no_addresses_is_a_warning(owner: Owner, peer: Path) -> None:
    assert told(owner, peer, code=0)["neighbours"]["outcome"] == "warning"


@pytest.mark.parametrize(
    ("now", "synchronised", "outcome", "words"),
    [
        (0.0, True, "problem", "never set"),
        (1_767_300_000.0, True, "problem", "files are from"),
        (None, False, "warning", "not synchronised"),
        (None, None, "ok", "does not show"),
        (None, True, "ok", "synchronised"),
    ],
)
def test_the_clock(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    now: float | None,
    synchronised: bool | None,
    outcome: str,
    words: str,
) -> None:
    (tmp_path / "peer.toml").write_text("")
    os.utime(tmp_path / "peer.toml", (1_780_000_000.0,) * 2)
    monkeypatch.setattr(machine, "is_synchronised", lambda: synchronised)
    monkeypatch.setattr(machine, "wall_time", lambda: now if now is not None else 1_790_000_000.0)
    check = machine.clock(tmp_path)
    assert check.outcome == outcome
    assert words in check.found


def test_the_kernel_is_asked_whether_its_clock_is_right() -> None:
    assert machine.is_synchronised() in (True, False, None)


def test_too_little_space_and_a_slow_or_read_only_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path).free
    outcomes = [
        machine.disk(tmp_path, need_bytes=need)[0].outcome for need in (1, 2 * free, 8 * free)
    ]
    assert outcomes == ["ok", "warning", "problem"]

    monkeypatch.setattr(machine, "_synced_write", lambda folder: 1.0)
    assert machine.disk(tmp_path, need_bytes=1)[1].outcome == "warning"
    monkeypatch.setattr(machine, "_synced_write", lambda folder: 6.0)
    assert machine.disk(tmp_path, need_bytes=1)[1].outcome == "problem"

    def refuse(folder: Path) -> float:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(machine, "_synced_write", refuse)
    check = machine.disk(tmp_path, need_bytes=1)[1]
    assert (check.outcome, "read-only" in check.found) == ("problem", True)


def machine_root(tmp_path: Path, *, available_kb: int, limit: str, used: int) -> Path:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable: {available_kb} kB\n")
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text(f"{limit}\n")
    (group / "memory.current").write_text(f"{used}\n")
    return tmp_path


def test_memory_is_what_the_machine_has_and_its_control_group_allows(tmp_path: Path) -> None:
    for name, limit, expected in (("free", "max", 1_024_000), ("bound", "500", 400)):
        (tmp_path / name).mkdir()
        root = machine_root(tmp_path / name, available_kb=1000, limit=limit, used=100)
        assert machine.available_memory(root) == expected
    assert machine.available_memory(tmp_path / "none") is None


def test_memory_grows_with_the_model_and_with_the_libraries(
    owner: Owner, peer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PeerFolder.open(peer).config()
    small = machine.memory_need(10, 4, config)
    torch = config.learner.model_copy(update={"kind": "torch"})
    record = config.privacy.model_copy(update={"mode": "record"})
    for change in ({"learner": torch}, {"privacy": record}):
        assert machine.memory_need(10, 4, config.model_copy(update=change)) > small
    assert machine.memory_need(10, 4, config.model_copy(update={"transport": "mqtt"})) < small
    assert machine.memory_need(10**6, 4, config) > small + 4 * 10**6 * 5
    monkeypatch.setattr(machine, "available_memory", lambda: small - 1)
    assert machine.memory(small).outcome == "warning"
    monkeypatch.setattr(machine, "available_memory", lambda: None)
    assert machine.memory(small).outcome == "ok"


def test_a_package_that_is_missing_is_named_with_its_extra(
    owner: Owner, peer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if name == "libp2p":
            raise machine.metadata.PackageNotFoundError
        return "1"

    monkeypatch.setattr(machine.metadata, "version", version)
    found: Check = machine.software(PeerFolder.open(peer).config())[1]
    assert (found.outcome, found.fix) == ("problem", "pip install 'tidings[libp2p]'")
