"""Beacons prove themselves, and nothing but a member's own word counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import Village
from tidings.crypto.errors import BadSignature, Malformed, RemoteError, WrongNetwork
from tidings.gossip.beacons import MAX_ADDRESSES, MAX_BEACON_BYTES, Beacon

VILLAGE = Village(3)
ROOT, NETWORK = VILLAGE.root.verify_key, VILLAGE.network_id
ADDRESSES = st.lists(
    st.from_regex(r"/ip4/[0-9.]{7,15}/tcp/[0-9]{1,5}", fullmatch=True), max_size=MAX_ADDRESSES
)
NUMBERS = st.integers(1, 2**63 - 1)


@given(st.integers(0, 2), NUMBERS, ADDRESSES)
def test_a_beacon_survives_its_journey(index: int, number: int, addresses: list[str]) -> None:
    packed = VILLAGE.beacon(index, number, *addresses)
    assert len(packed) <= MAX_BEACON_BYTES
    beacon = Beacon.from_bytes(packed)
    beacon.verify(ROOT, NETWORK)
    assert (beacon.key, beacon.number) == (VILLAGE.keys[index], number)
    assert beacon.addresses == tuple(addresses)
    assert beacon.to_bytes() == packed


@given(NUMBERS, ADDRESSES, st.data())
def test_a_changed_byte_is_noticed(number: int, addresses: list[str], data: st.DataObject) -> None:
    packed = bytearray(VILLAGE.beacon(0, number, *addresses))
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RemoteError):
        Beacon.from_bytes(bytes(packed)).verify(ROOT, NETWORK)


@given(st.binary(max_size=600))
def test_garbage_is_no_beacon(data: bytes) -> None:
    with pytest.raises(Malformed):
        Beacon.from_bytes(data)


def test_nobody_speaks_for_another() -> None:
    forged = Beacon.make(
        VILLAGE.identities[1], VILLAGE.certificates[0], 5, ["/ip4/192.0.2.1/tcp/1"]
    )
    with pytest.raises(BadSignature):
        Beacon.from_bytes(forged.to_bytes()).verify(ROOT, NETWORK)


def test_a_certificate_of_another_root_is_no_membership() -> None:
    other = Village(2, seed=9)
    stranger = Beacon.from_bytes(other.beacon(0, 1))
    with pytest.raises(WrongNetwork):
        stranger.verify(ROOT, NETWORK)
    own_root = VILLAGE.certify(VILLAGE.identities[0], 0, root=other.root)
    beacon = Beacon.make(VILLAGE.identities[0], own_root, 1, [])
    with pytest.raises(BadSignature):
        beacon.verify(ROOT, NETWORK)


def test_what_is_no_address_or_too_much_is_left_out() -> None:
    many = [f"/ip4/192.0.2.{i}/tcp/1" for i in range(20)]
    beacon = Beacon.make(
        VILLAGE.identities[0],
        VILLAGE.certificates[0],
        1,
        ["mqtts://broker", "/" + "x" * 200, "/ip4/1\n2", *many],
    )
    assert beacon.addresses == tuple(many[:MAX_ADDRESSES])
