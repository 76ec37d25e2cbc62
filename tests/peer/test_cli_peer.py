"""`tidings peer`: init, join, run and status, and what is said when they cannot."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from tests.peer.owner import NETWORK, Owner
from tidings.crypto.identity import Identity, libp2p_peer_id, short_id
from tidings.crypto.membership import JoinRequest
from tidings.crypto.privacy_settings import PrivacySettings
from tidings.gossip.events import Event, PeerFinished
from tidings.gossip.state import State
from tidings.peer.config import PeerConfig
from tidings.peer.folder import PeerFolder
from tidings.peer.launch import opened
from tidings.peer.learners.base import TrainingPlan
from tidings.peer.transports.memory import MemoryHub, MemoryTransport

ALONE = NETWORK.replace('{ kind = "ring", nodes = 2 }', '{ kind = "none", nodes = 1 }')


@pytest.fixture
def owner(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Owner:
    return Owner(tmp_path, capfd)


def edit(peer: Path, old: str, new: str) -> None:
    """Change a peer's settings as its owner would."""
    file = peer / "peer.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


# --- init --------------------------------------------------------------------------------------


def test_init_makes_a_key_settings_and_a_request(owner: Owner) -> None:
    peer = owner.folder / "peers" / "ada"
    done = owner.run("peer", "init", peer, "--name", "ada")
    assert done.code == 0
    assert sorted(os.listdir(peer)) == ["ada.request", "identity.key", "peer.toml"]
    request = JoinRequest.from_bytes((peer / "ada.request").read_bytes())
    request.verify()
    identity = Identity.load(peer / "identity.key")
    assert (request.name, request.verify_key) == ("ada", identity.verify_key)
    assert f"tidings peer join {peer} ada.admission" in done.out


def test_the_settings_that_init_writes_are_the_defaults_with_comments(owner: Owner) -> None:
    owner.run("peer", "init", owner.folder / "ada", "--name", "ada")
    folder = PeerFolder.open(owner.folder / "ada")
    config = folder.config()
    assert config == PeerConfig(name="ada", learner=config.learner)
    assert (config.privacy, config.training) == (PrivacySettings(), TrainingPlan())
    text = folder.config_file.read_text()
    assert text.count("\n#") >= 5
    for key in ("listen", "peers", "local_steps", "epsilon", "clip_norm"):
        assert f"\n{key} = " in text  # what is there to be changed can be seen


def test_init_starts_from_a_file_and_overrides(owner: Owner) -> None:
    owner.run("peer", "init", owner.folder / "ada", "--name", "ada")
    edit(owner.folder / "ada", "epsilon = 8.0", "epsilon = 2.0")
    done = owner.run(
        "peer", "init", owner.folder / "bob", "--name", "bob",
        "--config", owner.folder / "ada" / "peer.toml", "--set", "privacy.mode=peer",
    )  # fmt: skip
    assert done.code == 0
    config = PeerFolder.open(owner.folder / "bob").config()
    assert (config.name, config.privacy.epsilon, config.privacy.mode) == ("bob", 2.0, "peer")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--name", "a/b"], "name: 'a/b' is no name"),
        (["--name", "ada", "--set", "privacy.epsilom=1"], "did you mean 'epsilon'?"),
        (["--name", "ada", "--set", "privacy"], "is not of the form key=value"),
        (["--name", "ada", "--config", "none.toml"], "there is no such file"),
    ],
)
def test_what_init_cannot_use_ends_with_2_and_makes_nothing(
    owner: Owner, arguments: list[str], words: str
) -> None:
    done = owner.run("peer", "init", owner.folder / "ada", *arguments)
    assert done.code == 2
    assert words in done.err
    assert os.listdir(owner.folder) == []


def test_init_never_touches_a_peer_that_is_there(owner: Owner) -> None:
    peer = owner.init("ada")
    key = (peer / "identity.key").read_bytes()
    done = owner.run("peer", "init", peer, "--name", "ada")
    assert done.code == 2
    assert "there is a peer in this folder already" in done.err
    assert (peer / "identity.key").read_bytes() == key


