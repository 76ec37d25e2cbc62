"""`tidings peer move`: all of a peer in another folder, and the old one out of work for good."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.peer.move_killed import EVENT, RELEASES, make
from tests.peer.owner import Owner
from tidings.crypto.ledger import Ledger
from tidings.peer.folder import PeerFolder


@pytest.fixture
def owner(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Owner:
    return Owner(tmp_path, capfd)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return make(tmp_path)


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Name -> bytes and mode of all that is copied as it stands."""
    apart = ("tidings.db", "lock")
    files = [file for file in folder.rglob("*") if file.is_file() and file.name not in apart]
    return {
        str(file.relative_to(folder)): (file.read_bytes(), file.stat().st_mode) for file in files
    }


def test_all_of_a_peer_is_there_and_carries_on(owner: Owner, old: Path) -> None:
    new = owner.folder / "disk" / "ada"
    before = owner.run("peer", "status", old, "--json").told
    done = owner.run("peer", "move", old, new)
    assert done.code == 0, done.err
    assert f"with its {RELEASES} releases" in done.out
    assert f"tidings peer doctor {new}" in done.out
    assert content(new) == content(old)
    assert (new / "identity.key").stat().st_mode & 0o777 == 0o600
    assert (new / "tidings.db").stat().st_mode & 0o077 == 0
    assert owner.run("peer", "status", new, "--json").told == before
    with closing(Ledger(new / "tidings.db")) as ledger:
        assert not ledger.is_copy()
        assert ledger.append(EVENT, 9, unit="record", delta=1e-5).number == RELEASES + 1


def test_the_old_folder_says_where_its_peer_is(owner: Owner, old: Path) -> None:
    new = owner.folder / "new"
    owner.run("peer", "move", old, new)
    third = owner.folder / "third"
    for command in (["run", old], ["status", old], ["move", old, third]):
        done = owner.run("peer", *command, "--json")
        assert (done.code, done.told["error"]) == (2, "MovedAway"), command
        assert done.told["what"] == f"this peer was moved to {new}"
        assert f"tidings peer run {new}" in done.told["fix"]
    doctor = owner.run("peer", "doctor", old, "--json")
    assert doctor.code == 2
    assert f"this peer was moved to {new}" in doctor.out
    assert not third.exists()
    service = owner.run("peer", "service", old)
    assert (service.code, "was moved to" in service.err) == (2, True)


def test_a_member_moves_and_its_old_folder_neither_runs_nor_joins(owner: Owner) -> None:
    (peer,) = owner.join(owner.create(), "ada")
    new = owner.folder / "new"
    assert owner.run("peer", "move", peer, new).code == 0
    assert owner.run("peer", "run", peer, "--json").told["error"] == "MovedAway"
    again = owner.run("peer", "join", peer, peer / "ada.admission")
    assert again.code == 2
    assert "was moved to" in again.err
    assert owner.run("peer", "join", new, new / "ada.admission").code == 0


def test_moved_once_more_and_back(owner: Owner, old: Path) -> None:
    second, third = owner.folder / "second", owner.folder / "third"
    assert owner.run("peer", "move", old, second).code == 0
    assert owner.run("peer", "move", second, third).code == 0
    shutil.rmtree(old)
    assert owner.run("peer", "move", third, old).code == 0
    for left in (second, third):
        assert f"was moved to {old if left == third else third}" in owner.run(
            "peer", "status", left
        ).err.replace("\n", "")
    assert owner.run("peer", "status", old, "--json").told["privacy"]["releases"] == RELEASES


def test_the_same_move_again_does_nothing_more(owner: Owner, old: Path) -> None:
    new = owner.folder / "new"
    first = owner.run("peer", "move", old, new, "--json").told
    assert first == {
        "name": "ada",
        "old": str(old),
        "new": str(new),
        "releases": RELEASES,
        "carried_on": False,
    }
    (new / "peer.toml").write_text((new / "peer.toml").read_text() + "\n# mine\n")
    kept = content(new)
    assert owner.run("peer", "move", old, new, "--json").told == {**first, "carried_on": True}
    assert content(new) == kept


