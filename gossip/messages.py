"""What peers say to each other, as frozen types, and their signed headers.

Two families:

- an *entry* of a feed: its header is signed by the feed's author once and proves itself by
  whatever path it comes. It names the destination (the hash of the public copy after it), so the
  payload that travels with it may be the single delta, a sum of deltas or the whole copy
  (`News.base` says from which entry on; 0 is the network's initial model);
- a *control* message from one peer to its neighbours: hello, heads, pull, witness, alert, bulletin,
  beacons.

Headers are canonical msgpack arrays. Field order is the order of the tuples below. Numbers are
below 2^63, so they fit wherever a peer keeps them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from ..crypto import canonical
from ..crypto.digest import digest
from ..crypto.errors import Malformed
from ..crypto.identity import Identity, verify

VERSION = 1
ENTRY = "entry"
ENTRY_DOMAIN = "entry"
CONTROL_DOMAIN = "control"
MAX_HEADER_BYTES = 1024
HASH_BYTES = 32
NETWORK_BYTES = 16
_NUMBERS = 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryHeader:
    """What an author signs when it publishes.

    ``sequence`` counts from 1, ``previous`` is the hash of the entry before (zeros for the
    first), ``state`` the hash of the public copy after this entry, ``payload_digest`` that of the
    encoded single delta. ``samples`` is 0 unless the network weighs peers by their data.
    """

    network_id: bytes
    author: bytes
    sequence: int
    round: int
    samples: int
    previous: bytes
    state: bytes
    payload_digest: bytes

    def pack(self) -> bytes:
        """The bytes that are signed."""
        return canonical.pack(
            [
                ENTRY,
                VERSION,
                self.network_id,
                self.author,
                self.sequence,
                self.round,
                self.samples,
                self.previous,
                self.state,
                self.payload_digest,
            ]
        )


@dataclass(frozen=True, kw_only=True)
class SignedEntry:
    """An entry header with its author's signature: a fact that anyone can check."""

    header: EntryHeader
    signature: bytes

    @cached_property
    def hash(self) -> bytes:
        """The name of the entry, used as ``previous`` by the next one (32 bytes)."""
        return digest("entry-hash", self.header.pack())

    def pack(self) -> bytes:
        """The portable form: header and signature."""
        return canonical.pack([self.header.pack(), self.signature])

    @classmethod
    def unpack(cls, data: bytes) -> SignedEntry:
        """Read the portable form and check its signature.

        Raises Malformed or BadSignature.
        """
        fields = canonical.unpack(data, max_bytes=2 * MAX_HEADER_BYTES)
        match fields:
            case [bytes() as packed, bytes() as signature]:
                header = parse_header(packed)
                if not isinstance(header, EntryHeader):
                    raise Malformed("expected an entry")
                verify(header.author, ENTRY_DOMAIN, packed, signature)
                return cls(header=header, signature=signature)
            case _:
                raise Malformed("expected an entry header and its signature")


