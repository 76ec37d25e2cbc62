"""The folder of a network's root, from which members are admitted and revoked.

    network.json        the public file (crypto/network_file.py)
    root.key            the root's secret seed, mode 0600
    group-keys          the group keys of all epochs, mode 0600
    members/*.cert      the certificates that were given out
    bulletin.bin        the latest bulletin

It is needed only to create the network, to admit and to revoke; it may be kept offline.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from .canonical import pack, unpack
from .errors import BadSignature, ConfigError, IdentityError, RemoteError
from .files import exclusive, make_folder, write_atomic, write_new
from .identity import Entropy, Identity, read_secret, short_id
from .membership import Bulletin, Certificate, GroupKey, JoinRequest
from .network_file import NetworkFile

__all__ = ["NetworkAdmin", "NetworkFile"]

_MAX_KEYS_BYTES = 2**20
_Signed = TypeVar("_Signed", Bulletin, Certificate)


class NetworkAdmin:
    """The root at work in its folder. One process at a time changes a folder (a lock file)."""

    def __init__(
        self, folder: Path, network: NetworkFile, root: Identity, entropy: Entropy
    ) -> None:
        self.folder = folder
        self.network = network
        self._root = root
        self._entropy = entropy
        self._keys: dict[int, GroupKey] = {}
        self._certificates: dict[bytes, Certificate] = {}
        self._reload()

    @classmethod
    def create(
        cls,
        folder: str | os.PathLike[str],
        name: str,
        rules: Mapping[str, Any],
        model: Mapping[str, int | str],
        *,
        entropy: Entropy = os.urandom,
    ) -> Self:
        """Make a network and its root key in ``folder``, which is made if it is missing.

        Raises:
            ConfigError: there is a network already, or a value cannot be used.
            StorageError: the folder cannot be written.
        """
        path = Path(folder)
        root = Identity.generate(entropy)
        network = NetworkFile(name=name, root_key=root.verify_key, rules=rules, model=model)
        make_folder(path)
        with exclusive(path / ".lock", "changing this network"):
            for file in ("network.json", "root.key", "group-keys", "bulletin.bin"):
                if (path / file).exists():
                    raise ConfigError(
                        f"there is a network here already ('{file}')",
                        where=str(path),
                        fix="choose another folder; a network is never overwritten",
                    )
            key = GroupKey.generate(1, entropy)
            bulletin = Bulletin.issue(
                root,
                network_id=network.network_id,
                serial=1,
                members=(),
                revoked=(),
                key=key,
                entropy=entropy,
            )
            root.save(path / "root.key")
            write_new(path / "group-keys", pack([(key.epoch, key.secret)]), 0o600)
            make_folder(path / "members")
            write_new(path / "bulletin.bin", bulletin.to_bytes())
            # Last: a folder without it is no network yet.
            write_new(path / "network.json", network.to_bytes())
        return cls(path, network, root, entropy)

    @classmethod
    def open(cls, folder: str | os.PathLike[str], *, entropy: Entropy = os.urandom) -> Self:
        """The network in ``folder``.

        Raises:
            ConfigError: there is none, or a file of it is missing, damaged or of another network.
            IdentityError: its secret files are missing, open to others, or of another network.
        """
        path = Path(folder)
        file = path / "network.json"
        network = NetworkFile.from_bytes(_read_file(file), where=str(file))
        root = Identity.load(path / "root.key")
        if root.verify_key != network.root_key:
            raise IdentityError(
                "the root key of another network",
                where=str(path / "root.key"),
                fix="put the key beside the network.json that was made with it",
            )
        return cls(path, network, root, entropy)

    def members(self) -> list[Certificate]:
        """The certificates of those admitted and not revoked, by node number."""
        revoked = set(self.bulletin.revoked)
        return sorted(
            (c for c in self._certificates.values() if c.verify_key not in revoked),
            key=lambda c: c.index,
        )

    def admit(self, request: JoinRequest, *, max_nodes: int | None = None) -> Certificate:
        """Give the next free node number to whoever made ``request``, and the group key.

        Admitting a member again gives the same certificate. Afterwards ``bulletin`` is newer.

        Raises:
            ConfigError: the request is forged, of a revoked key, in a name that another member
                has, or there are ``max_nodes`` members already.
            StorageError: the folder cannot be written; nobody was admitted.
        """
        return self.admit_all([request], max_nodes=max_nodes)[0]

    def admit_all(
        self, requests: Iterable[JoinRequest], *, max_nodes: int | None = None
    ) -> list[Certificate]:
        """``admit`` for several, in order, with one bulletin at the end."""
        with exclusive(self.folder / ".lock", "changing this network"):
            self._reload()
            try:
                return [self._certify(request, max_nodes) for request in requests]
            finally:  # those before a bad request are in
                self._hand_out_keys()

    def revoke(self, verify_key: bytes) -> Bulletin:
        """Put a member out, and give all others a new group key that it does not get.

        Raises:
            ConfigError: it is no member, or was revoked before.
            StorageError: the folder cannot be written; nobody was revoked.
        """
        with exclusive(self.folder / ".lock", "changing this network"):
            self._reload()
            if verify_key not in {c.verify_key for c in self.members()}:
                raise ConfigError(
                    f"{short_id(verify_key)} is not a member (any more)", where=str(self.folder)
                )
            key = GroupKey.generate(self.bulletin.key_epoch + 1, self._entropy)
            # The key first: a bulletin whose key was lost could admit nobody.
            keys = {**self._keys, key.epoch: key}
            stored = pack([(epoch, keys[epoch].secret) for epoch in sorted(keys)])
            write_atomic(self.folder / "group-keys", stored, 0o600)
            self._keys = keys
            self._publish((*self.bulletin.revoked, verify_key), key)
        return self.bulletin

    def _certify(self, request: JoinRequest, max_nodes: int | None) -> Certificate:
        name = request.name
        try:
            request.verify()
        except BadSignature:
            raise ConfigError(f"the join request of '{name}' is damaged or forged") from None
        if request.verify_key in self.bulletin.revoked:
            raise ConfigError(
                f"the key of '{name}' was revoked", fix="make a new peer, with a key of its own"
            )
        known = self._certificates.get(request.verify_key)
        if known is not None:
            return known
        taken = {c.index for c in self.members()}
        if name in {c.name for c in self.members()}:
            raise ConfigError(
                f"another member is called '{name}'", fix="give the new peer another name"
            )
        index = next(n for n in range(len(taken) + 1) if n not in taken)
        if max_nodes is not None and index >= max_nodes:
            raise ConfigError(
                f"all {max_nodes} places of the network are taken",
                fix="revoke a member first, or make a network of more nodes",
            )
        certificate = Certificate.issue(self._root, request, self.network.network_id, index)
        self._check_box(certificate)
        file = f"{index:05}-{request.verify_key.hex()[:16]}.cert"
        write_new(self.folder / "members" / file, certificate.to_bytes())
        self._certificates[request.verify_key] = certificate
        return certificate

    def _check_box(self, certificate: Certificate) -> None:
        try:
            self._issue((certificate,), (), self._keys[self.bulletin.key_epoch])
        except ValueError:
            raise ConfigError(
                f"the join request of '{certificate.name}' holds no usable sealing key"
            ) from None

    def _hand_out_keys(self) -> None:
        """Publish a bulletin if a member has no box in the latest, also after a crash."""
        served = {key for key, _ in self.bulletin.sealed_keys}
        if served != {c.verify_key for c in self.members()}:
            self._publish(self.bulletin.revoked, self._keys[self.bulletin.key_epoch])

    def _publish(self, revoked: Iterable[bytes], key: GroupKey) -> None:
        bulletin = self._issue(self._certificates.values(), revoked, key)
        write_atomic(self.folder / "bulletin.bin", bulletin.to_bytes())
        self.bulletin = bulletin

    def _issue(
        self, members: Iterable[Certificate], revoked: Iterable[bytes], key: GroupKey
    ) -> Bulletin:
        return Bulletin.issue(
            self._root,
            network_id=self.network.network_id,
            serial=self.bulletin.serial + 1,
            members=members,
            revoked=revoked,
            key=key,
            previous=self.bulletin,
            entropy=self._entropy,
        )

    def _reload(self) -> None:
        """Take up what the folder holds; another process may have changed it."""
        secret = read_secret(self.folder / "group-keys")
        self._keys = {key.epoch: key for key in _read_keys(secret, self.folder / "group-keys")}
        self.bulletin = self._read_signed(Bulletin, self.folder / "bulletin.bin")
        if self.bulletin.key_epoch not in self._keys:
            raise ConfigError(
                f"it does not hold the key of epoch {self.bulletin.key_epoch}",
                where=str(self.folder / "group-keys"),
                fix="restore the file from a backup",
            )
        self._certificates = {}
        for file in sorted((self.folder / "members").glob("*.cert")):
            certificate = self._read_signed(Certificate, file)
            self._certificates[certificate.verify_key] = certificate
        for member, _ in self.bulletin.sealed_keys:
            if member not in self._certificates:  # its node number would be given out twice
                raise ConfigError(
                    f"the certificate of {short_id(member)} is missing",
                    where=str(self.folder / "members"),
                    fix="restore the file from a backup",
                )

    def _read_signed(self, kind: type[_Signed], path: Path) -> _Signed:
        try:
            signed = kind.from_bytes(_read_file(path))
            signed.verify(self.network.root_key, self.network.network_id)
        except RemoteError as error:
            raise ConfigError(
                f"damaged, or not of this network: {error.what}",
                where=str(path),
                fix="restore the file from a backup",
            ) from None
        return signed


def _read_keys(data: bytes, path: Path) -> list[GroupKey]:
    try:
        rows: Any = unpack(data, max_bytes=_MAX_KEYS_BYTES)
        return [GroupKey(epoch, secret) for epoch, secret in rows]
    except (RemoteError, TypeError, ValueError):
        raise IdentityError(
            "the group keys are damaged", where=str(path), fix="restore the file from a backup"
        ) from None


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"it cannot be read: {error.strerror}", where=str(path), fix="check the path"
        ) from None
