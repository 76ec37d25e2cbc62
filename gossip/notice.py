"""Notices: what an author leaves where others find it while it sleeps.

A notice holds the author's certificate and its newest signed entry, so whoever finds one knows at
once what to pull, whoever may hold it. Both prove themselves; an old notice can come back, so it
says how far a feed is at least, and never how far it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..crypto.canonical import pack, unpack_fields
from ..crypto.errors import Malformed
from ..crypto.membership import Certificate
from .messages import MAX_HEADER_BYTES, NETWORK_BYTES, VERSION, SignedEntry

DOMAIN = "notice"
MAX_BODY_BYTES = 2048  # a certificate and an entry take some 700


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """How far a member's feed is, in its own words."""

    certificate: Certificate
    entry: SignedEntry

    @property
    def author(self) -> bytes:
        """The verify key of the member whose feed it is about."""
        return self.entry.header.author

    def pack_body(self) -> bytes:
        """What is sealed: certificate and entry, canonical msgpack."""
        return pack([self.certificate.to_bytes(), self.entry.pack()])

    @classmethod
    def parse_body(cls, body: bytes) -> Notice:
        """Read what was sealed; the certificate is not verified yet.

        Raises Malformed, or BadSignature when the author did not sign the entry.
        """
        certificate, entry = unpack_fields(body, bytes, bytes, max_bytes=MAX_BODY_BYTES)
        return cls(certificate=Certificate.from_bytes(certificate), entry=SignedEntry.unpack(entry))


def pack_header(network_id: bytes, body_digest: bytes) -> bytes:
    """What stands before the seal and is signed: it names no entry, for a broker can read it."""
    return pack([DOMAIN, VERSION, network_id, body_digest])


def parse_header(packed: bytes) -> tuple[bytes, bytes]:
    """The network's id and the digest of the sealed body; raises Malformed."""
    kind, version, network_id, body_digest = unpack_fields(
        packed, str, int, bytes, bytes, max_bytes=MAX_HEADER_BYTES
    )
    if (kind, version, len(network_id)) != (DOMAIN, VERSION, NETWORK_BYTES):
        raise Malformed("the header of a notice has another form")
    return network_id, body_digest
