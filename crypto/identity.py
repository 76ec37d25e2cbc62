"""Who a peer is: one 32-byte seed.

From it come the Ed25519 key (RFC 8032) that signs the peer's feed and names the peer, the libp2p
PeerId (the same key in another spelling), and an X25519 key (RFC 7748) that sealed boxes are
addressed to. The X25519 key is derived from the seed by a hash of its own domain rather than
converted from the Ed25519 key, so neither use says anything about the other.
"""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final, NoReturn

import nacl.bindings as sodium
import nacl.exceptions

from .digest import digest, domain_prefix
from .errors import BadSignature, IdentityError, Malformed, StorageError, Tampered
from .files import write_new

SEED_BYTES: Final = 32
KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
BOX_OVERHEAD_BYTES: Final = 48  # an ephemeral X25519 key and a Poly1305 tag

Entropy = Callable[[int], bytes]

# libp2p signs with the same key; nothing that it signs begins with these bytes.
_SIGNED_BY_TIDINGS = b"tidings-signature-v1\0"
# Protobuf {type: Ed25519, data: 32 bytes} as an identity multihash: peer-ids.md of libp2p/specs.
_PEER_ID_PREFIX = bytes.fromhex("002408011220")
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class Identity:
    """The secret side of a peer. Its text form shows the public name only.

    Attributes:
        verify_key: 32 bytes, Ed25519; the peer's id everywhere.
        box_public: 32 bytes, X25519; what ``seal_box`` addresses.
    """

    __slots__ = ("_box_secret", "_seed", "_sign_secret", "box_public", "verify_key")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise IdentityError(f"a secret key has {SEED_BYTES} bytes, this one has {len(seed)}")
        self._seed = bytes(seed)
        self.verify_key, self._sign_secret = sodium.crypto_sign_seed_keypair(self._seed)
        self.box_public, self._box_secret = sodium.crypto_box_seed_keypair(
            digest("x25519-key", self._seed)
        )

    @classmethod
    def from_seed(cls, seed: bytes) -> Identity:
        """The identity of a 32-byte seed. Raises IdentityError when it has another length."""
        return cls(seed)

    @classmethod
    def generate(cls, entropy: Entropy = os.urandom) -> Identity:
        """A new identity; ``entropy(n)`` gives n unpredictable bytes."""
        return cls(entropy(SEED_BYTES))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Identity:
        """Read the seed that ``save`` wrote.

        Raises:
            IdentityError: there is no such file, it is not 32 bytes long, or others than its
                owner may read it.
        """
        return cls(read_secret(path, SEED_BYTES))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the seed to a new file that only its owner may read (mode 0600).

        Raises:
            IdentityError: there is a file already; a secret key is never overwritten.
            StorageError: the file cannot be written.
        """
        try:
            write_new(path, self._seed, 0o600)
        except StorageError as error:
            if not isinstance(error.__cause__, FileExistsError):
                raise
            raise IdentityError(
                "there is a secret key already, and it is never overwritten",
                where=str(path),
                fix="use it, or move it away first",
            ) from error

    @property
    def seed(self) -> bytes:
        """The secret itself, 32 bytes: for the libp2p host, which makes its own key of it."""
        return self._seed

    def sign(self, domain: str, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature of ``message`` for the purpose that ``domain`` names."""
        signed = sodium.crypto_sign(_signed_bytes(domain, message), self._sign_secret)
        return signed[:SIGNATURE_BYTES]

    def open_box(self, box: bytes) -> bytes:
        """What ``seal_box`` sealed for this identity. Raises Tampered when it did not."""
        try:
            return sodium.crypto_box_seal_open(bytes(box), self.box_public, self._box_secret)
        except nacl.exceptions.CryptoError:
            raise Tampered("the sealed box is not for this peer, or was changed") from None

    def __repr__(self) -> str:
        return f"Identity({short_id(self.verify_key)})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an identity is not pickled: its seed stays where it is")


