"""One seed, one signing key, one box key, one PeerId; nobody else signs or opens."""

from __future__ import annotations

import copy
import os
import stat
from pathlib import Path

import base58
import nacl.bindings as sodium
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.crypto.errors import BadSignature, IdentityError, Malformed, StorageError, Tampered
from tidings.crypto.identity import (
    Identity,
    libp2p_peer_id,
    peer_id_to_verify_key,
    seal_box,
    short_id,
    verify,
)

SEEDS = st.binary(min_size=32, max_size=32)
DOMAINS = st.text(st.characters(codec="ascii"), min_size=1, max_size=20)
ALICE = Identity.from_seed(bytes(range(32)))
BOB = Identity.from_seed(bytes(32))


@given(SEEDS, DOMAINS, st.binary(max_size=100))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_a_signature_holds_for_its_message_alone(seed: bytes, domain: str, message: bytes) -> None:
    peer = Identity.from_seed(seed)
    signature = peer.sign(domain, message)
    verify(peer.verify_key, domain, message, signature)
    for other in [
        (ALICE.verify_key, domain, message, signature),
        (peer.verify_key, domain + "x", message, signature),
        (peer.verify_key, domain, message + b"\0", signature),
        (peer.verify_key, domain, message, signature[:-1]),
        (peer.verify_key, domain, message, signature + b"\0"),
        (peer.verify_key[:-1], domain, message, signature),
        (peer.verify_key, domain, message, b""),
        # what the domain loses the message gains: the bytes joined are the same
        (peer.verify_key, domain + message[:1].decode("latin1"), message[1:], signature),
    ]:
        if other == (peer.verify_key, domain, message, signature) or not other[1].isascii():
            continue
        with pytest.raises(BadSignature):
            verify(*other)


@given(st.integers(0, 511))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_every_bit_of_a_signature_counts(bit: int) -> None:
    signature = bytearray(ALICE.sign("x", b"message"))
    signature[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadSignature):
        verify(ALICE.verify_key, "x", b"message", bytes(signature))


def test_a_second_form_of_a_valid_signature_is_refused() -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    signature = ALICE.sign("x", b"m")
    scalar = int.from_bytes(signature[32:], "little") + order
    with pytest.raises(BadSignature):
        verify(ALICE.verify_key, "x", b"m", signature[:32] + scalar.to_bytes(32, "little"))


def test_a_key_of_small_order_signs_nothing() -> None:
    neutral = b"\x01" + bytes(31)
    with pytest.raises(BadSignature):
        verify(neutral, "x", b"m", neutral + bytes(32))


@given(SEEDS, st.binary(max_size=100))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_boxes_open_for_their_owner_alone(seed: bytes, message: bytes) -> None:
    peer = Identity.from_seed(seed)
    box = seal_box(peer.box_public, message)
    assert peer.open_box(box) == message
    assert len(box) == len(message) + 48
    for damaged in (box[:-1], b"", box[:-1] + bytes([box[-1] ^ 1]), bytes([box[0] ^ 1]) + box[1:]):
        with pytest.raises(Tampered):
            peer.open_box(damaged)
    with pytest.raises(Tampered):
        ALICE.open_box(box)


def test_boxes_are_those_of_libsodium_both_ways() -> None:
    assert ALICE.open_box(sodium.crypto_box_seal(b"hello", ALICE.box_public)) == b"hello"
    secret = b"\x07" * 32
    public = sodium.crypto_scalarmult_base(secret)
    assert sodium.crypto_box_seal_open(seal_box(public, b"hello"), public, secret) == b"hello"


def test_chance_is_an_argument() -> None:
    assert seal_box(ALICE.box_public, b"m", bytes) == seal_box(ALICE.box_public, b"m", bytes)
    assert seal_box(ALICE.box_public, b"m") != seal_box(ALICE.box_public, b"m")
    assert Identity.generate(bytes).verify_key == BOB.verify_key
    assert Identity.generate().verify_key != Identity.generate().verify_key


@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31), b"short"])
def test_boxes_are_not_sealed_for_what_is_no_key(key: bytes) -> None:
    with pytest.raises(ValueError, match="not an X25519 key"):
        seal_box(key, b"m")


def test_the_keys_of_a_seed_never_change() -> None:
    # The first is RFC 8032's; all three are in the certificates and the logs of users.
    rfc = Identity.from_seed(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    )
    assert rfc.verify_key.hex() == (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    )
    assert short_id(rfc.verify_key) == "25njqamc"
    assert rfc.box_public != sodium.crypto_sign_ed25519_pk_to_curve25519(rfc.verify_key)
    assert rfc.box_public.hex() == (
        "ec23711b1e5e39cd4074961abd126f51911d97423cae4539f87808a4b9147579"
    )


@given(SEEDS)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_peer_ids_hold_the_key(key: bytes) -> None:
    text = libp2p_peer_id(key)
    assert text.startswith("12D3Koo")
    assert base58.b58decode(text) == bytes.fromhex("002408011220") + key
    assert peer_id_to_verify_key(text) == key


@given(st.text(max_size=60) | st.text("12D3KooWabcxyz", min_size=40, max_size=60))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_other_text_is_no_peer_id(text: str) -> None:
    try:
        key = peer_id_to_verify_key(text)
    except Malformed:
        return
    assert libp2p_peer_id(key) == text


def test_peer_ids_of_other_keys_are_refused() -> None:
    good = libp2p_peer_id(ALICE.verify_key)
    for text in ["", "1" + good, good[1:], good + "1", "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7"]:
        with pytest.raises(Malformed):
            peer_id_to_verify_key(text)


def test_peer_id_is_the_one_libp2p_makes() -> None:
    from libp2p.crypto.ed25519 import create_new_key_pair
    from libp2p.peer.id import ID

    pair = create_new_key_pair(ALICE.seed)
    assert str(ID.from_pubkey(pair.public_key)) == libp2p_peer_id(ALICE.verify_key)


def test_saved_identity_comes_back_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    ALICE.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Identity.load(path).verify_key == ALICE.verify_key
    assert [file.name for file in tmp_path.iterdir()] == ["identity.key"]


def test_an_identity_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    ALICE.save(path)
    with pytest.raises(IdentityError, match="never overwritten"):
        BOB.save(path)
    assert Identity.load(path).verify_key == ALICE.verify_key
    with pytest.raises(StorageError, match="create the folder first"):
        ALICE.save(tmp_path / "nowhere" / "identity.key")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610])
def test_an_identity_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "identity.key"
    ALICE.save(path)
    path.chmod(mode)
    with pytest.raises(IdentityError, match="chmod 600"):
        Identity.load(path)


def test_a_missing_or_damaged_identity_is_named(tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    with pytest.raises(IdentityError, match="no secret key here"):
        Identity.load(path)
    with pytest.raises(IdentityError, match="cannot be read"):
        Identity.load(tmp_path)
    path.write_bytes(bytes(31))
    path.chmod(0o600)
    with pytest.raises(IdentityError, match="31") as caught:
        Identity.load(path)
    assert str(path) in str(caught.value)
    with pytest.raises(IdentityError, match="33"):
        Identity.from_seed(bytes(33))


def test_the_seed_does_not_slip_out() -> None:
    seed = os.urandom(32)
    peer = Identity.from_seed(seed)
    for text in (repr(peer), str(peer), f"{peer}", repr([peer])):
        assert seed.hex() not in text
        assert repr(seed) not in text
    assert short_id(peer.verify_key) in repr(peer)
    with pytest.raises(TypeError, match="not pickled"):
        copy.copy(peer)
