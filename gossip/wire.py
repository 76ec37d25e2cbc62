"""The one door: the only place that turns bytes from outside into messages.

    length limit -> layout -> signature -> network -> membership -> replay -> seal -> schema

A control message is for the neighbour at the other end of the link, so it is refused from anybody
but its author: a member that sends on another's messages could otherwise spend their counters.

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
from ..crypto.sealing import sealed_size
from . import notice as notices
from .door import PUBLIC_EPOCH, Door
from .messages import (
    CONTROL_DOMAIN,
    ENTRY_DOMAIN,
    KIND_OF,
    MAX_BODY_BYTES,
    Alert,
    Control,
    ControlHeader,
    EntryHeader,
    News,
    SignedEntry,
    pack_body,
    parse_body,
    parse_header,
)
from .notice import Notice
from .proof import verify_proof

PUBLIC_KINDS = frozenset({"hello", "bulletin"})  # what an outsider may read
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


def encode_notice(
    notice: Notice, *, identity: Identity, key: GroupKey, entropy: Entropy
) -> bytearray:
    """The frame of a notice, signed by its author; it tells whoever keeps it nothing."""
    body = notice.pack_body()
    header = notices.pack_header(notice.entry.header.network_id, digest("notice-body", body))
    return seal_frame(
        header=header,
        signature=identity.sign(notices.DOMAIN, header),
        base=0,
        body=body,
        key=key,
        nonce=entropy(NONCE_BYTES),
    )


def decode_notice(frame: bytes | bytearray, door: Door, author: bytes) -> Notice:
    """The notice that `author` is said to have left.

    Raises a RemoteError for every frame that is none, and nothing else; changes nothing. A notice
    has no counter: the same one is found again and again, and its entry says how old it is.
    """
    envelope = split_frame(frame, door.max_frame_bytes)
    network_id, body_digest = notices.parse_header(envelope.header)
    verify(author, notices.DOMAIN, envelope.header, envelope.signature)
    if network_id != door.network_id:
        raise WrongNetwork(f"it is meant for network {network_id.hex()}")
    door.roster.require_unrevoked(author)
    door.require_unconvicted(author)
    if envelope.base:
        raise Malformed("a notice has no road")
    _check_length(envelope, notices.MAX_BODY_BYTES, "notice")
    body = bytes(open_body(envelope, _group_key(envelope, door, "notice")))
    if digest("notice-body", body) != body_digest:
        raise Tampered("the body has not the digest that its author signed")
    notice = Notice.parse_body(body)
    header = notice.entry.header
    notice.certificate.verify(door.roster.root_key, door.network_id)
    if not notice.certificate.verify_key == header.author == author:
        raise NotAMember("it is about somebody else's feed")
    if header.network_id != door.network_id:
        raise WrongNetwork(f"its entry is of network {header.network_id.hex()}")
    if header.round > door.max_round:
        raise Malformed(f"round {header.round} of {door.max_round}")
    return notice


def decode(frame: bytes | bytearray, door: Door, link: bytes | None = None) -> News | Letter:
    """The message in `frame`, which came over the link to `link` (None: from a file, say).

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
    if link is not None and header.author != link:
        raise Malformed("it was signed by another peer than the one at the end of this link")
    return _decode_control(header, envelope, door)


def _decode_news(header: EntryHeader, envelope: Envelope, door: Door) -> News:
    door.roster.require(header.author)
    entry = SignedEntry(header=header, signature=envelope.signature)
    feed = door.feeds.get(header.author)
    if feed is None:
        raise Unwanted("nobody here follows its author")
    door.require_unconvicted(header.author)
    feed.check_new(entry)
    if header.round > door.max_round:
        raise Malformed(f"round {header.round} of {door.max_round}")
    if envelope.base >= header.sequence:
        raise Malformed("a road cannot start behind its end")
    _check_length(envelope, feed.max_payload_bytes, "payload")
    payload = open_body(envelope, _group_key(envelope, door, "news"))
    return News(entry=entry, base=envelope.base, payload=payload)


def _decode_control(header: ControlHeader, envelope: Envelope, door: Door) -> Letter:
    _check_length(envelope, MAX_BODY_BYTES[header.kind], header.kind)
    _require_member(header, door)
    door.check_counter(header.author, header.counter)
    if envelope.base:
        raise Malformed(f"a {header.kind} has no road")
    body = bytes(open_body(envelope, _group_key(envelope, door, header.kind)))
    if digest("control-body", body) != header.body_digest:
        raise Tampered("the body has not the digest that its author signed")
    message = parse_body(header, body)
    if isinstance(message, Alert):
        # anybody can make up a key and prove that it equivocates; what is kept must be bounded
        accused, _ = verify_proof(message.proof, door.network_id)
        door.require_known(accused)
    door.mark_counter(header.author, header.counter)
    return Letter(author=header.author, message=message)


def _check_length(envelope: Envelope, max_bytes: int, what: str) -> None:
    # before the seal is opened: nobody makes us work on more than an honest peer would send
    if len(envelope.sealed) > sealed_size(max_bytes):
        raise OverLong(f"a {what} of {len(envelope.sealed)} sealed bytes")


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


def _group_key(envelope: Envelope, door: Door, kind: str) -> GroupKey:
    key = door.group_keys.get(envelope.epoch)
    if key is None or (envelope.epoch == PUBLIC_EPOCH and kind not in PUBLIC_KINDS):
        raise UnknownKey(f"sealed with group key {envelope.epoch}")
    return key
