"""Beacons: what a member says of itself to all others: that it is there, and where.

A beacon carries its member's certificate and signature, so it proves itself by whatever path it
comes. Of each member the one with the highest number counts; numbers grow for as long as the
peer lives, as those of its messages do. So the order in which beacons come does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..crypto.canonical import pack, unpack_fields
from ..crypto.errors import Malformed
from ..crypto.identity import SIGNATURE_BYTES, Identity, verify
from ..crypto.membership import Certificate

DOMAIN = "beacon"
MAX_ADDRESSES = 8
MAX_ADDRESS_LENGTH = 128
MAX_BEACON_BYTES = 2048
_NUMBERS = 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class Beacon:
    """A member's word on itself. ``addresses`` are multiaddrs; none where a broker leads to it."""

    certificate: Certificate
    number: int
    addresses: tuple[str, ...]
    signature: bytes

    @property
    def key(self) -> bytes:
        """The verify key of the member that it is about."""
        return self.certificate.verify_key

    @classmethod
    def make(
        cls, identity: Identity, certificate: Certificate, number: int, addresses: Iterable[str]
    ) -> Beacon:
        """A signed beacon; what is too much or too long of the addresses is left out."""
        short = [each for each in addresses if _is_address(each)][:MAX_ADDRESSES]
        signed = _signed_bytes(certificate.to_bytes(), number, short)
        return cls(
            certificate=certificate,
            number=number,
            addresses=tuple(short),
            signature=identity.sign(DOMAIN, signed),
        )

    def to_bytes(self) -> bytes:
        """The portable form, canonical msgpack; at most some 1.5 kB."""
        certificate = self.certificate.to_bytes()
        return pack([certificate, self.number, list(self.addresses), self.signature])

    @classmethod
    def from_bytes(cls, data: bytes) -> Beacon:
        """Read a beacon; it is not verified yet. Raises Malformed."""
        certificate, number, addresses, signature = unpack_fields(
            data, bytes, int, list, bytes, max_bytes=MAX_BEACON_BYTES
        )
        if not 0 < number < _NUMBERS or len(signature) != SIGNATURE_BYTES:
            raise Malformed("not a beacon of this version")
        if len(addresses) > MAX_ADDRESSES or not all(map(_is_address, addresses)):
            raise Malformed("a beacon has few addresses, each of them short")
        return cls(
            certificate=Certificate.from_bytes(certificate),
            number=number,
            addresses=tuple(addresses),
            signature=signature,
        )

    def verify(self, root_key: bytes, network_id: bytes) -> None:
        """Check that it is a member's of this network and that the member signed it.

        Raises:
            WrongNetwork: it is for another network.
            BadSignature: the root did not sign the certificate, or the member not the beacon.
        """
        self.certificate.verify(root_key, network_id)
        signed = _signed_bytes(self.certificate.to_bytes(), self.number, list(self.addresses))
        verify(self.key, DOMAIN, signed, self.signature)


def _signed_bytes(certificate: bytes, number: int, addresses: list[str]) -> bytes:
    return pack([certificate, number, addresses])


def _is_address(text: object) -> bool:
    """Whether it looks like a multiaddr; a driver decides whether it can be used."""
    return (
        isinstance(text, str)
        and text.startswith("/")
        and len(text) <= MAX_ADDRESS_LENGTH
        and text.isascii()
        and text.isprintable()
    )