def test_links_go_on_leading_where_they_led(owner: Owner, old: Path) -> None:
    data = owner.folder / "shared"
    data.mkdir()
    (data / "x.npz").write_bytes(b"data")
    (old / "one").symlink_to(Path("..", "shared", "x.npz"))
    (old / "all").symlink_to(data)
    new = owner.folder / "far" / "away" / "new"
    assert owner.run("peer", "move", old, new).code == 0
    assert (new / "one").read_bytes() == (new / "all" / "x.npz").read_bytes() == b"data"
    assert (new / "one").is_symlink()


def test_a_copy_is_not_moved(owner: Owner, old: Path) -> None:
    copy = owner.folder / "copy"
    shutil.copytree(old, copy)
    done = owner.run("peer", "move", copy, owner.folder / "new")
    assert done.code == 2
    assert "a copy of another" in done.err
    assert not (owner.folder / "new").exists()


def test_a_running_peer_is_not_moved(owner: Owner, old: Path) -> None:
    with PeerFolder.open(old).running():
        done = owner.run("peer", "move", old, owner.folder / "new")
    assert done.code == 4
    assert f"process {os.getpid()} is running this peer" in done.err
    assert owner.run("peer", "move", old, owner.folder / "new").code == 0


@pytest.mark.parametrize(
    ("place", "what"),
    [
        ("old", "own folder"),
        ("old/inside", "own folder"),
        ("full", "it is in use"),
        ("begun", "a move of /elsewhere to this folder was not finished"),
        ("file", "it is a file"),
    ],
)
def test_places_that_cannot_be_moved_to(owner: Owner, old: Path, place: str, what: str) -> None:
    for name, file in (("full", "precious"), ("begun", "moving")):
        (owner.folder / name).mkdir()
        (owner.folder / name / file).write_text("/elsewhere\n")
    (owner.folder / "file").write_text("precious")
    done = owner.run("peer", "move", old, owner.folder / place)
    assert done.code in (2, 4)
    assert what in done.err
    assert (owner.folder / "full" / "precious").read_text() == "/elsewhere\n"
    assert owner.run("peer", "status", old).code == 0


def test_a_disk_without_lasting_inodes_is_refused(
    owner: Owner, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", link)
    done = owner.run("peer", "move", old, owner.folder / "stick")
    assert done.code == 2
    assert "such as FAT" in done.err
    assert "ext4" in done.err


def test_a_full_disk_is_said_and_the_move_carries_on_afterwards(
    owner: Owner, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = owner.folder / "new"

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("tidings.crypto.files.shutil.copyfileobj", full)
        done = owner.run("peer", "move", old, new)
    assert (done.code, "the disk is full" in done.err) == (4, True)
    unfinished = owner.run("peer", "status", new)  # it is no peer's folder yet
    assert unfinished.code == 2
    assert f"let it carry on: tidings peer move {old} {new}" in unfinished.err
    assert owner.run("peer", "status", old).code == 0
    assert owner.run("peer", "move", old, new).code == 0
    assert content(new) == content(old)


def test_a_new_folder_that_was_lost_half_way_gives_nothing_back(owner: Owner, old: Path) -> None:
    """Nobody can tell that it never trained, so the budget stays given up."""
    new = owner.folder / "new"
    owner.run("peer", "move", old, new)
    shutil.rmtree(new)
    done = owner.run("peer", "move", old, new, "--json")
    assert (done.code, done.told["error"]) == (2, "MovedAway")
    assert not new.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
@pytest.mark.parametrize(
    "stride", [67, pytest.param(1, marks=[pytest.mark.nightly, pytest.mark.timeout(3600)])]
)
def test_killed_at_any_line_at_most_one_may_train_and_it_carries_on(
    tmp_path: Path, stride: int
) -> None:
    program = Path(__file__).with_name("move_killed.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path), str(stride)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    kills = [json.loads(line) for line in done.stdout.splitlines()]
    print(f"{len(kills) - 1} kills, each carried on")
    # the kills reached all three stages: before, between and after the right changed hands
    assert [*{tuple(kill["may_train"]): None for kill in kills}] == [("old",), (), ("new",)]
    assert len(kills) > 700 / stride
