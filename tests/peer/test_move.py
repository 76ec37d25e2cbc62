"""`tidings peer move`: at most one folder may train, at every instant, and nothing is forgotten."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.peer.owner import Owner
from tidings.crypto.accounting import PrivacyEvent
from tidings.crypto.errors import ConfigError, StorageError
from tidings.crypto.ledger import Ledger
from tidings.peer.folder import PeerFolder
from tidings.peer.launch import opened
from tidings.peer.move import UNFINISHED, check_not_moved, move_peer

EVENT = PrivacyEvent(mechanism="poisson-gaussian", noise_multiplier=1.5, sampling_rate=0.1, steps=3)
RELEASES = 5

KILLED_AFTER = """
import os, sys
from pathlib import Path
from tidings.peer.folder import PeerFolder
from tidings.peer.move import move_peer

left = int(sys.argv[3])

def count(event, arguments):
    # whatever is done to a disk comes by here: the power fails before the n-th such act
    global left
    if event in {"open", "os.rename", "os.remove", "os.mkdir", "os.link", "os.chmod", "os.chown",
                 "sqlite3.connect", "sqlite3.connect/handle", "shutil.copyfile"}:
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)

sys.addaudithook(count)
move_peer(PeerFolder.open(Path(sys.argv[1])), Path(sys.argv[2]))
"""


@pytest.fixture
def peer(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Path:
    """A peer that has released something, and keeps a folder of its own among its files."""
    owner = Owner(tmp_path, capfd)
    (ada, _) = owner.join(owner.create(), "ada", "bob")
    (ada / "models").mkdir()
    (ada / "models" / "notes").write_text("mine")
    spend(ada)
    return ada


def spend(folder: Path) -> None:
    with closing(Ledger(PeerFolder(folder).database_file)) as ledger:
        for number in range(RELEASES):
            ledger.append(EVENT, number + 1, unit="record", delta=1e-5)


def may_train(folder: Path) -> bool:
    """Whether `tidings peer run` would get as far as to release something."""
    try:
        check_not_moved(PeerFolder.open(folder))
        with closing(Ledger(PeerFolder(folder).database_file)) as ledger:
            return not ledger.is_copy()
    except ConfigError:  # not a peer's folder yet, or no more
        return False


def spent(folder: Path) -> int:
    with closing(Ledger(PeerFolder(folder).database_file)) as ledger:
        return len(ledger.entries())


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Name -> mode and content of all but the database and the lock."""
    return {
        str(each.relative_to(folder)): (each.stat().st_mode, each.read_bytes())
        for each in folder.rglob("*")
        if each.is_file() and not each.name.startswith(("tidings.db", "lock"))
    }


def test_the_new_folder_trains_and_the_old_one_never_again(peer: Path, tmp_path: Path) -> None:
    new = tmp_path / "disk" / "ada"
    before = files(peer)
    moved = move_peer(PeerFolder.open(peer), new)
    assert files(new) == before
    assert (moved.database_file.stat().st_mode & 0o777) == 0o600
    assert (may_train(peer), may_train(new)) == (False, True)
    assert spent(new) == RELEASES
    spend(new)
    assert spent(new) == 2 * RELEASES
    with opened(moved) as node:
        assert node.state.me.key == PeerFolder.open(peer).identity().verify_key
    with pytest.raises(ConfigError, match=f"was moved to {new}"), opened(PeerFolder.open(peer)):
        pass
    copy = tmp_path / "copy"
    shutil.copytree(new, copy)
    assert not may_train(copy)
    with pytest.raises(ConfigError, match=f"was moved to {new}"):
        move_peer(PeerFolder.open(peer), tmp_path / "elsewhere")
    assert not may_train(peer)
    again = tmp_path / "again"  # on it goes, from where it is
    move_peer(moved, again)
    assert [may_train(each) for each in (peer, new, again)] == [False, False, True]
    assert spent(again) == 2 * RELEASES


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.nightly)])
def test_a_power_cut_at_any_instant_leaves_one_that_may_train_at_most(
    peer: Path, tmp_path: Path, every: bool
) -> None:
    seen = set()
    instants = range(0, 10_000, 1 if every else 9)
    for instant in instants:
        old, new = tmp_path / f"old-{instant}", tmp_path / f"new-{instant}"
        move_peer(PeerFolder.open(peer), old)
        peer = old
        command = [sys.executable, "-c", KILLED_AFTER, str(old), str(new), str(instant)]
        code = subprocess.run(command, env={**os.environ}, check=False).returncode
        who = (may_train(old), may_train(new))
        seen.add(who)
        assert who != (True, True)
        assert spent(old) == RELEASES
        move_peer(PeerFolder.open(old), new)  # the same command ends what was begun
        assert (may_train(old), may_train(new)) == (False, True)
        assert spent(new) == RELEASES
        assert not (new / UNFINISHED).exists()
        assert (new / "models" / "notes").read_text() == "mine"
        peer = new
        if code == 0:
            break
        assert code == -9
    assert code == 0
    print(f"{instant} acts on a disk; seen: {seen}")
    assert seen >= {(True, False), (False, True)}


