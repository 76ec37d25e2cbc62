"""`tidings network`: create, admit and revoke, and what is said when they cannot."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.peer.owner import NETWORK, Owner
from tidings.crypto.canonical import pack, unpack
from tidings.crypto.identity import Identity, libp2p_peer_id
from tidings.crypto.membership import JoinRequest
from tidings.crypto.network import NetworkAdmin
from tidings.peer.admission import Admission


@pytest.fixture
def owner(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Owner:
    return Owner(tmp_path, capfd)


def test_create_describes_the_network_and_keeps_the_key(owner: Owner) -> None:
    folder = owner.create()
    network = NetworkAdmin.open(folder).network
    assert (network.name, network.rules["rounds"]) == ("tiny", 2)
    assert (network.model["parameters"], network.model["seed"]) == (10, 3)
    assert (folder / "root.key").stat().st_mode & 0o777 == 0o600


def test_the_same_choices_describe_the_same_model(owner: Owner) -> None:
    one, two = (NetworkAdmin.open(owner.create(name)).network for name in ("one", "two"))
    assert one.model == two.model
    assert one.network_id != two.network_id  # another root key


def test_create_takes_overrides(owner: Owner) -> None:
    file = owner.folder / "n.toml"
    file.write_text(NETWORK)
    done = owner.run(
        "network", "create", owner.folder / "n", "--config", file, "--set", "rules.rounds=9"
    )
    assert done.code == 0
    assert NetworkAdmin.open(owner.folder / "n").network.rules["rounds"] == 9


LOW_RANK = NETWORK.replace("[rules]", '[rules]\ncompression = "low-rank"')


def test_create_tells_the_shapes_where_deltas_are_factored(owner: Owner) -> None:
    larger = LOW_RANK.replace("= 4", "= 64").replace("classes = 2", "classes = 10")
    rules = NetworkAdmin.open(owner.create("large", larger)).network.rules
    assert rules["shapes"] == [[10, 64], [10]]
    assert NetworkAdmin.open(owner.create()).network.rules["shapes"] == []


def test_create_refuses_to_factor_what_has_no_matrix(owner: Owner) -> None:
    file = owner.folder / "n.toml"
    file.write_text(LOW_RANK)
    done = owner.run("network", "create", owner.folder / "n", "--config", file)
    assert done.code == 2
    assert "no matrix that factors of rank 4" in done.err
    assert "lower rules.rank" in done.err


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("name = ", "not valid TOML at line 1, column 8"),
        (NETWORK.replace("rounds", "ronds"), "rules.ronds: unknown key; did you mean 'rounds'?"),
        (
            NETWORK.replace("seed = 3", 'seed = "3"'),
            "seed: expected a whole number, found the text",
        ),
        (NETWORK.replace("classes = 2", ""), "needs 'features' and 'classes'"),
    ],
)
def test_a_mistyped_config_ends_with_2_and_makes_nothing(
    owner: Owner, config: str, words: str
) -> None:
    file = owner.folder / "n.toml"
    file.write_text(config)
    done = owner.run("network", "create", owner.folder / "n", "--config", file)
    assert done.code == 2
    assert words in done.err
    assert f"where: {file}" in done.err
    assert os.listdir(owner.folder) == ["n.toml"]


def test_a_missing_config_ends_with_2(owner: Owner) -> None:
    done = owner.run("network", "create", owner.folder / "n", "--config", "none.toml")
    assert done.code == 2
    assert done.err.startswith("Error: there is no such file\n  where: none.toml\n")


def test_a_network_is_never_overwritten(owner: Owner) -> None:
    folder = owner.create()
    before = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    done = owner.run("network", "create", folder, "--config", owner.folder / "net.toml")
    assert done.code == 2
    assert "there is a network here already" in done.err
    assert before == {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def test_admit_gives_everybody_what_they_need(owner: Owner) -> None:
    folder = owner.create()
    peers = owner.join(folder, "ada", "bob")
    for index, peer in enumerate(peers):
        identity = Identity.load(peer / "identity.key")
        admission = Admission.load(peer / "admission", identity)
        assert admission.certificate.index == index
        assert admission.bulletin.group_key(identity) is not None


def test_admissions_go_where_they_are_wanted(owner: Owner) -> None:
    folder, peer = owner.create(), owner.init("ada")
    out = owner.folder / "to" / "send"
    assert owner.run("network", "admit", folder, peer / "ada.request", "--out", out).code == 0
    assert os.listdir(out) == ["ada.admission"]


def test_a_full_network_admits_nobody(owner: Owner) -> None:
    folder = owner.create()
    owner.join(folder, "ada", "bob")
    done = owner.run("network", "admit", folder, owner.init("cyd") / "cyd.request")
    assert done.code == 2
    assert "all 2 places" in done.err


def forged(data: bytes) -> bytes:
    tag, _, key, box, signature = unpack(data, max_bytes=999)  # type: ignore[misc]
    return pack([tag, "eve", key, box, signature])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (forged, "the signature is not that of"),
        (lambda data: data[:-1], "not a join request that can be used"),
        (lambda data: b"name = 1", "not a join request that can be used"),
        (
            lambda data: JoinRequest.make("../eve", Identity.from_seed(bytes(32))).to_bytes(),
            "'../eve' is no name",
        ),
    ],
)
def test_a_request_that_cannot_be_trusted_admits_nobody(
    owner: Owner, damage: Callable[[bytes], bytes], words: str
) -> None:
    folder, good = owner.create(), owner.init("bob") / "bob.request"
    bad = owner.init("ada") / "ada.request"
    bad.write_bytes(damage(bad.read_bytes()))
    done = owner.run("network", "admit", folder, good, bad)
    assert done.code == 2
    assert words in done.err
    assert f"where: {bad}" in done.err
    assert NetworkAdmin.open(folder).members() == []


def test_a_missing_request_ends_with_2(owner: Owner) -> None:
    done = owner.run("network", "admit", owner.create(), "none.request")
    assert (done.code, "where: none.request" in done.err) == (2, True)


def test_a_folder_without_a_network_ends_with_2(owner: Owner) -> None:
    done = owner.run("network", "admit", owner.folder, owner.init("ada") / "ada.request")
    assert done.code == 2
    assert "network.json" in done.err


@pytest.mark.parametrize("by", ["name", "short id", "peer id"])
def test_revoke_shuts_one_out_and_gives_the_others_a_new_key(owner: Owner, by: str) -> None:
    folder = owner.create()
    ada, bob = (Identity.load(peer / "identity.key") for peer in owner.join(folder, "ada", "bob"))
    texts = {"name": "ada", "peer id": libp2p_peer_id(ada.verify_key)}
    status = owner.run("peer", "status", owner.folder / "ada", "--json").told
    done = owner.run("network", "revoke", folder, texts.get(by, status["id"]))
    assert done.code == 0, done.err
    bulletin = NetworkAdmin.open(folder).bulletin
    assert bulletin.revoked == (ada.verify_key,)
    assert bulletin.group_key(ada) is None
    assert os.listdir(folder / "admissions") == ["bob.admission"]
    news = folder / "admissions" / "bob.admission"
    assert owner.run("peer", "join", owner.folder / "bob", news).code == 0
    key = Admission.load(owner.folder / "bob" / "admission", bob).bulletin.group_key(bob)
    assert key is not None
    assert key.epoch == 2


def test_revoking_a_stranger_names_the_nearest_member(owner: Owner) -> None:
    folder = owner.create()
    owner.join(folder, "ada")
    done = owner.run("network", "revoke", folder, "aba")
    assert done.code == 2
    assert "no member 'aba'" in done.err
    assert "did you mean 'ada'?" in done.err


def test_a_root_key_that_others_can_read_ends_with_3(owner: Owner) -> None:
    folder = owner.create()
    (folder / "root.key").chmod(0o644)
    done = owner.run("network", "admit", folder, owner.init("ada") / "ada.request")
    assert done.code == 3
    assert f"chmod 600 {folder / 'root.key'}" in done.err


def test_another_networks_root_key_ends_with_3(owner: Owner) -> None:
    one, two = owner.create("one"), owner.create("two")
    (one / "root.key").write_bytes((two / "root.key").read_bytes())
    done = owner.run("network", "revoke", one, "ada")
    assert done.code == 3
    assert "the root key of another network" in done.err


def test_a_full_disk_ends_with_4_and_admits_nobody(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, peer = owner.create(), owner.init("ada")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        done = owner.run("network", "admit", folder, peer / "ada.request")
    assert done.code == 4
    assert "the disk is full" in done.err
    assert NetworkAdmin.open(folder).members() == []
    assert not (peer / "ada.admission").exists()
