"""The one door: the only place that turns bytes from outside into messages.

    length limit -> layout -> signature -> network -> membership -> replay -> seal -> schema

`decode` returns a message that may be believed to come from the member it names, or raises a
RemoteError that says whose fault it was. What a News *leads to* is checked where the copy is
(gossip/feed.py), against the hash in its signed header.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..crypto.digest import digest
from ..crypto.envelope import NONCE_BYTES, Envelope, open_body, seal_frame, split_frame
from ..crypto.errors import (
    Malformed,
    NotAMember,
    OverLong,
    Tampered,
    UnknownKey,
    Unwanted,
    WrongNetwork,
)
from ..crypto.identity import Identity, verify
from ..crypto.membership import Certificate, GroupKey
from .door import Door
from .messages import (
    CONTROL_DOMAIN,
    ENTRY_DOMAIN,
    KIND_OF,
    Control,
    ControlHeader,
    EntryHeader,
    News,
    SignedEntry,
    pack_body,
    parse_body,
    parse_header,
)

MAX_CONTROL_BYTES = 1 << 20  # a control message is small; only news may be as long as a model
Entropy = Callable[[int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A control message and the member who signed it."""

    author: bytes
    message: Control


def encode_news(news: News, *, key: GroupKey, entropy: Entropy) -> bytearray:
    """The frame of an entry; the author's signature travels as it is."""
    return seal_frame(
        header=news.entry.header.pack(),
        signature=news.entry.signature,
        base=news.base,
        body=news.payload,
        key=key,
        nonce=entropy(NONCE_BYTES),
    )


def encode_control(
    message: Control,
    *,
    identity: Identity,
    network_id: bytes,
    counter: int,
    key: GroupKey,
    entropy: Entropy,
) -> bytearray:
    """The frame of a control message, signed by its sender."""
    body = pack_body(message)
    certificate = getattr(message, "certificate", b"")
    header = ControlHeader(
        kind=KIND_OF[type(message)],
        network_id=network_id,
        author=identity.verify_key,
        counter=counter,
        body_digest=digest("control-body", body),
        certificate=certificate,
    ).pack()
    return seal_frame(
        header=header,
        signature=identity.sign(CONTROL_DOMAIN, header),
        base=0,
        body=body,
        key=key,
        nonce=entropy(NONCE_BYTES),
    )


def decode(frame: bytes | bytearray, door: Door) -> News | Letter:
    """The message in `frame`.

    Raises a RemoteError for every frame that is not one, and nothing else. Remembers the counter
    of an accepted control message; changes nothing else.
    """
    envelope = split_frame(frame, door.max_frame_bytes)
    header = parse_header(envelope.header)
    domain = ENTRY_DOMAIN if isinstance(header, EntryHeader) else CONTROL_DOMAIN
    verify(header.author, domain, envelope.header, envelope.signature)
    if header.network_id != door.network_id:
        raise WrongNetwork(f"it is meant for network {header.network_id.hex()}")
    if isinstance(header, EntryHeader):
        return _decode_news(header, envelope, door)
    return _decode_control(header, envelope, door)


def _decode_news(header: EntryHeader, envelope: Envelope, door: Door) -> News:
    door.roster.require(header.author)
    entry = SignedEntry(header=header, signature=envelope.signature)
    feed = door.feeds.get(header.author)
    if feed is None:
        raise Unwanted("nobody here follows its author")
    feed.check_new(entry)
    door.require_unconvicted(header.author)
    if header.round > door.max_round:
        raise Malformed(f"round {header.round} of {door.max_round}")
    if envelope.base >= header.sequence:
        raise Malformed("a road cannot start behind its end")
    payload = open_body(envelope, _group_key(envelope, door))
    return News(entry=entry, base=envelope.base, payload=payload)


def _decode_control(header: ControlHeader, envelope: Envelope, door: Door) -> Letter:
    if len(envelope.sealed) > MAX_CONTROL_BYTES:
        raise OverLong(f"a {header.kind} of {len(envelope.sealed)} bytes")
    _require_member(header, door)
    window = door.window(header.author)
    window.check(header.counter)
    if envelope.base:
        raise Malformed(f"a {header.kind} has no road")
    body = bytes(open_body(envelope, _group_key(envelope, door)))
    if digest("control-body", body) != header.body_digest:
        raise Tampered("the body has not the digest that its author signed")
    message = parse_body(header, body)
    window.mark(header.counter)
    return Letter(author=header.author, message=message)


def _require_member(header: ControlHeader, door: Door) -> None:
    # a newcomer is let in by the certificate that its hello carries
    if header.certificate:
        certificate = Certificate.from_bytes(header.certificate)
        certificate.verify(door.roster.root_key, door.network_id)
        if certificate.verify_key != header.author:
            raise NotAMember("it shows somebody else's certificate")
        door.roster.require_unrevoked(header.author)
    else:
        door.roster.require(header.author)


def _group_key(envelope: Envelope, door: Door) -> GroupKey:
    key = door.group_keys.get(envelope.epoch)
    if key is None:
        raise UnknownKey(f"sealed with group key {envelope.epoch}")
    return key