def seal_box(box_public: bytes, message: bytes, entropy: Entropy = os.urandom) -> bytes:
    """``message`` sealed for the holder of ``box_public``, 48 bytes longer.

    The format is libsodium's ``crypto_box_seal``; it is composed here so that chance is an
    argument. Raises ValueError when ``box_public`` cannot be a key.
    """
    ephemeral_public, ephemeral_secret = sodium.crypto_box_seed_keypair(entropy(SEED_BYTES))
    nonce = sodium.crypto_generichash_blake2b_salt_personal(
        ephemeral_public + box_public, digest_size=sodium.crypto_box_NONCEBYTES
    )
    try:
        box = sodium.crypto_box(message, nonce, box_public, ephemeral_secret)
    except nacl.exceptions.CryptoError as error:
        raise ValueError(f"not an X25519 key: {error}") from None
    return ephemeral_public + box


def verify(verify_key: bytes, domain: str, message: bytes, signature: bytes) -> None:
    """Check that the holder of ``verify_key`` signed ``message`` for the purpose ``domain``.

    libsodium's rules: no keys of small order, no second form of a valid signature.

    Raises:
        BadSignature: it did not.
    """
    if len(signature) == SIGNATURE_BYTES and len(verify_key) == KEY_BYTES:
        try:
            sodium.crypto_sign_open(signature + _signed_bytes(domain, message), verify_key)
        except nacl.exceptions.BadSignatureError:
            pass
        else:
            return
    raise BadSignature(f"the signature is not that of {verify_key[:5].hex()}")


@lru_cache(maxsize=4096)
def short_id(verify_key: bytes) -> str:
    """Eight letters for people and logs: the first 5 bytes in lower-case base 32 (RFC 4648).

    Not unique against an attacker who searches for a key with the same letters; compare keys.
    """
    return base64.b32encode(verify_key[:5]).decode("ascii").lower()


def libp2p_peer_id(verify_key: bytes) -> str:
    """The libp2p PeerId of the key, as text: ``12D3Koo...``."""
    number = int.from_bytes(_PEER_ID_PREFIX + verify_key)
    letters = ""
    while number:
        number, rest = divmod(number, 58)
        letters = _BASE58[rest] + letters
    return "1" + letters  # base 58 writes the leading zero byte as a 1


def peer_id_to_verify_key(text: str) -> bytes:
    """The key that a PeerId of an Ed25519 key holds. Raises Malformed for any other text."""
    number = 0
    for letter in text[:64]:
        number = number * 58 + _BASE58.find(letter)
    size = len(_PEER_ID_PREFIX) + KEY_BYTES
    if 0 <= number < 256**size:
        key = number.to_bytes(size).removeprefix(_PEER_ID_PREFIX)
        if len(key) == KEY_BYTES and libp2p_peer_id(key) == text:
            return key
    raise Malformed(f"{text[:64]!r} is not the PeerId of an Ed25519 key")


def read_secret(path: str | os.PathLike[str], size: int | None = None) -> bytes:
    """The bytes of a secret file, after checking that only its owner may read it.

    Raises:
        IdentityError: it is missing, is not a file, does not have ``size`` bytes, or is open to
            others; the message says what to do.
    """
    where = str(path)
    try:
        with Path(path).open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read()
    except FileNotFoundError:
        raise IdentityError(
            "there is no secret key here", where=where, fix="check the path, or make a new peer"
        ) from None
    except OSError as error:
        raise IdentityError(
            f"the secret key cannot be read: {error.strerror}", where=where, fix="check its owner"
        ) from error
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise IdentityError(
            "others on this machine can read the secret key",
            where=where,
            fix=f"run: chmod 600 {where}; if others may have read it, make a new one",
        )
    if size is not None and len(data) != size:
        raise IdentityError(
            f"a secret key has {size} bytes, this file has {len(data)}",
            where=where,
            fix="restore it from a backup; a damaged key cannot be repaired",
        )
    return data


def _signed_bytes(domain: str, message: bytes) -> bytes:
    return _SIGNED_BY_TIDINGS + domain_prefix(domain) + message