def test_between_the_two_notes_none_may_train(
    peer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = tmp_path / "new"

    def power_cut(self: Ledger, left: Ledger) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "arrive_from", power_cut)
        with pytest.raises(KeyboardInterrupt):
            move_peer(PeerFolder.open(peer), new)
    assert (may_train(peer), may_train(new)) == (False, False)
    with pytest.raises(ConfigError, match="was interrupted"), opened(PeerFolder.open(new)):
        pass
    with pytest.raises(ConfigError, match="was moved to"):
        move_peer(PeerFolder.open(peer), tmp_path / "another")
    move_peer(PeerFolder.open(peer), new)
    assert (may_train(peer), may_train(new)) == (False, True)


def test_a_disk_that_goes_into_another_machine_stays_in_the_first_that_trains(
    peer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def boot(name: str) -> None:
        place = tmp_path / f"machine-{name}"
        place.write_text(name)
        monkeypatch.setattr("tidings.crypto.ledger_home._MACHINE_ID_FILES", (place,))

    boot("old")
    bare, loose = tmp_path / "bare", tmp_path / "loose"
    started = tmp_path / "started"
    with pytest.raises(StorageError, match="is a copy"):  # made in this machine's other life
        move_peer(PeerFolder.open(peer), bare)
    monkeypatch.undo()
    move_peer(PeerFolder.open(peer), started, any_machine=True)
    boot("new")
    assert may_train(started)
    spend(started)
    boot("third")
    assert not may_train(started)
    boot("new")
    assert may_train(started)
    move_peer(PeerFolder.open(started), loose)
    boot("third")
    assert not may_train(loose)


def test_what_cannot_be_moved_is_left_alone(peer: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis").write_text("mine")
    folder = PeerFolder.open(peer)
    with pytest.raises(ConfigError, match="something in this folder already"):
        move_peer(folder, full)
    with pytest.raises(ConfigError, match="into itself"):
        move_peer(folder, peer / "deeper")
    with folder.running(), pytest.raises(StorageError, match="is running this peer"):
        move_peer(folder, tmp_path / "new")
    copy = tmp_path / "copy"
    shutil.copytree(peer, copy)
    with pytest.raises(StorageError, match="is a copy"):
        move_peer(PeerFolder.open(copy), tmp_path / "new")
    assert not may_train(tmp_path / "new")
    assert may_train(peer)
    assert list(full.iterdir()) == [full / "thesis"]


def test_the_command(peer: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    owner = Owner(tmp_path, capfd)
    done = owner.run("peer", "move", peer, tmp_path / "new")
    assert done.code == 0
    assert "never runs again" in done.out
    assert owner.run("peer", "move", peer, tmp_path / "new", "--json").told == {
        "from": str(peer),
        "to": str(tmp_path / "new"),
    }
    refused = owner.run("peer", "run", peer)
    assert refused.code == 2
    assert "this peer was moved to" in refused.err