def test_an_unwritable_folder_ends_with_4(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    (owner.folder / "file").write_text("")
    done = owner.run("peer", "init", owner.folder / "file" / "ada", "--name", "ada")
    assert done.code == 4

    def refuse(*arguments: object, **more: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patched:
        patched.setattr(os, "makedirs", refuse)
        done = owner.run("peer", "init", owner.folder / "ada", "--name", "ada")
    assert done.code == 4
    assert "no permission" in done.err
    assert f"where: {owner.folder / 'ada'}" in done.err


def test_a_full_disk_ends_with_4(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        done = owner.run("peer", "init", owner.folder / "ada", "--name", "ada")
    assert done.code == 4
    assert "the disk is full" in done.err
    assert os.listdir(owner.folder) == []


# --- join --------------------------------------------------------------------------------------


def test_join_says_which_member_of_which_network(owner: Owner) -> None:
    network, peer = owner.create(), owner.init("ada")
    owner.run("network", "admit", network, peer / "ada.request")
    done = owner.run("peer", "join", peer, peer / "ada.admission")
    assert done.code == 0
    assert "'ada' is member 0 of the network 'tiny'" in done.out


def test_anothers_admission_ends_with_3(owner: Owner) -> None:
    ada, bob = owner.join(owner.create(), "ada", "bob")
    done = owner.run("peer", "join", ada, bob / "bob.admission")
    assert done.code == 3
    assert "made out to 'bob'" in done.err


@pytest.mark.parametrize("content", [b"", b"\x93\x01\x02\x03", b"x" * 1000])
def test_a_file_that_is_no_admission_ends_with_2(owner: Owner, content: bytes) -> None:
    peer = owner.init("ada")
    (owner.folder / "file").write_bytes(content)
    done = owner.run("peer", "join", peer, owner.folder / "file")
    assert done.code == 2
    assert "not an admission" in done.err


# --- run ---------------------------------------------------------------------------------------


def test_a_folder_that_is_no_peer_ends_with_2(owner: Owner) -> None:
    done = owner.run("peer", "run", owner.folder)
    assert (done.code, "no peer in this folder" in done.err) == (2, True)


def test_running_before_the_admission_ends_with_2_and_says_the_next_step(owner: Owner) -> None:
    done = owner.run("peer", "run", owner.init("ada"))
    assert done.code == 2
    assert "not admitted to a network yet" in done.err
    assert "tidings network admit" in done.err


def test_a_mistyped_setting_ends_with_2(owner: Owner) -> None:
    (peer,) = owner.join(owner.create(), "ada")
    edit(peer, "local_steps = 5", 'local_stps = "5"')
    done = owner.run("peer", "run", peer)
    assert done.code == 2
    assert "training.local_stps: unknown key; did you mean 'local_steps'?" in done.err
    assert f"where: {peer / 'peer.toml'}" in done.err


def test_another_model_than_the_networks_ends_with_2(owner: Owner) -> None:
    (peer,) = owner.join(owner.create(), "ada")
    edit(peer, "features = 4", "features = 5")
    assert owner.run("peer", "run", peer).code == 2


def test_missing_data_ends_with_2(owner: Owner) -> None:
    (peer,) = owner.join(owner.create(), "ada")
    (peer / "data.npz").unlink()
    done = owner.run("peer", "run", peer)
    assert (done.code, "data.npz" in done.err) == (2, True)


@pytest.mark.parametrize("command", ["run", "status"])
def test_a_key_that_others_can_read_ends_with_3(owner: Owner, command: str) -> None:
    (peer,) = owner.join(owner.create(), "ada")
    (peer / "identity.key").chmod(0o640)
    done = owner.run("peer", command, peer)
    assert done.code == 3
    assert f"chmod 600 {peer / 'identity.key'}" in done.err


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (None, "there is no secret key here"),
        (b"short", "a secret key has 32 bytes, this file has 5"),
        (bytes(32), "this admission is made out to 'ada'"),
    ],
)
def test_a_missing_or_wrong_key_ends_with_3(owner: Owner, key: bytes | None, words: str) -> None:
    (peer,) = owner.join(owner.create(), "ada")
    file = peer / "identity.key"
    file.unlink()
    if key is not None:
        file.touch(0o600)
        file.write_bytes(key)
    done = owner.run("peer", "run", peer)
    assert done.code == 3
    assert words in done.err


def test_a_peer_that_runs_elsewhere_ends_with_4(owner: Owner) -> None:
    (peer,) = owner.join(owner.create(), "ada")
    with PeerFolder.open(peer).running():
        done = owner.run("peer", "run", peer)
    assert done.code == 4
    assert f"process {os.getpid()} is running this peer" in done.err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_disk_that_fills_while_running_ends_with_4(owner: Owner) -> None:
    (peer,) = owner.join(owner.create(config=ALONE), "ada")
    (peer / "events.jsonl").symlink_to("/dev/full")
    done = owner.run("peer", "run", peer)
    assert done.code == 4
    assert "the disk is full" in done.err


def test_a_port_in_use_ends_with_5(owner: Owner) -> None:
    (peer,) = owner.join(owner.create(), "ada")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        edit(peer, "/tcp/0", f"/tcp/{port}")
        done = owner.run("peer", "run", peer)
    assert done.code == 5
    assert str(port) in done.err


def test_a_running_peer_ends_cleanly_when_it_is_told_to(owner: Owner) -> None:
    (peer,) = owner.join(owner.create(config=ALONE), "ada")
    with subprocess.Popen(
        [sys.executable, "-m", "tidings", "peer", "run", str(peer)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        with anyio.from_thread.start_blocking_portal() as portal:
            portal.call(_wait_for, peer / "events.jsonl", "peer-finished")
        process.terminate()
        out, _ = process.communicate(timeout=30)
    assert (process.returncode, b"Traceback" in out) == (0, False)


async def _wait_for(file: Path, event: str) -> None:
    with anyio.fail_after(60):
        while not file.exists() or f'"{event}"' not in file.read_text():
            await anyio.sleep(0.05)


# --- status ------------------------------------------------------------------------------------


def test_status_of_a_peer_that_was_only_made(owner: Owner) -> None:
    peer = owner.init("ada")
    key = Identity.load(peer / "identity.key").verify_key
    told = owner.run("peer", "status", peer, "--json").told
    assert (told["name"], told["id"], told["peer_id"]) == (
        "ada",
        short_id(key),
        libp2p_peer_id(key),
    )
    assert (told["membership"], told["progress"]) == (None, None)
    assert "not admitted yet" in owner.run("peer", "status", peer).out
    assert sorted(os.listdir(peer)) == ["ada.request", "data.npz", "identity.key", "peer.toml"]


def run_to_the_end(peer: Path) -> None:
    """Run a peer that needs no neighbours until it has finished its rounds."""

    def alone(state: State) -> MemoryTransport:
        return MemoryTransport(MemoryHub(), state.me.key, state.may_link)

    async def work() -> None:
        done = anyio.Event()

        def look(event: Event) -> None:
            if isinstance(event, PeerFinished):
                done.set()

        with opened(PeerFolder.open(peer), transport=alone, watch=look) as node:
            async with anyio.create_task_group() as tasks:
                await tasks.start(node.run)
                with anyio.fail_after(60):
                    await done.wait()
                tasks.cancel_scope.cancel()

    anyio.run(work)


def test_status_after_a_run_tells_round_feed_and_what_was_spent(owner: Owner) -> None:
    (peer,) = owner.join(owner.create(config=ALONE), "ada")
    edit(peer, 'mode = "none"', 'mode = "record"')
    run_to_the_end(peer)
    told = owner.run("peer", "status", peer, "--json").told
    assert told["membership"] | {"id": ""} == {
        "name": "tiny",
        "id": "",
        "index": 0,
        "nodes": 1,
        "rounds": 2,
    }
    assert (told["progress"]["phase"], told["progress"]["sequence"]) == ("finished", 2)
    privacy = told["privacy"]
    assert 7.5 < privacy["spent"] <= 8.0  # two planned rounds spend the whole budget
    assert privacy["left"] == pytest.approx(8.0 - privacy["spent"])
    assert (privacy["unit"], privacy["delta"], privacy["releases"]) == ("record", 1e-5, 2)
    assert privacy["relation"] == "add-or-remove-one record"
    assert privacy["trust_model"].startswith("local")

    people = owner.run("peer", "status", peer)
    assert people.code == 0
    for words in ("tiny", "entry 2, state ", "left of 8 at delta 1e-05", "one record", "local: "):
        assert words in people.out


def test_status_says_when_nothing_is_protected(owner: Owner) -> None:
    (peer,) = owner.join(owner.create(config=ALONE), "ada")
    run_to_the_end(peer)
    privacy = owner.run("peer", "status", peer, "--json").told["privacy"]
    assert (privacy["unit"], privacy["spent"], privacy["releases"]) == ("none", None, 2)
    assert "none in 2 releases" in owner.run("peer", "status", peer).out


def test_status_warns_of_a_copy(owner: Owner) -> None:
    (peer,) = owner.join(owner.create(config=ALONE), "ada")
    run_to_the_end(peer)
    copy = owner.folder / "copy"
    copy.mkdir()
    for file in peer.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    (copy / "identity.key").chmod(0o600)
    assert owner.run("peer", "status", copy, "--json").told["privacy"]["is_copy"] is True
    assert "never trains" in owner.run("peer", "status", copy).out
