"""The retained head of a feed: what its author broadcast last, in few bytes.

It holds the opening of the newest broadcast, not the broadcast. A late joiner cannot use the
newest delta, which builds on the ones before, and would download it with every connection; what
it needs is to know how far the author is, and that is in the signed header with which the frames
of Tidings begin. The head is signed by the author as well, so that neither the broker nor another
member can put up a false one; an old one can come back, so it is a hint and never a state.
"""

from __future__ import annotations

from dataclasses import dataclass

from ....crypto.canonical import pack, unpack_fields
from ....crypto.digest import DIGEST_BYTES
from ....crypto.errors import Malformed
from ....crypto.identity import Identity, verify
from .packets import INSTANCE_BYTES, VERSION

OPENING_BYTES = 1280  # the longest signed header of a frame with what stands around it
MAX_HEAD_BYTES = OPENING_BYTES + 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The newest broadcast of a peer: its number in this run, its size, digest and opening."""

    instance: bytes
    number: int
    size: int
    digest: bytes
    opening: bytes

    def sign(self, identity: Identity, network_id: bytes) -> bytes:
        """The message for the head topic."""
        body = pack([VERSION, self.instance, self.number, self.size, self.digest, self.opening])
        return pack([body, identity.sign("mqtt-head", pack([network_id, body]))])

    @classmethod
    def read(cls, message: bytes, author: bytes, network_id: bytes) -> Head:
        """Raises Malformed, or BadSignature when ``author`` did not sign it."""
        body, signature = unpack_fields(message, bytes, bytes, max_bytes=MAX_HEAD_BYTES)
        verify(author, "mqtt-head", pack([network_id, body]), signature)
        version, instance, number, size, name, opening = unpack_fields(
            body, int, bytes, int, int, bytes, bytes, max_bytes=MAX_HEAD_BYTES
        )
        lengths = (len(instance), len(name))
        if version != VERSION or lengths != (INSTANCE_BYTES, DIGEST_BYTES) or min(number, size) < 0:
            raise Malformed("a head has no form of this protocol's version")
        return cls(instance=instance, number=number, size=size, digest=name, opening=opening)
