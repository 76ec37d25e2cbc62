"""Certificates and bulletins prove themselves; the roster is what they add up to."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.crypto.canonical import pack, unpack
from tidings.crypto.errors import (
    BadSignature,
    Malformed,
    NotAMember,
    RemoteError,
    Revoked,
    Tampered,
    WrongNetwork,
)
from tidings.crypto.identity import Identity
from tidings.crypto.membership import (
    Bulletin,
    Certificate,
    GroupKey,
    JoinRequest,
    Roster,
    is_name,
)

NETWORK = b"n" * 16
ROOT = Identity.from_seed(b"root".ljust(32))
PEERS = [Identity.from_seed(bytes([i]) * 32) for i in range(1, 7)]
KEY = GroupKey(1, b"g" * 32)


def certificate(number: int, *, index: int | None = None, root: Identity = ROOT) -> Certificate:
    request = JoinRequest.make(f"peer-{number}", PEERS[number])
    return Certificate.issue(root, request, NETWORK, number if index is None else index)


CERTIFICATES = [certificate(n) for n in range(6)]


def bulletin(serial: int = 1, *, revoked: tuple[int, ...] = (), **more: Any) -> Bulletin:
    arguments: dict[str, Any] = {
        "network_id": NETWORK,
        "members": CERTIFICATES[:4],
        "key": KEY,
        "entropy": os.urandom,
        "revoked": [PEERS[n].verify_key for n in revoked],
        **more,
    }
    return Bulletin.issue(arguments.pop("root", ROOT), serial=serial, **arguments)


def roster(*numbers: int) -> Roster:
    made = Roster(NETWORK, ROOT.verify_key)
    for number in numbers:
        assert made.admit(CERTIFICATES[number])
    return made


SIGNED = [JoinRequest.make("ä peer", PEERS[0]), CERTIFICATES[0], bulletin(3, revoked=(1,))]


def read_and_verify(kind: Any, data: bytes) -> Any:
    value = kind.from_bytes(data)
    value.verify(*([] if kind is JoinRequest else [ROOT.verify_key, NETWORK]))
    return value


@pytest.mark.parametrize("value", SIGNED, ids=lambda v: type(v).__name__)
def test_bytes_bring_back_the_same_value(value: Any) -> None:
    assert read_and_verify(type(value), value.to_bytes()) == value


@given(st.sampled_from(SIGNED), st.data())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_no_changed_byte_survives(value: Any, data: st.DataObject) -> None:
    original = value.to_bytes()
    changed = bytearray(original)
    position = data.draw(st.integers(0, len(changed) - 1))
    changed[position] = data.draw(st.integers(0, 255).filter(lambda b: b != original[position]))
    with pytest.raises(RemoteError):
        read_and_verify(type(value), bytes(changed))


@given(st.sampled_from([JoinRequest, Certificate, Bulletin]), st.binary(max_size=80))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_bytes_are_a_value_or_malformed(kind: Any, data: bytes) -> None:
    with pytest.raises(Malformed):
        kind.from_bytes(data)


def altered(value: Any, change: Callable[[list[Any]], None]) -> bytes:
    fields = unpack(value.to_bytes(), max_bytes=10_000)
    assert isinstance(fields, list)
    change(fields)
    return pack(fields)


@pytest.mark.parametrize(
    ("value", "position", "wrong"),
    [
        (SIGNED[0], 0, "certificate"),
        (SIGNED[0], 1, "a\nb"),
        (SIGNED[0], 2, b"short"),
        (SIGNED[0], 4, bytes(63)),
        (SIGNED[1], 1, bytes(15)),
        (SIGNED[1], 3, bytes(31)),
        (SIGNED[1], 4, -1),
        (SIGNED[1], 4, 2**31),
        (SIGNED[1], 4, True),
        (SIGNED[1], 5, "x" * 65),
        (SIGNED[2], 2, 0),
        (SIGNED[2], 2, 2**63),
        (SIGNED[2], 3, [bytes(31)]),
        (SIGNED[2], 3, ["x"]),
        (SIGNED[2], 3, [b"b" * 32, b"a" * 32]),
        (SIGNED[2], 3, [b"a" * 32, b"a" * 32]),
        (SIGNED[2], 4, 0),
        (SIGNED[2], 5, [b"a" * 32]),
        (SIGNED[2], 5, [[b"a" * 32, bytes(79)]]),
        (SIGNED[2], 5, [[b"a" * 32, bytes(80), 1]]),
        (SIGNED[2], 5, [[b"b" * 32, bytes(80)], [b"a" * 32, bytes(80)]]),
    ],
)
def test_values_out_of_range_are_malformed(value: Any, position: int, wrong: object) -> None:
    def change(fields: list[Any]) -> None:
        fields[position] = wrong

    with pytest.raises(Malformed):
        type(value).from_bytes(altered(value, change))


@pytest.mark.parametrize("value", SIGNED[1:], ids=lambda v: type(v).__name__)
def test_another_root_or_network_is_refused(value: Any) -> None:
    with pytest.raises(BadSignature):
        value.verify(PEERS[0].verify_key, NETWORK)
    with pytest.raises(WrongNetwork):
        value.verify(ROOT.verify_key, b"m" * 16)
    moved = dataclasses.replace(value, network_id=b"m" * 16)
    with pytest.raises(BadSignature):
        moved.verify(ROOT.verify_key, b"m" * 16)


def test_a_request_in_another_name_is_refused() -> None:
    stolen = dataclasses.replace(SIGNED[0], verify_key=PEERS[1].verify_key)
    with pytest.raises(BadSignature):
        stolen.verify()
    with pytest.raises(BadSignature):
        dataclasses.replace(SIGNED[0], box_public=PEERS[1].box_public).verify()


@pytest.mark.parametrize("name", ["", " a", "a ", "a\nb", "\x1b[31m", "x" * 65, "\u202egpj"])
def test_names_that_confuse_a_terminal_are_refused(name: str) -> None:
    assert not is_name(name)
    with pytest.raises(ValueError, match="printable"):
        JoinRequest.make(name, PEERS[0])


def test_the_group_key_reaches_members_and_nobody_else() -> None:
    news = bulletin(revoked=(1,))
    for number in (0, 2, 3):
        assert news.group_key(PEERS[number]) == KEY
    assert news.group_key(PEERS[1]) is None  # revoked
    assert news.group_key(PEERS[5]) is None  # never in
    boxes = dict(news.sealed_keys)
    with pytest.raises(Tampered):
        PEERS[2].open_box(boxes[PEERS[0].verify_key])
    assert "gggg" not in repr(KEY)
    assert KEY.secret not in news.to_bytes()


def test_boxes_are_kept_while_the_key_stays_and_made_anew_when_it_changes() -> None:
    first = bulletin(1)
    second = bulletin(2, members=CERTIFICATES[:5], previous=first)
    assert set(first.sealed_keys) < set(second.sealed_keys)
    third = bulletin(3, revoked=(0,), key=GroupKey(2, b"h" * 32), previous=second)
    assert not {box for _, box in third.sealed_keys} & {box for _, box in second.sealed_keys}
    assert third.group_key(PEERS[1]) == GroupKey(2, b"h" * 32)
    assert bulletin(1, entropy=bytes) == bulletin(1, entropy=bytes)


@pytest.mark.parametrize(("epoch", "secret"), [(0, bytes(32)), (2**32, bytes(32)), (1, bytes(31))])
def test_group_keys_are_checked(epoch: int, secret: bytes) -> None:
    with pytest.raises(ValueError, match="group key"):
        GroupKey(epoch, secret)


def test_roster_lists_members_by_number_whatever_the_order() -> None:
    one = roster(3, 0, 2)
    assert [c.index for c in one.members()] == [0, 2, 3]
    assert one.at(2) == CERTIFICATES[2]
    assert one.at(1) is None
    assert one.certificate(PEERS[3].verify_key) == CERTIFICATES[3]
    assert one.certificate(PEERS[1].verify_key) is None
    assert not one.admit(CERTIFICATES[0])
    assert one.require(PEERS[0].verify_key) == CERTIFICATES[0]
    with pytest.raises(NotAMember):
        one.require(PEERS[1].verify_key)


def test_roster_admits_only_what_the_root_signed() -> None:
    one = roster()
    with pytest.raises(BadSignature):
        one.admit(certificate(0, root=PEERS[5]))
    with pytest.raises(BadSignature):
        one.admit(dataclasses.replace(CERTIFICATES[0], index=1))
    with pytest.raises(WrongNetwork):
        one.admit(dataclasses.replace(CERTIFICATES[0], network_id=b"m" * 16))
    with pytest.raises(BadSignature):
        one.apply(bulletin(root=PEERS[5]))
    assert one.members() == []
    assert one.bulletin is None


def test_one_number_has_one_holder_and_one_key_one_certificate() -> None:
    one = roster(0)
    with pytest.raises(NotAMember, match="node number 0"):
        one.admit(certificate(1, index=0))
    with pytest.raises(NotAMember, match="second"):
        one.admit(certificate(0, index=1))
    assert one.members() == [CERTIFICATES[0]]
    assert one.certificate(PEERS[1].verify_key) is None


def test_a_revoked_member_is_out_and_its_number_free() -> None:
    one = roster(0, 1)
    assert one.apply(bulletin(1, revoked=(1,)))
    assert one.is_revoked(PEERS[1].verify_key)
    assert one.members() == [CERTIFICATES[0]]
    assert one.certificate(PEERS[1].verify_key) == CERTIFICATES[1]  # its name stays known
    with pytest.raises(Revoked):
        one.require(PEERS[1].verify_key)
    with pytest.raises(Revoked):
        one.require_unrevoked(PEERS[1].verify_key)
    one.require_unrevoked(PEERS[5].verify_key)  # unknown is not revoked
    assert one.admit(certificate(4, index=1))
    assert one.at(1) == certificate(4, index=1)


def test_a_revoked_members_certificate_does_not_bring_it_back() -> None:
    one = roster(0)
    one.apply(bulletin(1, revoked=(1,)))
    one.admit(CERTIFICATES[1])
    assert one.at(1) is None
    with pytest.raises(Revoked):
        one.require(PEERS[1].verify_key)


@given(st.permutations([1, 2, 3, 4]))
@settings(max_examples=24, deadline=None, derandomize=True)
def test_bulletins_count_by_serial_in_any_order(order: list[int]) -> None:
    one = roster(0, 1, 2, 3)
    newest = 0
    for serial in order:
        assert one.apply(bulletin(serial, revoked=tuple(range(1, serial)))) == (serial > newest)
        newest = max(newest, serial)
        assert one.bulletin is not None
        assert one.bulletin.serial == newest
    assert [c.index for c in one.members()] == [0]
    assert not one.apply(bulletin(4))  # the same serial says nothing new
    assert one.apply(bulletin(5))  # nobody comes back
    assert [c.index for c in one.members()] == [0]
