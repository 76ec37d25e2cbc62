"""Who takes part: requests, certificates, bulletins, and the roster that they add up to.

A network has one root key, which may stay offline. A peer asks with a *join request*, signed by
its own key. The root answers with a *certificate*: this key is node number ``index``. Whom the
root no longer trusts it names in a *bulletin*, numbered by ``serial``, of which the highest
counts; the bulletin also carries the group key, sealed for each member who is still in. All
three prove themselves, so any peer may hand them to any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from .canonical import Packable, pack, unpack_fields
from .errors import Malformed, NotAMember, Revoked, Tampered, WrongNetwork
from .identity import (
    BOX_OVERHEAD_BYTES,
    KEY_BYTES,
    SIGNATURE_BYTES,
    Entropy,
    Identity,
    seal_box,
    short_id,
    verify,
)

NETWORK_ID_BYTES: Final = 16
GROUP_SECRET_BYTES: Final = 32
MAX_NAME_LENGTH: Final = 64
MAX_INDEX: Final = 2**31 - 1
_MAX_SMALL_BYTES = 1024  # a request or a certificate
_MAX_BULLETIN_BYTES = 32 * 2**20
_MAX_COUNT = 2**63 - 1


@dataclass(frozen=True, slots=True)
class GroupKey:
    """The secret that payloads are sealed with, shared by the members of one key epoch."""

    epoch: int
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != GROUP_SECRET_BYTES or not 0 < self.epoch < 2**32:
            raise ValueError("a group key is 32 bytes and an epoch from 1 on")

    @classmethod
    def generate(cls, epoch: int, entropy: Entropy) -> GroupKey:
        """A new key for ``epoch``; ``entropy(n)`` gives n unpredictable bytes."""
        return cls(epoch, entropy(GROUP_SECRET_BYTES))


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinRequest:
    """A peer's wish to be admitted: its name, its keys, and proof that it holds them."""

    name: str
    verify_key: bytes
    box_public: bytes
    signature: bytes = field(repr=False)

    @classmethod
    def make(cls, name: str, identity: Identity) -> JoinRequest:
        """The request of ``identity``. Raises ValueError when the name cannot be used."""
        if not is_name(name):
            raise ValueError(
                f"a name is 1 to {MAX_NAME_LENGTH} printable characters, no space at either end"
            )
        fields = (name, identity.verify_key, identity.box_public)
        return cls(
            name=name,
            verify_key=identity.verify_key,
            box_public=identity.box_public,
            signature=identity.sign("join-request", pack(fields)),
        )

    def to_bytes(self) -> bytes:
        """The request as a file or a message."""
        return pack(["join", self.name, self.verify_key, self.box_public, self.signature])

    @classmethod
    def from_bytes(cls, data: bytes) -> JoinRequest:
        """Read a request; it is not verified yet. Raises Malformed."""
        tag, name, key, box, signature = unpack_fields(
            data, str, str, bytes, bytes, bytes, max_bytes=_MAX_SMALL_BYTES
        )
        _expect(tag == "join", "a join request")
        _expect(is_name(name) and _are_keys(key, box), "a join request")
        _expect(len(signature) == SIGNATURE_BYTES, "a join request")
        return cls(name=name, verify_key=key, box_public=box, signature=signature)

    def verify(self) -> None:
        """Raises BadSignature when the holder of ``verify_key`` did not sign it."""
        fields = (self.name, self.verify_key, self.box_public)
        verify(self.verify_key, "join-request", pack(fields), self.signature)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """The root's word that a key belongs to a network, as node number ``index`` (from 0)."""

    network_id: bytes
    verify_key: bytes
    box_public: bytes
    index: int
    name: str
    signature: bytes = field(repr=False)

    @classmethod
    def issue(
        cls, root: Identity, request: JoinRequest, network_id: bytes, index: int
    ) -> Certificate:
        """Sign a certificate for whoever made ``request``, which must be verified."""
        fields = (network_id, request.verify_key, request.box_public, index, request.name)
        return cls(
            network_id=network_id,
            verify_key=request.verify_key,
            box_public=request.box_public,
            index=index,
            name=request.name,
            signature=root.sign("certificate", pack(fields)),
        )

    def to_bytes(self) -> bytes:
        """The certificate as a file or a message."""
        return pack(["certificate", *self._fields(), self.signature])

    @classmethod
    def from_bytes(cls, data: bytes) -> Certificate:
        """Read a certificate; it is not verified yet. Raises Malformed."""
        tag, network_id, key, box, index, name, signature = unpack_fields(
            data, str, bytes, bytes, bytes, int, str, bytes, max_bytes=_MAX_SMALL_BYTES
        )
        _expect(tag == "certificate", "a certificate")
        _expect(len(network_id) == NETWORK_ID_BYTES and _are_keys(key, box), "a certificate")
        _expect(0 <= index <= MAX_INDEX and is_name(name), "a certificate")
        _expect(len(signature) == SIGNATURE_BYTES, "a certificate")
        return cls(
            network_id=network_id,
            verify_key=key,
            box_public=box,
            index=index,
            name=name,
            signature=signature,
        )

    def verify(self, root_key: bytes, network_id: bytes) -> None:
        """Check that the root of this network signed it.

        Raises:
            WrongNetwork: it is for another network.
            BadSignature: the root did not sign it.
        """
        _same_network(self.network_id, network_id)
        verify(root_key, "certificate", pack(self._fields()), self.signature)

    def _fields(self) -> tuple[Packable, ...]:
        return (self.network_id, self.verify_key, self.box_public, self.index, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulletin:
    """The root's latest news: who is out, and the group key for all who are in.

    ``revoked`` is sorted; ``sealed_keys`` holds (verify key, group secret sealed for that
    member), sorted by verify key. The bulletin with the highest ``serial`` counts.
    """

    network_id: bytes
    serial: int
    revoked: tuple[bytes, ...]
    key_epoch: int
    sealed_keys: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    signature: bytes = field(repr=False)

    @classmethod
    def issue(
        cls,
        root: Identity,
        *,
        network_id: bytes,
        serial: int,
        members: Iterable[Certificate],
        revoked: Iterable[bytes],
        key: GroupKey,
        entropy: Entropy,
        previous: Bulletin | None = None,
    ) -> Bulletin:
        """Sign a bulletin that hands ``key`` to the ``members`` who are not ``revoked``.

        Boxes of ``previous`` are used again where the key is the same, so admitting one member
        seals one box. Raises ValueError when a member's ``box_public`` is no key.
        """
        out = frozenset(revoked)
        reusable = previous is not None and previous.key_epoch == key.epoch
        boxes = dict(previous.sealed_keys) if previous is not None and reusable else {}
        keys = {c.verify_key: c.box_public for c in members if c.verify_key not in out}
        sealed = [
            (member, boxes.get(member) or seal_box(keys[member], key.secret, entropy))
            for member in sorted(keys)
        ]
        fields = (network_id, serial, tuple(sorted(out)), key.epoch, tuple(sealed))
        return cls(
            network_id=network_id,
            serial=serial,
            revoked=tuple(sorted(out)),
            key_epoch=key.epoch,
            sealed_keys=tuple(sealed),
            signature=root.sign("bulletin", pack(fields)),
        )

    def to_bytes(self) -> bytes:
        """The bulletin as a file or a message; some 120 bytes for each member."""
        return pack(["bulletin", *self._fields(), self.signature])

    @classmethod
    def from_bytes(cls, data: bytes) -> Bulletin:
        """Read a bulletin; it is not verified yet. Raises Malformed."""
        tag, network_id, serial, revoked, epoch, sealed, signature = unpack_fields(
            data, str, bytes, int, list, int, list, bytes, max_bytes=_MAX_BULLETIN_BYTES
        )
        _expect(tag == "bulletin", "a bulletin")
        _expect(len(network_id) == NETWORK_ID_BYTES, "a bulletin")
        _expect(0 < serial <= _MAX_COUNT and 0 < epoch < 2**32, "a bulletin")
        _expect(len(signature) == SIGNATURE_BYTES, "a bulletin")
        _expect(_are_keys(*revoked) and _ascend(revoked), "a bulletin")
        _expect(all(_is_sealed_key(item) for item in sealed), "a bulletin")
        _expect(_ascend([key for key, _ in sealed]), "a bulletin")
        return cls(
            network_id=network_id,
            serial=serial,
            revoked=tuple(revoked),
            key_epoch=epoch,
            sealed_keys=tuple((key, box) for key, box in sealed),
            signature=signature,
        )

    def verify(self, root_key: bytes, network_id: bytes) -> None:
        """Check that the root of this network signed it.

        Raises:
            WrongNetwork: it is for another network.
            BadSignature: the root did not sign it.
        """
        _same_network(self.network_id, network_id)
        verify(root_key, "bulletin", pack(self._fields()), self.signature)

    def group_key(self, identity: Identity) -> GroupKey | None:
        """The group key, opened by a member; None when there is no box for it.

        Raises Tampered when the box does not open, or does not hold a key.
        """
        for member, box in self.sealed_keys:
            if member == identity.verify_key:
                secret = identity.open_box(box)
                if len(secret) != GROUP_SECRET_BYTES:
                    raise Tampered("the sealed box does not hold a group key")
                return GroupKey(self.key_epoch, secret)
        return None

    def _fields(self) -> tuple[Packable, ...]:
        return (self.network_id, self.serial, self.revoked, self.key_epoch, self.sealed_keys)


class Roster:
    """Who is in, as far as this peer has heard.

    Of two certificates with one node number the first that is heard counts, unless its holder is
    revoked: then the number is free again, so that a lost device can be replaced.
    """

    def __init__(self, network_id: bytes, root_key: bytes) -> None:
        self.network_id = network_id
        self.root_key = root_key
        self.bulletin: Bulletin | None = None
        self._certificates: dict[bytes, Certificate] = {}
        self._by_index: dict[int, Certificate] = {}  # of those not revoked
        self._revoked: frozenset[bytes] = frozenset()

    def admit(self, certificate: Certificate) -> bool:
        """Take note of a certificate, also of a revoked member's; whether it is new.

        Raises:
            WrongNetwork, BadSignature: it is not this network's.
            NotAMember: another member has that number, or this key has another certificate.
        """
        key = certificate.verify_key
        known = self._certificates.get(key)
        if known == certificate:
            return False
        certificate.verify(self.root_key, self.network_id)
        if known is not None:
            raise NotAMember(f"{short_id(key)} shows a second, different certificate")
        if not self.is_revoked(key):
            holder = self._by_index.setdefault(certificate.index, certificate)
            if holder is not certificate:
                raise NotAMember(
                    f"{short_id(key)} claims node number {certificate.index}, "
                    f"which {short_id(holder.verify_key)} holds"
                )
        self._certificates[key] = certificate
        return True

    def apply(self, bulletin: Bulletin) -> bool:
        """Take note of a bulletin; whether it is newer than the last. Older ones are ignored.

        Raises:
            WrongNetwork, BadSignature: it is not this network's.
        """
        bulletin.verify(self.root_key, self.network_id)
        if self.bulletin is not None and bulletin.serial <= self.bulletin.serial:
            return False
        self.bulletin = bulletin
        # Once out, always out, whatever a later bulletin says: who was cut off may hold old state.
        self._revoked |= frozenset(bulletin.revoked)
        for index, holder in list(self._by_index.items()):
            if holder.verify_key in self._revoked:
                del self._by_index[index]
        return True

    def certificate(self, verify_key: bytes) -> Certificate | None:
        """The certificate of a key, revoked or not; None when it was never shown."""
        return self._certificates.get(verify_key)

    def at(self, index: int) -> Certificate | None:
        """The member with a node number; None when there is none, or none was heard of."""
        return self._by_index.get(index)

    def members(self) -> list[Certificate]:
        """Those who are in and not revoked, by node number."""
        return [self._by_index[index] for index in sorted(self._by_index)]

    def is_revoked(self, verify_key: bytes) -> bool:
        """Whether the root has withdrawn the certificate of this key."""
        return verify_key in self._revoked

    def require(self, verify_key: bytes) -> Certificate:
        """The certificate of a member. Raises Revoked or NotAMember for anybody else."""
        self.require_unrevoked(verify_key)
        certificate = self._certificates.get(verify_key)
        if certificate is None:
            raise NotAMember(f"{short_id(verify_key)} has shown no certificate of this network")
        return certificate

    def require_unrevoked(self, verify_key: bytes) -> None:
        """Raises Revoked for a key whose certificate was withdrawn."""
        if self.is_revoked(verify_key):
            raise Revoked(f"the certificate of {short_id(verify_key)} was withdrawn")


def is_name(name: str) -> bool:
    """Whether a peer may be called so: 1 to 64 printable characters, no space at either end."""
    return 0 < len(name) <= MAX_NAME_LENGTH and name.isprintable() and name == name.strip()


def _are_keys(*keys: object) -> bool:
    return all(type(key) is bytes and len(key) == KEY_BYTES for key in keys)


def _is_sealed_key(item: object) -> bool:
    if type(item) is not list or len(item) != 2 or not _are_keys(item[0]):
        return False
    box = item[1]
    return type(box) is bytes and len(box) == GROUP_SECRET_BYTES + BOX_OVERHEAD_BYTES


def _ascend(keys: list[bytes]) -> bool:
    return all(a < b for a, b in pairwise(keys))


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise Malformed(f"not {what} of this version")


def _same_network(theirs: bytes, ours: bytes) -> None:
    if theirs != ours:
        raise WrongNetwork(f"it is for the network {theirs.hex()}, this one is {ours.hex()}")
