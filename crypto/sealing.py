"""Sealing payloads, so that a relay or a broker outside the network reads and changes nothing.

XChaCha20-Poly1305 in the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizar 2015, "Online
Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance"): the payload is cut into chunks of
64 KiB, each sealed with the number of the chunk and a mark for the last one in its nonce, and with
the same associated data. Chunks stay in the processor's cache, and no second copy of a large
payload is ever made.

Each payload has a key of its own, the BLAKE2b of the group key and the payload's 24-byte nonce,
because STREAM's chunk numbers leave too few bytes of the chunk nonce to draw at random. The nonce
must not repeat for a group key; 24 random bytes do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import nacl.bindings as sodium
import nacl.exceptions

from .digest import digest
from .errors import Tampered

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .membership import GroupKey

NONCE_BYTES: Final = 24
CHUNK_BYTES: Final = 64 * 1024
TAG_BYTES: Final = 16


def sealed_size(size: int) -> int:
    """How many bytes a payload of ``size`` bytes has once it is sealed (never fewer than 16)."""
    return size + TAG_BYTES * _chunks(size, CHUNK_BYTES)


def seal(
    key: GroupKey,
    header: bytes,
    body: Buffer,
    nonce: bytes,
    out: bytearray | memoryview,
    offset: int = 0,
) -> int:
    """Seal ``body`` into ``out`` from ``offset`` on, ``sealed_size`` bytes; returns the end.

    Args:
        key: the group key of the current epoch.
        header: associated data: not sealed, but ``unseal`` fails unless it is the same.
        body: any contiguous buffer; it must not overlap ``out``.
        nonce: 24 bytes, never used before with this key.
        out: where to write; it must be long enough.
        offset: where in ``out`` to begin.

    Raises:
        ValueError: ``nonce`` is not 24 bytes long, or ``out`` is too short.
    """
    source = memoryview(body).cast("B")
    end = offset + sealed_size(source.nbytes)
    if offset < 0 or end > len(out):
        raise ValueError(f"{len(out)} bytes are too few, {end} are needed")
    message_key = _message_key(key, nonce)
    target = memoryview(out)
    chunks = _chunks(source.nbytes, CHUNK_BYTES)
    at = offset
    for number in range(chunks):
        chunk = bytes(source[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES])
        sealed = sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(
            chunk, header, _chunk_nonce(number, number == chunks - 1), message_key
        )
        target[at : at + len(sealed)] = sealed
        at += len(sealed)
    return at


def unseal(key: GroupKey, header: bytes, sealed: Buffer, nonce: bytes) -> bytearray:
    """The payload that ``seal`` sealed with the same key, header and nonce.

    Raises:
        Tampered: a byte of it, of the header or of the nonce is not what was sealed, or chunks
            are missing, repeated or in another order. Nothing of the payload is given out.
    """
    source = memoryview(sealed).cast("B")
    step = CHUNK_BYTES + TAG_BYTES
    chunks = _chunks(source.nbytes, step)
    size = source.nbytes - chunks * TAG_BYTES
    if size < 0 or sealed_size(size) != source.nbytes or len(nonce) != NONCE_BYTES:
        raise Tampered(f"{source.nbytes} bytes are no sealed payload")
    message_key = _message_key(key, nonce)
    body = bytearray(size)
    for number in range(chunks):
        try:
            chunk = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
                bytes(source[number * step : (number + 1) * step]),
                header,
                _chunk_nonce(number, number == chunks - 1),
                message_key,
            )
        except nacl.exceptions.CryptoError:
            raise Tampered(f"chunk {number} of the payload is not what was sealed") from None
        body[number * CHUNK_BYTES : number * CHUNK_BYTES + len(chunk)] = chunk
    return body


def _chunks(size: int, chunk: int) -> int:
    return max(1, -(-size // chunk))  # an empty payload has one, empty chunk


def _message_key(key: GroupKey, nonce: bytes) -> bytes:
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"a nonce has {NONCE_BYTES} bytes, not {len(nonce)}")
    return digest("payload-key", key.secret, nonce)


def _chunk_nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(23, "little") + bytes([last])
