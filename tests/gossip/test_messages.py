"""Headers and bodies have one spelling each; what has another is malformed."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import entropy_of
from tidings.crypto import canonical
from tidings.crypto.errors import BadSignature, Malformed
from tidings.crypto.identity import Identity
from tidings.gossip.messages import (
    CONTROL_KINDS,
    KIND_OF,
    MAX_BODY_BYTES,
    MAX_HEADER_BYTES,
    Alert,
    Beacons,
    BulletinNews,
    Control,
    ControlHeader,
    EntryHeader,
    Head,
    Heads,
    Hello,
    News,
    Pull,
    SignedEntry,
    Witness,
    pack_body,
    parse_body,
    parse_header,
    sign_entry,
)

PROPERTY = settings(derandomize=True, deadline=None, max_examples=200)
AUTHOR = Identity.generate(entropy_of("messages"))
NATURALS = st.integers(0, 2**63 - 1) | st.sampled_from([0, 1, 127, 128, 2**32, 2**63 - 1])
HASHES = st.binary(min_size=32, max_size=32)
NETWORKS = st.binary(min_size=16, max_size=16)
ENTRIES = st.builds(
    EntryHeader,
    network_id=NETWORKS,
    author=HASHES,
    sequence=NATURALS.filter(bool),
    round=NATURALS,
    samples=NATURALS,
    previous=HASHES,
    state=HASHES,
    payload_digest=HASHES,
)
CONTROLS = st.builds(
    ControlHeader,
    kind=st.sampled_from(sorted(CONTROL_KINDS - {"hello"})),
    network_id=NETWORKS,
    author=HASHES,
    counter=NATURALS,
    body_digest=HASHES,
) | st.builds(
    ControlHeader,
    kind=st.just("hello"),
    network_id=NETWORKS,
    author=HASHES,
    counter=NATURALS,
    body_digest=HASHES,
    certificate=st.binary(max_size=500),
)
HEADS = st.lists(
    st.builds(Head, author=HASHES, sequence=NATURALS, hash=HASHES),
    max_size=6,
    unique_by=lambda head: head.author,
).map(lambda heads: tuple(sorted(heads, key=lambda head: head.author)))
MESSAGES = st.one_of(
    st.builds(Hello, certificate=st.binary(max_size=99), heads=HEADS, serial=NATURALS),
    st.builds(Heads, heads=HEADS),
    st.builds(Pull, feed=HASHES, have=NATURALS),
    st.builds(Witness, entry=st.binary(max_size=99)),
    st.builds(Alert, proof=st.binary(max_size=99)),
    st.builds(BulletinNews, bulletin=st.binary(max_size=99)),
    st.builds(Beacons, beacons=st.lists(st.binary(max_size=99), max_size=9).map(tuple)),
)
ENTRY = EntryHeader(
    network_id=bytes(16),
    author=AUTHOR.verify_key,
    sequence=5,
    round=7,
    samples=0,
    previous=b"p" * 32,
    state=b"s" * 32,
    payload_digest=b"d" * 32,
)
PULL = ControlHeader(
    kind="pull",
    network_id=bytes(16),
    author=AUTHOR.verify_key,
    counter=1,
    body_digest=b"b" * 32,
)


def header_of(message: Control) -> ControlHeader:
    certificate = message.certificate if isinstance(message, Hello) else b""
    return replace(PULL, kind=KIND_OF[type(message)], certificate=certificate)


@PROPERTY
@given(ENTRIES | CONTROLS)
def test_a_packed_header_comes_back(header: EntryHeader | ControlHeader) -> None:
    assert parse_header(header.pack()) == header


@PROPERTY
@given(ENTRIES | CONTROLS, st.data())
def test_another_spelling_or_another_header(
    header: EntryHeader | ControlHeader, data: st.DataObject
) -> None:
    """No two byte strings are one header: what was signed is what is understood."""
    packed = bytearray(header.pack())
    place = data.draw(st.integers(0, len(packed) - 1))
    packed[place] ^= data.draw(st.integers(1, 255))
    try:
        other = parse_header(bytes(packed))
    except Malformed:
        return
    assert other != header
    assert other.pack() == packed


@PROPERTY
@given(st.binary(max_size=300))
def test_any_bytes_are_a_header_or_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse_header(data)


def test_headers_differ_in_every_field() -> None:
    """A field left out of what is signed could be changed by anybody."""
    changed = {bytes: lambda v: bytes([v[0] ^ 1]) + v[1:] if v else b"c", int: lambda v: v + 1}
    for header in (ENTRY, replace(PULL, kind="hello")):
        for field in fields(header):
            value = getattr(header, field.name)
            other = "heads" if isinstance(value, str) else changed[type(value)](value)
            assert replace(header, **{field.name: other}).pack() != header.pack(), field.name


BAD_ENTRY_FIELDS: list[tuple[int, Any]] = [
    (0, "entri"),
    (0, b"entry"),
    (1, 2),
    (1, True),
    (2, bytes(15)),
    (2, "n" * 16),
    (3, bytes(31)),
    (3, bytes(33)),
    (4, 0),
    (4, -1),
    (4, 2**63),
    (4, True),
    (4, None),
    (5, -1),
    (5, 2**64 - 1),
    (5, False),
    (6, b""),
    (6, 2**63),
    (7, b""),
    (8, bytes(64)),
    (9, [bytes(32)]),
]


@pytest.mark.parametrize(("place", "value"), BAD_ENTRY_FIELDS)
def test_an_entry_with_one_wrong_field_is_malformed(place: int, value: Any) -> None:
    items: list[Any] = list(msgpack.unpackb(ENTRY.pack()))
    assert parse_header(canonical.pack(items)) == ENTRY
    items[place] = value
    with pytest.raises(Malformed):
        parse_header(canonical.pack(items))


BAD_CONTROL_FIELDS: list[tuple[int, Any]] = [
    (0, "push"),
    (0, "entry"),
    (1, 0),
    (2, bytes(17)),
    (3, b""),
    (4, -1),
    (4, 2**63),
    (4, True),
    (5, bytes(31)),
    (6, b"a certificate, which only a hello may carry"),
    (6, None),
]


@pytest.mark.parametrize(("place", "value"), BAD_CONTROL_FIELDS)
def test_a_control_header_with_one_wrong_field_is_malformed(place: int, value: Any) -> None:
    items: list[Any] = list(msgpack.unpackb(PULL.pack()))
    assert parse_header(canonical.pack(items)) == PULL
    items[place] = value
    with pytest.raises(Malformed):
        parse_header(canonical.pack(items))


@pytest.mark.parametrize("header", [ENTRY, PULL], ids=["entry", "control"])
def test_fields_missing_or_added_are_malformed(header: EntryHeader | ControlHeader) -> None:
    items = msgpack.unpackb(header.pack())
    for other in (items[:-1], [*items, 0], items[1:], [items], [], None, 7):
        with pytest.raises(Malformed):
            parse_header(canonical.pack(other))


def test_long_headers_are_malformed() -> None:
    long = replace(PULL, kind="hello", certificate=bytes(MAX_HEADER_BYTES))
    with pytest.raises(Malformed, match="at most 1024"):
        parse_header(long.pack())


@PROPERTY
@given(MESSAGES)
def test_a_packed_body_comes_back(message: Control) -> None:
    assert parse_body(header_of(message), pack_body(message)) == message


@PROPERTY
@given(MESSAGES, st.binary(max_size=200))
def test_any_bytes_are_a_body_or_malformed(message: Control, body: bytes) -> None:
    try:
        other = parse_body(header_of(message), body)
    except Malformed:
        return
    assert type(other) is type(message)
    assert pack_body(other) == body


A, B = (
    Head(author=b"a" * 32, sequence=1, hash=bytes(32)),
    Head(author=b"b" * 32, sequence=2, hash=bytes(32)),
)


def test_heads_travel_in_the_order_of_their_authors() -> None:
    assert pack_body(Heads(heads=(B, A))) == pack_body(Heads(heads=(A, B)))
    assert parse_body(header_of(Heads(heads=())), pack_body(Heads(heads=(B, A)))) == Heads(
        heads=(A, B)
    )


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("heads", [[B.author, 1, B.hash], [A.author, 1, A.hash]]),
        ("heads", [[A.author, 1, A.hash], [A.author, 2, A.hash]]),
        ("heads", [[A.author, 1, A.hash], [A.author, 1, A.hash]]),
        ("heads", [[A.author, 1]]),
        ("heads", [[A.author, 1, bytes(31)]]),
        ("heads", [[bytes(31), 1, A.hash]]),
        ("heads", [[A.author, -1, A.hash]]),
        ("heads", [[A.author, True, A.hash]]),
        ("heads", [[]]),
        ("heads", [7]),
        ("heads", 7),
        ("hello", []),
        ("hello", [[], -1]),
        ("hello", [[], True]),
        ("hello", [[], 2**63]),
        ("hello", [[A.author, 1, A.hash], 1]),
        ("hello", [[[A.author, 2, A.hash], [A.author, 1, A.hash]], 1]),
        ("pull", [bytes(32)]),
        ("pull", [bytes(31), 1]),
        ("pull", [bytes(32), -1]),
        ("pull", [bytes(32), True]),
        ("pull", [bytes(32), 1, 1]),
        ("pull", None),
    ],
)
def test_bodies_of_another_form_are_malformed(kind: str, body: Any) -> None:
    with pytest.raises(Malformed):
        parse_body(replace(PULL, kind=kind), canonical.pack(body))


def test_every_kind_has_a_limit_that_leaves_it_room() -> None:
    assert set(MAX_BODY_BYTES) == CONTROL_KINDS
    many = tuple(
        Head(author=i.to_bytes(32), sequence=2**63 - 1, hash=bytes(32)) for i in range(6000)
    )
    largest: list[Control] = [
        Hello(certificate=b"", heads=many, serial=2**63 - 1),
        Heads(heads=many),
        Pull(feed=bytes(32), have=2**63 - 1),
        Witness(entry=sign_entry(AUTHOR, replace(ENTRY, sequence=2**63 - 1)).pack()),
    ]
    for message in largest:
        assert len(pack_body(message)) <= MAX_BODY_BYTES[KIND_OF[type(message)]]


def test_a_signed_entry_proves_itself() -> None:
    entry = sign_entry(AUTHOR, ENTRY)
    assert SignedEntry.unpack(entry.pack()) == entry
    forged = replace(entry, header=replace(ENTRY, round=8))
    stolen = replace(entry, header=replace(ENTRY, author=bytes(32)))
    cut = replace(entry, signature=entry.signature[:-1])
    control = AUTHOR.sign("control", ENTRY.pack())
    for false in (forged, stolen, cut, replace(entry, signature=control)):
        with pytest.raises(BadSignature):
            SignedEntry.unpack(false.pack())


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        canonical.pack([ENTRY.pack()]),
        canonical.pack([ENTRY.pack(), 7]),
        canonical.pack([PULL.pack(), AUTHOR.sign("control", PULL.pack())]),
        canonical.pack([b"x", bytes(64)]),
        canonical.pack([bytes(2 * MAX_HEADER_BYTES), bytes(64)]),
        sign_entry(AUTHOR, ENTRY).pack() + b"\0",
    ],
)
def test_what_is_no_signed_entry_is_malformed(packed: bytes) -> None:
    with pytest.raises(Malformed):
        SignedEntry.unpack(packed)


def test_entries_have_names_of_their_own() -> None:
    entry = sign_entry(AUTHOR, ENTRY)
    assert len(entry.hash) == 32
    assert entry.hash == replace(entry, signature=bytes(64)).hash  # the fact, not who says it
    assert entry.hash != sign_entry(AUTHOR, replace(ENTRY, samples=1)).hash


@pytest.mark.parametrize(("base", "road"), [(4, "delta"), (3, "sum"), (1, "sum"), (0, "snapshot")])
def test_roads_are_named_by_their_start(base: int, road: str) -> None:
    assert News(entry=sign_entry(AUTHOR, ENTRY), base=base, payload=b"").road == road
