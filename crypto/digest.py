"""The one hash function of the protocol: BLAKE3 of 32 bytes, separated by domain.

The hash is taken over

    length of the domain (1 byte) | domain
    and for each part: its length (8 bytes, little endian) | part

so no two different lists of parts hash the same bytes, and a digest made for one purpose never
passes for a digest made for another. Why BLAKE3: docs/decisions/0017.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blake3 import blake3

if TYPE_CHECKING:
    from typing_extensions import Buffer

DIGEST_BYTES = 32


def digest(domain: str, *parts: Buffer) -> bytes:
    """The 32-byte digest of ``parts`` for the purpose that ``domain`` names.

    Parts are any contiguous buffers (bytes, memoryview, a NumPy array of any shape); they are
    hashed where they lie, without a copy, as the bytes they consist of. Hash numbers only in a
    byte order that is fixed (``<i4``), or two machines disagree.

    Raises:
        ValueError: the domain is empty, not ASCII, or longer than 255 characters.
        BufferError, TypeError: a part is not a contiguous buffer.
    """
    return _hasher(domain, *parts).digest()


def stream(domain: str, seed: Buffer, size_bytes: int) -> bytes:
    """As many bytes as are wanted that look random, alike for all who have the ``seed``.

    BLAKE3 as an extendable-output function, over what ``digest`` hashes. Raises as that does.
    """
    return _hasher(domain, seed).digest(length=size_bytes)


def _hasher(domain: str, *parts: Buffer) -> blake3:
    state = blake3(domain_prefix(domain))
    for part in parts:
        view = memoryview(part)
        if not view.c_contiguous:
            raise BufferError("only a C-contiguous buffer can be hashed without a copy")
        state.update(view.nbytes.to_bytes(8, "little"))
        if view.nbytes:  # a view of nothing cannot be cast
            state.update(view.cast("B"))
    return state


def domain_prefix(domain: str) -> bytes:
    """The domain with its length in front, as it stands before what is hashed or signed.

    Raises:
        ValueError: the domain is empty, not ASCII, or longer than 255 characters.
    """
    if not domain.isascii() or not 0 < len(domain) < 256:
        raise ValueError(f"a domain is 1 to 255 ASCII characters, not {domain!r}")
    return bytes([len(domain)]) + domain.encode("ascii")
