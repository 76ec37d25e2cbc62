"""The network file binds all rules; the root's folder survives mistakes, crashes and hurry."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.crypto import network as network_module
from tidings.crypto.errors import ConfigError, IdentityError, StorageError, TidingsError
from tidings.crypto.files import exclusive
from tidings.crypto.identity import Identity
from tidings.crypto.membership import Certificate, JoinRequest
from tidings.crypto.network import NetworkAdmin, NetworkFile
from tidings.gossip.rules import Rules

MODEL: dict[str, int | str] = {
    "parameters": 2410,
    "fingerprint": "ab" * 32,
    "genesis": "cd" * 32,
    "seed": 7,
}
RULES = Rules().model_dump(mode="json")
FILE = NetworkFile(name="quickstart", root_key=bytes(range(32)), rules=RULES, model=MODEL)
PEERS = [Identity.from_seed(bytes([i]) * 32) for i in range(1, 7)]
REQUESTS = [JoinRequest.make(f"peer-{n}", peer) for n, peer in enumerate(PEERS)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    NetworkAdmin.create(tmp_path / "net", "quickstart", RULES, MODEL)
    return tmp_path / "net"


# -- the file ----------------------------------------------------------------------------------


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_the_file_brings_back_the_same_network(rules: dict[str, Any]) -> None:
    made = NetworkFile(name="n", root_key=bytes(32), rules=rules, model=MODEL)
    again = NetworkFile.from_bytes(made.to_bytes())
    assert again.network_id == made.network_id
    assert len(made.network_id) == 16
    assert again == made


def test_the_id_of_a_network_never_changes() -> None:
    made = NetworkFile(name="n", root_key=bytes(32), rules={"a": [1, 2.5], "b": None}, model=MODEL)
    assert made.network_id.hex() == "ac625cc8e3650c7d18b5eb602057e14f"


def test_rules_come_back_as_rules() -> None:
    assert Rules(**NetworkFile.from_bytes(FILE.to_bytes()).rules) == Rules()


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"root_key": bytes(32)},
        {"rules": {**RULES, "rounds": 61}},
        {"rules": {**RULES, "deadline_s": 10.5}},
        {"rules": {}},
        {"model": {**MODEL, "seed": 8}},
        {"model": {**MODEL, "parameters": 1}},
        {"model": {**MODEL, "fingerprint": "00"}},
        {"model": {**MODEL, "genesis": "00"}},
    ],
)
def test_the_id_depends_on_everything(change: dict[str, Any]) -> None:
    fields = {"name": "quickstart", "root_key": FILE.root_key, "rules": RULES, "model": MODEL}
    assert NetworkFile(**fields).network_id == FILE.network_id
    assert NetworkFile(**{**fields, **change}).network_id != FILE.network_id


def test_one_number_has_one_spelling() -> None:
    assert RULES["deadline_s"] == 10.0
    rewritten = FILE.to_bytes().replace(b"10.0", b"10")
    assert rewritten != FILE.to_bytes()
    assert NetworkFile.from_bytes(rewritten).network_id == FILE.network_id
    spaced = json.dumps(dict(reversed(json.loads(FILE.to_bytes()).items())), indent=7).encode()
    assert NetworkFile.from_bytes(spaced) == FILE


def edited(**changes: Any) -> bytes:
    fields = {**json.loads(FILE.to_bytes()), **changes}
    return json.dumps({k: v for k, v in fields.items() if v is not ...}).encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a network file"),
        (b"\xff", "not a network file"),
        (b"[1]", "JSON object"),
        (b"[" * 100_000, "not a network file"),
        (edited(name=...), "no field 'name'"),
        (edited(nam="x"), "unknown field 'nam'.*did you mean 'name'"),
        (edited(rules=[]), "'rules' of the network file must be a table"),
        (edited(name=3), "'name' of the network file must be a text"),
        (edited(format=True), "'format' of the network file must be a whole number"),
        (edited(format=2), "format 2; this version reads 1"),
        (edited(root_key="zz"), "'root_key' must be hex"),
        (edited(root_key="00"), "the root key has 32 bytes, not 1"),
        (edited(name="a\nb"), "printable"),
        (edited(name="other"), "it was edited"),
        (edited(id="00" * 16), "it was edited"),
        (edited(rules={**RULES, "rounds": 6}), "it was edited"),
        (edited(rules={"a": float("nan")}), "cannot be written as JSON"),
        (edited(model={}), "the model has no field 'fingerprint'"),
        (edited(model={**MODEL, "sed": 1}), "unknown field 'sed' of the model.*'seed'"),
        (edited(model={**MODEL, "seed": 1.5}), "'seed' of the model must be a whole number"),
        (edited(model={**MODEL, "seed": -1}), "'seed' at least 0"),
        (edited(model={**MODEL, "parameters": 0}), "at least 1"),
        (edited(model={**MODEL, "genesis": "xyz"}), "'genesis' of the model must be hex"),
        (b" " * (4 * 2**20 + 1), "bytes"),
    ],
)
def test_a_bad_file_is_explained(data: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        NetworkFile.from_bytes(data, where="some/network.json")
    assert caught.value.where == "some/network.json"
    assert caught.value.fix


@given(
    st.binary(max_size=60)
    | st.integers(0, len(FILE.to_bytes()) - 2).map(lambda n: FILE.to_bytes()[:n])
    | JSON.map(json.dumps).map(str.encode)
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_bytes_are_a_network_or_a_config_error(data: bytes) -> None:
    with pytest.raises(ConfigError):
        NetworkFile.from_bytes(data)


# -- the root's folder ---------------------------------------------------------------------------


def test_a_new_network_is_complete_and_its_secrets_private(folder: Path) -> None:
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir()}
    assert modes.pop(".lock")
    assert modes["root.key"] == modes["group-keys"] == 0o600
    assert set(modes) == {"network.json", "root.key", "group-keys", "members", "bulletin.bin"}
    admin = NetworkAdmin.open(folder)
    assert admin.network == NetworkFile.from_bytes((folder / "network.json").read_bytes())
    assert admin.members() == []
    assert admin.bulletin.serial == 1
    admin.bulletin.verify(admin.network.root_key, admin.network.network_id)
    public = (folder / "network.json").read_bytes() + (folder / "bulletin.bin").read_bytes()
    assert (folder / "root.key").read_bytes() not in public


def test_a_network_is_never_overwritten(folder: Path) -> None:
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with pytest.raises(ConfigError, match="never overwritten"):
        NetworkAdmin.create(folder, "another", RULES, MODEL)
    (folder / "network.json").unlink()  # as if creation had been cut short
    with pytest.raises(ConfigError, match=r"root\.key"):
        NetworkAdmin.create(folder, "another", RULES, MODEL)
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}.items() <= before.items()


def test_admitted_members_get_numbers_a_certificate_and_the_key(folder: Path) -> None:
    admin = NetworkAdmin.open(folder)
    for number in range(3):
        certificate = admin.admit(REQUESTS[number])
        certificate.verify(admin.network.root_key, admin.network.network_id)
        assert (certificate.index, certificate.name) == (number, f"peer-{number}")
        assert certificate.verify_key == PEERS[number].verify_key
        assert certificate.box_public == PEERS[number].box_public
        assert admin.bulletin.serial == number + 2
    again = NetworkAdmin.open(folder)
    assert again.members() == admin.members()
    assert again.bulletin == admin.bulletin
    keys = {again.bulletin.group_key(peer) for peer in PEERS[:3]}
    assert len(keys) == 1
    assert None not in keys
    assert again.bulletin.group_key(PEERS[3]) is None


def test_many_are_admitted_with_one_bulletin(folder: Path) -> None:
    admin = NetworkAdmin.open(folder)
    certificates = admin.admit_all(REQUESTS)
    assert [c.index for c in certificates] == list(range(6))
    assert admin.bulletin.serial == 2
    assert admin.admit_all(REQUESTS) == certificates
    assert admin.bulletin.serial == 2  # there was nothing new to say


def test_who_cannot_be_admitted_is_told_why(folder: Path) -> None:
    admin = NetworkAdmin.open(folder)
    admin.admit(REQUESTS[0], max_nodes=2)
    assert admin.admit(REQUESTS[0], max_nodes=2).index == 0
    with pytest.raises(ConfigError, match="another member is called 'peer-0'"):
        admin.admit(JoinRequest.make("peer-0", PEERS[1]))
    forged = JoinRequest.from_bytes(REQUESTS[1].to_bytes().replace(b"peer-1", b"peer-9"))
    with pytest.raises(ConfigError, match="forged"):
        admin.admit(forged)
    with pytest.raises(ConfigError, match="all 2 places"):
        admin.admit_all(REQUESTS[1:3], max_nodes=2)
    assert [c.name for c in admin.members()] == ["peer-0", "peer-1"]  # who came before is in
    assert admin.bulletin.group_key(PEERS[1]) is not None


def test_a_request_whose_box_key_would_break_the_bulletin_is_refused(folder: Path) -> None:
    peer = Identity.from_seed(b"z" * 32)
    peer.box_public = bytes(32)  # a point of small order: nothing can be sealed for it
    admin = NetworkAdmin.open(folder)
    with pytest.raises(ConfigError, match="sealing key"):
        admin.admit(JoinRequest.make("mallory", peer))
    assert admin.admit(REQUESTS[0]).index == 0


def test_a_revoked_member_does_not_get_the_new_key(folder: Path) -> None:
    admin = NetworkAdmin.open(folder)
    admin.admit_all(REQUESTS[:3])
    old = admin.bulletin.group_key(PEERS[0])
    bulletin = admin.revoke(PEERS[1].verify_key)
    new = bulletin.group_key(PEERS[0])
    assert old is not None
    assert new is not None
    assert (old.epoch, new.epoch) == (1, 2)
    assert old.secret != new.secret
    assert bulletin.group_key(PEERS[1]) is None
    assert bulletin.revoked == (PEERS[1].verify_key,)
    assert [c.index for c in NetworkAdmin.open(folder).members()] == [0, 2]

    with pytest.raises(ConfigError, match="was revoked"):
        admin.admit(REQUESTS[1])
    with pytest.raises(ConfigError, match="not a member"):
        admin.revoke(PEERS[1].verify_key)
    # its number goes to the next, who gets the new key
    assert admin.admit(REQUESTS[3]).index == 1
    assert admin.bulletin.group_key(PEERS[3]) == new


def test_a_second_handle_sees_what_the_first_did(folder: Path) -> None:
    one, two = NetworkAdmin.open(folder), NetworkAdmin.open(folder)
    assert one.admit(REQUESTS[0]).index == 0
    assert two.admit(REQUESTS[1]).index == 1
    assert one.revoke(PEERS[1].verify_key).serial == 4
    assert two.admit(REQUESTS[2]).index == 1
    with (
        exclusive(folder / ".lock", "changing this network"),
        pytest.raises(StorageError, match="another process is changing"),
    ):
        one.admit(REQUESTS[3])


@pytest.mark.parametrize("call", ["write_new", "write_atomic"])
def test_a_crash_between_two_files_is_mended_by_the_next_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    admin = NetworkAdmin.open(folder)
    admin.admit(REQUESTS[0])
    monkeypatch.setattr(network_module, call, killed)
    with pytest.raises(Killed):
        admin.admit(REQUESTS[1])
    monkeypatch.undo()
    later = NetworkAdmin.open(folder)
    assert later.admit(REQUESTS[2]).index == (1 if call == "write_new" else 2)
    assert later.admit(REQUESTS[1]).index == (2 if call == "write_new" else 1)
    assert None not in {later.bulletin.group_key(peer) for peer in PEERS[:3]}


def test_a_crash_while_revoking_leaves_a_network_that_works(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = NetworkAdmin.open(folder)
    admin.admit_all(REQUESTS[:2])
    real = network_module.write_atomic

    def full(path: Path, data: bytes, mode: int = 0o644) -> None:
        if path.name == "bulletin.bin":
            raise StorageError("the disk is full")
        real(path, data, mode)

    monkeypatch.setattr(network_module, "write_atomic", full)
    with pytest.raises(StorageError):
        admin.revoke(PEERS[1].verify_key)
    monkeypatch.undo()
    later = NetworkAdmin.open(folder)
    assert len(later.members()) == 2
    later.admit(REQUESTS[2])
    assert later.bulletin.group_key(PEERS[2]) == later.bulletin.group_key(PEERS[0])
    later.revoke(PEERS[1].verify_key)
    assert NetworkAdmin.open(folder).bulletin.group_key(PEERS[0]) is not None


def damage(path: Path, data: bytes | None) -> None:
    if data is None:
        path.unlink()
    else:
        path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "data", "error", "message"),
    [
        ("network.json", None, ConfigError, "cannot be read"),
        ("network.json", FILE.to_bytes(), IdentityError, "root key of another network"),
        ("root.key", None, IdentityError, "no secret key"),
        ("root.key", bytes(32), IdentityError, "root key of another network"),
        ("group-keys", None, IdentityError, "no secret key"),
        ("group-keys", b"x", IdentityError, "group keys are damaged"),
        ("group-keys", b"\x91\x92\x01\xc4\x01a", IdentityError, "group keys are damaged"),
        ("group-keys", b"\x91\x01", IdentityError, "group keys are damaged"),
        ("group-keys", b"\xc0", IdentityError, "group keys are damaged"),
        ("group-keys", b"\x90", ConfigError, "key of epoch 1"),
        ("bulletin.bin", None, ConfigError, "cannot be read"),
        ("bulletin.bin", b"x", ConfigError, "damaged, or not of this network"),
        ("members/{}", None, ConfigError, "certificate of .* is missing"),
        ("members/{}", b"x", ConfigError, "damaged, or not of this network"),
    ],
)
def test_a_damaged_folder_is_explained(
    folder: Path, name: str, data: bytes | None, error: type[TidingsError], message: str
) -> None:
    NetworkAdmin.open(folder).admit(REQUESTS[0])
    (certificate,) = (folder / "members").iterdir()
    damage(folder / name.format(certificate.name), data)
    with pytest.raises(error, match=message) as caught:
        NetworkAdmin.open(folder)
    assert caught.value.where
    assert caught.value.fix


def test_files_of_another_network_do_not_pass(folder: Path, tmp_path: Path) -> None:
    other = NetworkAdmin.create(tmp_path / "other", "quickstart", RULES, MODEL)
    stranger: Certificate = other.admit(REQUESTS[0])
    (folder / "members" / "00000-x.cert").write_bytes(stranger.to_bytes())
    with pytest.raises(ConfigError, match="not of this network"):
        NetworkAdmin.open(folder)


def test_secrets_that_others_can_read_are_refused(folder: Path) -> None:
    for name in ("root.key", "group-keys"):
        (folder / name).chmod(0o644)
        with pytest.raises(IdentityError, match="chmod 600"):
            NetworkAdmin.open(folder)
        (folder / name).chmod(0o600)
    NetworkAdmin.open(folder)


def test_an_unusable_folder_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="not a folder"):
        NetworkAdmin.create(tmp_path / "file", "n", RULES, MODEL)
    with pytest.raises(StorageError, match="not a folder"):
        NetworkAdmin.create(tmp_path / "file" / "below", "n", RULES, MODEL)


def test_chance_is_an_argument(tmp_path: Path) -> None:
    made = []
    for name in ("a", "b"):
        admin = NetworkAdmin.create(tmp_path / name, "n", RULES, MODEL, entropy=bytes)
        admin.admit(REQUESTS[0])
        files = sorted(p for p in (tmp_path / name).rglob("*") if p.is_file())
        made.append({str(p.relative_to(tmp_path / name)): p.read_bytes() for p in files})
    assert made[0] == made[1]