def sign_entry(identity: Identity, header: EntryHeader) -> SignedEntry:
    """Sign `header` with its author's key."""
    return SignedEntry(header=header, signature=identity.sign(ENTRY_DOMAIN, header.pack()))


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlHeader:
    """What a peer signs when it speaks to a neighbour.

    ``counter`` grows with every message of this author (replay window), ``certificate`` is empty
    but for a hello, whose author may be new to the receiver.
    """

    kind: str
    network_id: bytes
    author: bytes
    counter: int
    body_digest: bytes
    certificate: bytes = b""

    def pack(self) -> bytes:
        """The bytes that are signed."""
        return canonical.pack(
            [
                self.kind,
                VERSION,
                self.network_id,
                self.author,
                self.counter,
                self.body_digest,
                self.certificate,
            ]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """A road to the state that `entry` names, from the author's entry number `base`.

    ``base == sequence - 1`` is the single delta, ``base == 0`` the whole copy, anything between
    a sum of deltas. ``payload`` is the encoded integer vector.
    """

    entry: SignedEntry
    base: int
    payload: bytes | bytearray

    @property
    def road(self) -> str:
        """What kind of road this is, in a word."""
        if self.base == self.entry.header.sequence - 1:
            return "delta"
        return "sum" if self.base else "snapshot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where somebody is in the feed of `author`."""

    author: bytes
    sequence: int
    hash: bytes  # of the entry with that number; zeros when sequence is 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """First message on a link: who I am, which feeds I hold up to where."""

    certificate: bytes
    heads: tuple[Head, ...]
    serial: int  # of the newest bulletin that the sender holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """Where I am in feeds that both of us follow; a different hash uncovers an equivocator."""

    heads: tuple[Head, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """I hold the feed of `feed` up to `have`: bring me to your head."""

    feed: bytes
    have: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """The signed entry behind a hash that differs from yours."""

    entry: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A portable proof that an author equivocated (gossip/proof.py)."""

    proof: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BulletinNews:
    """The newest word of the network's root on members and keys."""

    bulletin: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Beacons:
    """What members say of themselves (gossip/beacons.py), each packed by itself."""

    beacons: tuple[bytes, ...]


Control = Hello | Heads | Pull | Witness | Alert | BulletinNews | Beacons
KIND_OF: dict[type[Any], str] = {
    Hello: "hello",
    Heads: "heads",
    Pull: "pull",
    Witness: "witness",
    Alert: "alert",
    BulletinNews: "bulletin",
    Beacons: "beacons",
}
CONTROL_KINDS = frozenset(KIND_OF.values())
# How long a body may be: enough for the heads of 6,000 feeds, for a bulletin to 8,000 members.
MAX_BODY_BYTES = {
    "hello": 2**19,
    "heads": 2**19,
    "pull": 64,
    "witness": 2 * MAX_HEADER_BYTES,
    "alert": 4 * MAX_HEADER_BYTES,
    "bulletin": 2**20,
    "beacons": 2**14,
}


def _heads_to_list(heads: tuple[Head, ...]) -> list[Any]:
    return [[h.author, h.sequence, h.hash] for h in sorted(heads, key=lambda h: h.author)]


def _heads_from_list(items: list[Any]) -> tuple[Head, ...]:
    heads = []
    for item in items:
        match item:
            case [bytes() as author, int() as sequence, bytes() as entry_hash]:
                _check_lengths(author, entry_hash)
                heads.append(
                    Head(author=author, sequence=_natural(sequence, "sequence"), hash=entry_hash)
                )
            case _:
                raise Malformed("a head is [author, sequence, hash]")
    # one head for each feed: what one message may set off is bounded by what is followed here
    if not all(a.author < b.author for a, b in pairwise(heads)):
        raise Malformed("heads are in the order of their authors, one for each")
    return tuple(heads)


def pack_body(message: Control) -> bytes:
    """The body of a control message as canonical msgpack; heads in the order of their authors."""
    match message:
        case Hello():
            return canonical.pack([_heads_to_list(message.heads), message.serial])
        case Heads():
            return canonical.pack(_heads_to_list(message.heads))
        case Pull():
            return canonical.pack([message.feed, message.have])
        case Witness(entry=raw) | Alert(proof=raw) | BulletinNews(bulletin=raw):
            return raw  # packed and signed already
        case Beacons():
            return canonical.pack(list(message.beacons))


_RAW: dict[str, Callable[[bytes], Control]] = {
    "witness": lambda body: Witness(entry=body),
    "alert": lambda body: Alert(proof=body),
    "bulletin": lambda body: BulletinNews(bulletin=body),
}


def parse_body(header: ControlHeader, body: bytes) -> Control:
    """The message that `header` announces. Raises Malformed."""
    if header.kind in _RAW:
        return _RAW[header.kind](body)
    value = canonical.unpack(body, max_bytes=len(body))
    match header.kind, value:
        case "hello", [list() as heads, int() as serial]:
            return Hello(
                certificate=header.certificate,
                heads=_heads_from_list(heads),
                serial=_natural(serial, "serial"),
            )
        case "beacons", list() as beacons if all(isinstance(each, bytes) for each in beacons):
            return Beacons(beacons=tuple(beacons))
        case "heads", list() as heads:
            return Heads(heads=_heads_from_list(heads))
        case "pull", [bytes() as feed, int() as have]:
            _check_lengths(feed)
            return Pull(feed=feed, have=_natural(have, "have"))
        case _:
            raise Malformed(f"the body of this {header.kind} has another form")


def parse_header(packed: bytes) -> EntryHeader | ControlHeader:
    """The header that `packed` holds; raises Malformed. The signature is not looked at."""
    fields = canonical.unpack(packed, max_bytes=MAX_HEADER_BYTES)
    # what was signed is what we would pack: no second spelling of a header, as True for 1 would be
    if isinstance(fields, list) and any(isinstance(field, bool) for field in fields):
        raise Malformed("the header is not in its canonical form")
    match fields:
        case [
            "entry",
            1,
            bytes() as network_id,
            bytes() as author,
            int() as sequence,
            int() as round_,
            int() as samples,
            bytes() as previous,
            bytes() as state,
            bytes() as payload_digest,
        ]:
            _check_lengths(author, previous, state, payload_digest, network_id=network_id)
            if _natural(sequence, "sequence") == 0:
                raise Malformed("entries are numbered from 1")
            return EntryHeader(
                network_id=network_id,
                author=author,
                sequence=sequence,
                round=_natural(round_, "round"),
                samples=_natural(samples, "samples"),
                previous=previous,
                state=state,
                payload_digest=payload_digest,
            )
        case [
            str() as kind,
            1,
            bytes() as network_id,
            bytes() as author,
            int() as counter,
            bytes() as body_digest,
            bytes() as certificate,
        ] if kind in CONTROL_KINDS:
            _check_lengths(author, body_digest, network_id=network_id)
            if certificate and kind != "hello":
                raise Malformed("only a hello carries a certificate")
            return ControlHeader(
                kind=kind,
                network_id=network_id,
                author=author,
                counter=_natural(counter, "counter"),
                body_digest=body_digest,
                certificate=certificate,
            )
        case _:
            raise Malformed("the header has no form of this protocol's version")


def _check_lengths(*hashes: bytes, network_id: bytes | None = None) -> None:
    if any(len(value) != HASH_BYTES for value in hashes):
        raise Malformed(f"keys and hashes have {HASH_BYTES} bytes")
    if network_id is not None and len(network_id) != NETWORK_BYTES:
        raise Malformed(f"a network id has {NETWORK_BYTES} bytes")


def _natural(value: int, name: str) -> int:
    # bool is an int in Python, but not on this wire
    if isinstance(value, bool) or not 0 <= value < _NUMBERS:
        raise Malformed(f"{name} must be a number from 0 to 2^63 - 1")
    return value
