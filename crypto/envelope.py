"""The layout of a frame: a signed header in the clear, a sealed body behind it.

    magic 4 | header length u16 | key epoch u32 | base u64 | header | signature 64 | nonce 24 | body

All numbers are little endian. Everything before the body is the associated data of the seal
(crypto/sealing.py), so a relay outside the network can read who speaks but change nothing, and
the body not at all. ``base`` says where the body's road starts; it is authenticated by the seal,
not signed, because a road may be another member's than the author's (gossip/messages.py).

This module cuts frames apart and puts them together. Whether one is to be believed is decided in
gossip/wire.py.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from . import sealing
from .errors import Malformed, OverLong
from .membership import GroupKey

MAGIC = b"TDG1"
SIGNATURE_BYTES = 64
NONCE_BYTES = 24
MAX_HEADER_BYTES = 1024
_PREFIX = struct.Struct("<4sHIQ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The parts of a frame, views into it; nothing is checked but the layout."""

    header: bytes
    signature: bytes
    epoch: int
    base: int
    nonce: bytes
    associated: memoryview = field(repr=False)
    sealed: memoryview = field(repr=False)


def frame_size(header_size: int, body_size: int) -> int:
    """How many bytes a frame with this header and body has."""
    return (
        _PREFIX.size + header_size + SIGNATURE_BYTES + NONCE_BYTES + sealing.sealed_size(body_size)
    )


def seal_frame(
    *,
    header: bytes,
    signature: bytes,
    base: int,
    body: bytes | bytearray,
    key: GroupKey,
    nonce: bytes,
) -> bytearray:
    """A frame with `body` sealed in it; the body is copied once."""
    frame = bytearray(frame_size(len(header), len(body)))
    prefix = _PREFIX.pack(MAGIC, len(header), key.epoch, base) + header + signature + nonce
    frame[: len(prefix)] = prefix
    sealing.seal(key, prefix, body, nonce, frame, len(prefix))
    return frame


def split_frame(frame: bytes | bytearray, max_bytes: int) -> Envelope:
    """Cut `frame` apart without touching its body.

    Raises OverLong when it has more than `max_bytes`, Malformed when it is no frame.
    """
    if len(frame) > max_bytes:
        raise OverLong(f"{len(frame)} bytes, the limit is {max_bytes}")
    if len(frame) < _PREFIX.size:
        raise Malformed(f"{len(frame)} bytes are too few for a frame")
    magic, header_size, epoch, base = _PREFIX.unpack_from(frame)
    if magic != MAGIC:
        raise Malformed("it does not begin like a frame")
    if header_size > MAX_HEADER_BYTES:
        raise OverLong(f"a header of {header_size} bytes, the limit is {MAX_HEADER_BYTES}")
    signature_at = _PREFIX.size + header_size
    nonce_at = signature_at + SIGNATURE_BYTES
    body_at = nonce_at + NONCE_BYTES
    if len(frame) < body_at + sealing.sealed_size(0):
        raise Malformed("it ends before its body")
    view = memoryview(frame)
    return Envelope(
        header=bytes(view[_PREFIX.size : signature_at]),
        signature=bytes(view[signature_at:nonce_at]),
        epoch=epoch,
        base=base,
        nonce=bytes(view[nonce_at:body_at]),
        associated=view[:body_at],
        sealed=view[body_at:],
    )


def open_body(envelope: Envelope, key: GroupKey) -> bytearray:
    """The body of a frame; raises Tampered when it is not what was sealed."""
    return sealing.unseal(key, bytes(envelope.associated), envelope.sealed, envelope.nonce)
