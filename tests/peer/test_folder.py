"""A peer's folder: made whole or not at all, opened with clear words, run by one process."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.crypto.errors import ConfigError, IdentityError, StorageError
from tidings.crypto.identity import Identity
from tidings.crypto.membership import JoinRequest
from tidings.crypto.network import NetworkAdmin
from tidings.peer.admission import Admission, write_admission
from tidings.peer.config import PeerConfig
from tidings.peer.folder import PeerFolder
from tidings.peer.learners.spec import LearnerConfig

CONFIG = PeerConfig(name="ada", learner=LearnerConfig(kind="softmax", features=4, classes=2))
MODEL: dict[str, int | str] = {"parameters": 10, "fingerprint": "ab", "seed": 0, "genesis": "cd"}
ADA, BOB = (Identity.from_seed(bytes([n]) * 32) for n in (1, 2))


@pytest.fixture
def admin(tmp_path: Path) -> NetworkAdmin:
    return NetworkAdmin.create(tmp_path / "net", "net", {}, MODEL)


def admission_of(admin: NetworkAdmin, identity: Identity, name: str = "ada") -> Admission:
    certificate = admin.admit(JoinRequest.make(name, identity))
    return Admission(network=admin.network, certificate=certificate, bulletin=admin.bulletin)


# --- making and opening ------------------------------------------------------------------------


def test_what_is_made_is_read_back(tmp_path: Path) -> None:
    PeerFolder.create(tmp_path / "a" / "ada", CONFIG, ADA)
    folder = PeerFolder.open(tmp_path / "a" / "ada")
    assert folder.config() == CONFIG
    assert folder.identity().verify_key == ADA.verify_key
    assert folder.identity_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("file", ["peer.toml", "identity.key", "ada.request"])
def test_a_peer_is_never_made_over_another(tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_text("precious")
    with pytest.raises(ConfigError, match="there is a peer in this folder already"):
        PeerFolder.create(tmp_path, CONFIG, ADA)
    assert [path.name for path in tmp_path.iterdir()] == [file]
    assert (tmp_path / file).read_text() == "precious"


def test_a_folder_without_a_peer_says_how_to_make_one(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigError, match="no peer in this folder") as caught:
            PeerFolder.open(path)
        assert f"tidings peer init {path}" in caught.value.fix


def test_a_folder_below_a_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        PeerFolder.create(tmp_path / "file" / "ada", CONFIG, ADA)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
@pytest.mark.parametrize("at", [1, 2, 3, 4, 5, 6])  # each file, and its folder
def test_a_disk_that_fails_at_any_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, at: int
) -> None:
    calls = 0
    real = os.fsync

    def fail(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            raise OSError(number, os.strerror(number))
        real(handle)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError):
        PeerFolder.create(tmp_path / "ada", CONFIG, ADA)
    assert list(tmp_path.iterdir()) == []


# --- admission ---------------------------------------------------------------------------------


def test_an_admission_is_taken_up_and_read_back(tmp_path: Path, admin: NetworkAdmin) -> None:
    folder = PeerFolder.create(tmp_path / "ada", CONFIG, ADA)
    with pytest.raises(ConfigError, match="not admitted to a network yet"):
        folder.admission()
    folder.join(admission_of(admin, ADA))
    assert folder.admission() == admission_of(admin, ADA)


def test_a_newer_admission_replaces_an_older_one_and_never_the_reverse(
    tmp_path: Path, admin: NetworkAdmin
) -> None:
    folder = PeerFolder.create(tmp_path / "ada", CONFIG, ADA)
    old = admission_of(admin, ADA)
    admission_of(admin, BOB, "bob")
    new = admission_of(admin, ADA)
    assert new.bulletin.serial > old.bulletin.serial
    folder.join(new)
    with pytest.raises(ConfigError, match="older than the one"):
        folder.join(old)
    folder.join(new)
    assert folder.admission() == new


def test_a_member_stays_in_its_network(tmp_path: Path, admin: NetworkAdmin) -> None:
    folder = PeerFolder.create(tmp_path / "ada", CONFIG, ADA)
    folder.join(admission_of(admin, ADA))
    other = NetworkAdmin.create(tmp_path / "other", "other", {}, MODEL)
    with pytest.raises(ConfigError, match="a member of the network 'net' already"):
        folder.join(admission_of(other, ADA))


def test_another_peers_admission_is_an_identity_error(tmp_path: Path, admin: NetworkAdmin) -> None:
    file = write_admission(admin, admission_of(admin, BOB, "bob").certificate, tmp_path)
    with pytest.raises(IdentityError, match="made out to 'bob'") as caught:
        Admission.load(file, ADA)
    assert caught.value.where == str(file)


def test_an_admission_for_another_sealing_key_is_refused(
    tmp_path: Path, admin: NetworkAdmin
) -> None:
    # signed by the right key, but the box belongs to somebody else
    request = JoinRequest(
        name="ada", verify_key=ADA.verify_key, box_public=BOB.box_public, signature=bytes(64)
    )
    root = Identity.load(tmp_path / "net" / "root.key")
    good = admission_of(admin, ADA)
    wrong = type(good.certificate).issue(root, request, admin.network.network_id, 0)
    file = write_admission(admin, wrong, tmp_path)
    with pytest.raises(IdentityError, match="another sealing key"):
        Admission.load(file, ADA)


def test_a_certificate_of_another_network_is_refused(tmp_path: Path, admin: NetworkAdmin) -> None:
    other = NetworkAdmin.create(tmp_path / "other", "other", {}, MODEL)
    mixed = Admission(
        network=admin.network,
        certificate=admission_of(other, ADA).certificate,
        bulletin=admin.bulletin,
    )
    with pytest.raises(ConfigError, match="it is for the network"):
        Admission.from_bytes(mixed.to_bytes(), where="file")


@pytest.fixture(scope="module")
def admission_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    admin = NetworkAdmin.create(tmp_path_factory.mktemp("net"), "net", {}, MODEL)
    return admission_of(admin, ADA).to_bytes()


@given(data=st.data())
def test_a_changed_bit_or_a_cut_is_a_config_error(
    admission_bytes: bytes, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, 8 * len(admission_bytes) - 1))
    changed = bytearray(admission_bytes)
    changed[place // 8] ^= 1 << place % 8
    for damaged in (bytes(changed), admission_bytes[: place // 8]):
        with pytest.raises(ConfigError) as caught:
            Admission.from_bytes(damaged, where="file")
        assert caught.value.where == "file"


def test_a_missing_admission_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the admission cannot be read"):
        Admission.load(tmp_path / "none", ADA)


# --- one process at a time ---------------------------------------------------------------------


def test_a_folder_is_run_once(tmp_path: Path) -> None:
    folder = PeerFolder.create(tmp_path / "ada", CONFIG, ADA)
    with (
        folder.running(),
        pytest.raises(StorageError, match=f"process {os.getpid()} is running this peer"),
        folder.running(),
    ):
        pass
    with folder.running():
        pass


def test_a_killed_process_lets_go_of_the_folder(tmp_path: Path) -> None:
    folder = PeerFolder.create(tmp_path / "ada", CONFIG, ADA)
    program = (
        "import sys, time; from pathlib import Path; from tidings.peer.folder import PeerFolder\n"
        "with PeerFolder(Path(sys.argv[1])).running(): print('holds', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder.path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"holds\n"
        with pytest.raises(StorageError, match=f"process {process.pid} is"), folder.running():
            pass
        process.kill()
        process.wait()
        with folder.running():
            pass


def test_an_error_while_running_is_passed_on(tmp_path: Path) -> None:
    folder = PeerFolder.create(tmp_path / "ada", CONFIG, ADA)
    with pytest.raises(StorageError, match=r"^the disk is full$"), folder.running():
        raise StorageError("the disk is full") from BlockingIOError()
