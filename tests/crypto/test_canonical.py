"""One value, one encoding; any bytes give a value or Malformed."""

from __future__ import annotations

import struct

import msgpack
import numpy as np
import pytest
from blake3 import blake3
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tidings.crypto.canonical import MAX_DEPTH, Value, pack, unpack, unpack_fields
from tidings.crypto.digest import digest, stream
from tidings.crypto.errors import Malformed

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.binary(max_size=300)
    | st.text(max_size=70)
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=20), max_leaves=40)


def depth_of(value: object) -> int:
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


@given(VALUES.filter(lambda value: depth_of(value) <= MAX_DEPTH))
@settings(deadline=None, derandomize=True)
def test_unpack_reverses_pack_and_keeps_types(value: Value) -> None:
    again = unpack(pack(value), max_bytes=2**20)
    assert again == value
    assert repr(again) == repr(value)  # 1 == True, but they are different on the wire


@given(st.binary(max_size=60))
@example(b"")
@example(b"\xc4\x05abc")
@example(b"\xdd\xff\xff\xff\xff")  # a list of 4,294,967,295 items
@example(b"\xd6\xff\x00\x00\x00\x00")  # a timestamp
@example(b"\xc7\x00\x05")  # an empty extension
@example(b"\x80")  # an empty map
@example(b"\x91" * 5000 + b"\xc0")
@settings(max_examples=1000, deadline=None, derandomize=True)
def test_any_bytes_are_canonical_or_malformed(data: bytes) -> None:
    try:
        value = unpack(data, max_bytes=2**20)
    except Malformed:
        return
    assert pack(value) == data


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"\xcc\x05", 5),
        (b"\xd0\x05", 5),
        (b"\xcf" + bytes(7) + b"\x05", 5),
        (b"\xd3" + b"\xff" * 8, -1),
        (b"\xd9\x01a", "a"),
        (b"\xc5\x00\x01a", b"a"),
        (b"\xdc\x00\x01\xc0", [None]),
    ],
)
def test_longer_encodings_of_the_same_value_are_refused(data: bytes, value: Value) -> None:
    assert msgpack.unpackb(data) == value  # they are MessagePack
    with pytest.raises(Malformed, match="shorter"):
        unpack(data, max_bytes=100)


@pytest.mark.parametrize(
    "data",
    [
        msgpack.packb(1.5),
        msgpack.packb({}),
        msgpack.packb({1: 2}),
        msgpack.packb(msgpack.ExtType(5, b"")),
        msgpack.packb(msgpack.ExtType(5, b"abc")),
        msgpack.packb(msgpack.Timestamp(1)),
        pack([1, 2]) + b"\x00",
        pack([1, 2])[:-1],
        b"\xa1\xff",  # not UTF-8
    ],
    ids=repr,
)
def test_what_the_protocol_does_not_have_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        unpack(data, max_bytes=100)


@pytest.mark.parametrize("value", [1.5, {}, [1, {2: 3}], object(), {1}])
def test_pack_refuses_other_types(value: object) -> None:
    with pytest.raises(TypeError):
        pack(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, "\ud800"])
def test_pack_refuses_values_out_of_range(value: Value) -> None:
    with pytest.raises(ValueError, match=r"64 bits|surrogates"):
        pack(value)


def test_nesting_is_limited_both_ways() -> None:
    nested: Value = None
    for _ in range(MAX_DEPTH):
        nested = [nested]
    assert unpack(pack(nested), max_bytes=100) == nested
    with pytest.raises(ValueError, match="nested"):
        pack([nested])
    with pytest.raises(Malformed, match="nested"):
        unpack(b"\x91" + pack(nested), max_bytes=100)


def test_length_is_checked_before_anything_is_read() -> None:
    data = pack(bytes(100))
    assert unpack(data, max_bytes=len(data)) == bytes(100)
    with pytest.raises(Malformed, match="at most 101"):
        unpack(data, max_bytes=101)


def test_every_buffer_type_packs_alike() -> None:
    assert pack(bytearray(b"ab")) == pack(memoryview(b"ab")) == pack(b"ab")
    assert pack((1, (2,))) == pack([1, [2]])
    assert unpack(memoryview(pack(["x"])), max_bytes=10) == ["x"]
    assert unpack(bytearray(pack(["x"])), max_bytes=10) == ["x"]


def test_unpack_fields_is_exact() -> None:
    data = pack([1, "a", b"b", [2]])
    assert unpack_fields(data, int, str, bytes, list, max_bytes=50) == [1, "a", b"b", [2]]
    for types in [(int, str, bytes), (int, str, str, list), (bool, str, bytes, list)]:
        with pytest.raises(Malformed, match="fields"):
            unpack_fields(data, *types, max_bytes=50)
    with pytest.raises(Malformed, match="fields"):
        unpack_fields(pack([True]), int, max_bytes=50)
    with pytest.raises(Malformed, match="fields"):
        unpack_fields(pack(1), int, max_bytes=50)


def test_digest_is_blake3_over_length_prefixed_parts() -> None:
    expected = b"\x05state" + struct.pack("<Q", 2) + b"ab" + struct.pack("<Q", 0)
    assert digest("state", b"ab", b"") == blake3(expected).digest()


@given(st.lists(st.binary(max_size=9), max_size=4), st.lists(st.binary(max_size=9), max_size=4))
@settings(deadline=None, derandomize=True)
@example([b"ab", b"c"], [b"a", b"bc"])
@example([b""], [])
def test_different_parts_have_different_digests(a: list[bytes], b: list[bytes]) -> None:
    assert (digest("x", *a) == digest("x", *b)) == (a == b)
    assert digest("x", *a) != digest("y", *a)


def test_digest_reads_buffers_where_they_lie() -> None:
    array = np.arange(12, dtype="<i4").reshape(3, 4)
    assert digest("x", array) == digest("x", array.tobytes()) == digest("x", memoryview(array))
    assert digest("x", np.zeros((0, 4))) == digest("x", b"")
    with pytest.raises((BufferError, ValueError)):
        digest("x", array.T)


@pytest.mark.parametrize("domain", ["", "ü", "x" * 256])
def test_digest_refuses_domains_that_have_no_one_byte_length(domain: str) -> None:
    with pytest.raises(ValueError, match="domain"):
        digest(domain, b"")


def test_a_stream_begins_with_its_seeds_digest_and_goes_on_alike() -> None:
    long = stream("test", b"seed", 1000)
    assert long[:32] == digest("test", b"seed")
    assert stream("test", b"seed", 10) == long[:10]
    assert stream("other", b"seed", 10) != long[:10]
    assert stream("test", b"seeds", 10) != long[:10]
    assert stream("test", b"", 0) == b""
