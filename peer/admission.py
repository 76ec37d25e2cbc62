"""What makes a peer a member, in one file: network file, certificate and bulletin.

The root's owner hands it over by any means; it holds nothing secret except the group key, which
is sealed for each member.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..crypto.canonical import pack, unpack_fields
from ..crypto.errors import ConfigError, IdentityError, RemoteError
from ..crypto.files import make_folder, write_atomic
from ..crypto.identity import Identity, short_id
from ..crypto.membership import Bulletin, Certificate
from ..crypto.network import NetworkAdmin, NetworkFile

_MAX_BYTES = 64 * 2**20  # a bulletin holds some 120 bytes for each member


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The network, this peer's place in it, and the root's latest bulletin."""

    network: NetworkFile
    certificate: Certificate
    bulletin: Bulletin

    def to_bytes(self) -> bytes:
        """The file's content: canonical MessagePack of the three files' bytes."""
        return pack(
            [self.network.to_bytes(), self.certificate.to_bytes(), self.bulletin.to_bytes()]
        )

    @classmethod
    def from_bytes(cls, data: bytes, *, where: str) -> Admission:
        """Read and check what ``to_bytes`` wrote; ``where`` names the file in messages.

        Raises ConfigError: damaged, or not signed by the root of the network that it holds.
        """
        try:
            network, certificate, bulletin = unpack_fields(
                data, bytes, bytes, bytes, max_bytes=_MAX_BYTES
            )
            admission = cls(
                network=NetworkFile.from_bytes(network, where=where),
                certificate=Certificate.from_bytes(certificate),
                bulletin=Bulletin.from_bytes(bulletin),
            )
            for signed in (admission.certificate, admission.bulletin):
                signed.verify(admission.network.root_key, admission.network.network_id)
        except RemoteError as error:
            raise ConfigError(
                f"this is not an admission to a network, or it was damaged: {error.what}",
                where=where,
                fix="ask the network's owner for the file that `tidings network admit` wrote",
            ) from None
        return admission

    @classmethod
    def load(cls, path: Path, identity: Identity) -> Admission:
        """Read the admission at ``path``, which must be made out to ``identity``.

        Raises:
            ConfigError: missing, damaged or not signed by its network's root.
            IdentityError: it is another peer's.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"the admission cannot be read: {error.strerror}",
                where=str(path),
                fix="check the path",
            ) from None
        admission = cls.from_bytes(data, where=str(path))
        certificate = admission.certificate
        if certificate.verify_key != identity.verify_key:
            raise IdentityError(
                f"this admission is made out to '{certificate.name}' "
                f"({short_id(certificate.verify_key)}), and the key here is "
                f"{short_id(identity.verify_key)}",
                where=str(path),
                fix="use the admission that was made from this peer's own request",
            )
        if certificate.box_public != identity.box_public:
            raise IdentityError(
                "this admission names another sealing key than this peer has",
                where=str(path),
                fix="ask for a new admission with this peer's own request",
            )
        return admission


def write_admission(admin: NetworkAdmin, certificate: Certificate, folder: Path) -> Path:
    """Write the member's ``NAME.admission``, with the latest bulletin, into ``folder``.

    An older one is replaced. Returns the file. Raises StorageError.
    """
    admission = Admission(network=admin.network, certificate=certificate, bulletin=admin.bulletin)
    make_folder(folder)
    file = folder / f"{certificate.name}.admission"
    write_atomic(file, admission.to_bytes())
    return file
