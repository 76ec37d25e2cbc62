"""How two peers prove to each other who they are, and the sealed channel that comes of it.

    OFFER    dialler  -> answerer   D, signature of the dialler
    ANSWER   answerer -> dialler    D, A, signature of the answerer over both
    CONFIRM  dialler  -> answerer   session, signature of the dialler over both

D and A are fresh X25519 keys, so they are the nonces of the proofs as well, and nobody who learns
a peer's long-term key later can read the link: signed Diffie-Hellman with both identities under
the signatures (as in ISO/IEC 9798-3). The signature of an offer may be a copy of an old one; it
keeps those away who never held a member's key. The link is up for the answerer with the
confirmation, and for the dialler with the first sealed packet: both then know that the other has
the keys of this session.

Each direction has a key of its own; packets are XChaCha20-Poly1305 with the number of the packet
as the nonce. The broker can drop packets and repeat them, and nothing else.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import nacl.bindings as sodium
import nacl.exceptions

from ....crypto.canonical import pack
from ....crypto.digest import digest
from ....crypto.errors import BadSignature, Malformed, Tampered
from ....crypto.identity import KEY_BYTES, SIGNATURE_BYTES, Entropy, Identity, verify
from .packets import VERSION, Kind

SESSION_BYTES = 16
_HEADER = struct.Struct(f">BB{SESSION_BYTES}sQ")
_OFFER = struct.Struct(f">BB{KEY_BYTES}s{SIGNATURE_BYTES}s")
_ANSWER = struct.Struct(f">BB{KEY_BYTES}s{KEY_BYTES}s{SIGNATURE_BYTES}s")
_CONFIRM = struct.Struct(f">BB{SESSION_BYTES}s{SIGNATURE_BYTES}s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Who speaks to whom: the network, and the keys of dialler and answerer."""

    network_id: bytes
    dialler: bytes
    answerer: bytes

    def signed(self, *ephemeral: bytes) -> bytes:
        """What a signature of the handshake is over."""
        return pack([self.network_id, self.dialler, self.answerer, *ephemeral])


class Channel:
    """The sealed packets of one session, from one end."""

    def __init__(self, session: bytes, outgoing_key: bytes, incoming_key: bytes) -> None:
        self.session = session
        self._outgoing_key = outgoing_key
        self._incoming_key = incoming_key
        self._number = 0

    def seal(self, kind: Kind, body: bytes) -> bytes:
        """A packet with ``body``; no two have the same number."""
        self._number += 1
        header = _HEADER.pack(VERSION, kind, self.session, self._number)
        return header + sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(
            body, header, self._number.to_bytes(24, "big"), self._outgoing_key
        )

    def open(self, packet: bytes) -> tuple[Kind, int, bytes]:
        """The kind, the number and the body of a packet of the other end.

        Raises Malformed when it is none, Tampered when it is not of this session or was changed.
        """
        if len(packet) < _HEADER.size:
            raise Malformed("a packet is too short")
        version, kind, session, number = _HEADER.unpack_from(packet)
        if version != VERSION or kind not in (Kind.DATA, Kind.STATE, Kind.BYE):
            raise Malformed("a packet has no form of this protocol's version")
        if session != self.session:
            raise Tampered("a packet is of another session")
        try:
            body = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
                packet[_HEADER.size :],
                packet[: _HEADER.size],
                number.to_bytes(24, "big"),
                self._incoming_key,
            )
        except nacl.exceptions.CryptoError:
            raise Tampered("a packet is not what was sealed") from None
        return Kind(kind), number, body


def kind_of(packet: bytes) -> Kind | None:
    """The kind of a packet; None when it is not of this version."""
    if len(packet) < 2 or packet[0] != VERSION or packet[1] not in Kind.__members__.values():
        return None
    return Kind(packet[1])


class Dial:
    """The dialler's side of one handshake."""

    def __init__(self, identity: Identity, pair: Pair, entropy: Entropy) -> None:
        self._identity = identity
        self._pair = pair
        self._public, self._secret = sodium.crypto_box_seed_keypair(entropy(KEY_BYTES))

    def offer(self) -> bytes:
        """The first packet."""
        signature = self._identity.sign("mqtt-offer", self._pair.signed(self._public))
        return _OFFER.pack(VERSION, Kind.OFFER, self._public, signature)

    def confirm(self, answer: bytes) -> tuple[Channel, bytes]:
        """The channel, and the third packet, when ``answer`` is the answer to this offer.

        Raises Malformed or BadSignature when it is not.
        """
        if len(answer) != _ANSWER.size:
            raise Malformed("an answer has another length")
        _, _, public, theirs, signature = _ANSWER.unpack(answer)
        if public != self._public:
            raise Malformed("an answer to another offer")
        signed = self._pair.signed(public, theirs)
        verify(self._pair.answerer, "mqtt-answer", signed, signature)
        session, forth, back = _keys(signed, self._secret, theirs)
        proof = self._identity.sign("mqtt-confirm", signed)
        return (
            Channel(session, outgoing_key=forth, incoming_key=back),
            _CONFIRM.pack(VERSION, Kind.CONFIRM, session, proof),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The answerer's side of one handshake: made by an offer, and waiting for its confirmation."""

    pair: Pair
    answer: bytes
    channel: Channel = field(repr=False)
    signed: bytes = field(repr=False)

    def check(self, confirm: bytes) -> None:
        """Raises Malformed or BadSignature unless ``confirm`` is the third packet."""
        if len(confirm) != _CONFIRM.size:
            raise Malformed("a confirmation has another length")
        _, _, session, signature = _CONFIRM.unpack(confirm)
        if session != self.channel.session:
            raise Malformed("a confirmation of another session")
        verify(self.pair.dialler, "mqtt-confirm", self.signed, signature)


def answer(identity: Identity, pair: Pair, offer: bytes, entropy: Entropy) -> Answered:
    """Answer an offer. Raises Malformed or BadSignature when it is not the dialler's."""
    if len(offer) != _OFFER.size:
        raise Malformed("an offer has another length")
    _, _, theirs, signature = _OFFER.unpack(offer)
    verify(pair.dialler, "mqtt-offer", pair.signed(theirs), signature)
    public, secret = sodium.crypto_box_seed_keypair(entropy(KEY_BYTES))
    signed = pair.signed(theirs, public)
    session, forth, back = _keys(signed, secret, theirs)
    proof = identity.sign("mqtt-answer", signed)
    return Answered(
        pair=pair,
        answer=_ANSWER.pack(VERSION, Kind.ANSWER, theirs, public, proof),
        channel=Channel(session, outgoing_key=back, incoming_key=forth),
        signed=signed,
    )


def _keys(signed: bytes, secret: bytes, theirs: bytes) -> tuple[bytes, bytes, bytes]:
    """The session id, the key from dialler to answerer, and the key back."""
    try:
        shared = sodium.crypto_scalarmult(secret, theirs)
    except (nacl.exceptions.CryptoError, RuntimeError):  # a key of small order
        raise BadSignature("an ephemeral key cannot be used") from None
    return (
        digest("mqtt-session", signed)[:SESSION_BYTES],
        digest("mqtt-key-forth", signed, shared),
        digest("mqtt-key-back", signed, shared),
    )
