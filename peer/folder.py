"""A peer's folder: where each file stands, and that one process at a time runs it.

peer.toml       the owner's choices (peer/config.py)
identity.key    the secret seed, mode 0600
NAME.request    what the peer asks a network's root with
admission       what the network's root signed for this peer (peer/admission.py)
tidings.db      feeds, checkpoints and the privacy ledger (SQLite)
costs.json      what rounds cost in privacy, worked out before (peer/costs.py)
events.jsonl    what happened; events-NNNNNN.jsonl.gz are its older parts
lock            held while the peer runs; names the process
moving          only while a peer is being moved here (peer/moving.py): from which folder
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..crypto.errors import ConfigError, StorageError
from ..crypto.files import exclusive, make_folder, storage_error, write_atomic, write_new
from ..crypto.identity import Identity
from ..crypto.ledger import Ledger
from ..crypto.membership import JoinRequest
from .admission import Admission
from .config import PeerConfig
from .settings_files import read_settings, to_toml


@dataclass(frozen=True, slots=True)
class PeerFolder:
    """The files of one peer. Making this object touches nothing; see ``create`` and ``open``."""

    path: Path

    @property
    def config_file(self) -> Path:
        """``peer.toml``."""
        return self.path / "peer.toml"

    @property
    def identity_file(self) -> Path:
        """The secret key."""
        return self.path / "identity.key"

    def request_file(self, name: str) -> Path:
        """The join request of the peer, which is called ``name``."""
        return self.path / f"{name}.request"

    @property
    def admission_file(self) -> Path:
        """Network file, certificate and bulletin."""
        return self.path / "admission"

    @property
    def database_file(self) -> Path:
        """Feeds, checkpoints and the privacy ledger."""
        return self.path / "tidings.db"

    @property
    def costs_file(self) -> Path:
        """What rounds cost in privacy, as far as it was worked out."""
        return self.path / "costs.json"

    @property
    def events_file(self) -> Path:
        """The event log."""
        return self.path / "events.jsonl"

    @property
    def lock_file(self) -> Path:
        """Locked while a process runs this peer; holds its process id."""
        return self.path / "lock"

    @property
    def moving_file(self) -> Path:
        """Here while a move to this folder is not finished; holds the path of the old one."""
        return self.path / "moving"

    @classmethod
    def create(
        cls, path: Path, config: PeerConfig, identity: Identity, *, text: str | None = None
    ) -> PeerFolder:
        """Make the folder of a new peer; ``text`` is ``config`` as a file with comments.

        Raises:
            ConfigError: there is a peer in this folder already; it is left alone.
            StorageError: the folder cannot be made or written; nothing of it stays.
        """
        folder = cls(path)
        request = folder.request_file(config.name)
        for file in (folder.config_file, folder.identity_file, request):
            if os.path.lexists(file):
                raise ConfigError(
                    f"there is a peer in this folder already ({file.name})",
                    where=str(path),
                    fix="choose another folder, or use the peer that is there",
                )
        is_new = not os.path.lexists(path)
        make_folder(path)
        try:
            identity.save(folder.identity_file)
            content = to_toml(config) if text is None else text
            write_new(folder.config_file, content.encode())
            write_new(request, JoinRequest.make(config.name, identity).to_bytes())
        except StorageError:  # an IdentityError would be another process's key, just made
            with suppress(OSError):
                folder.identity_file.unlink(missing_ok=True)
                folder.config_file.unlink(missing_ok=True)
                request.unlink(missing_ok=True)
                if is_new:
                    path.rmdir()
            raise
        return folder

    @classmethod
    def open(cls, path: Path) -> PeerFolder:
        """The folder of a peer that exists. Raises ConfigError when there is none."""
        folder = cls(path)
        try:
            present = folder.config_file.is_file()
        except OSError as error:
            raise storage_error(error, path) from None
        if not present and folder.moving_file.is_file():
            begun = folder.moving_file.read_text().strip()
            raise ConfigError(
                f"the move of a peer from {begun} to this folder is not finished",
                where=str(path),
                fix=f"let it carry on: tidings peer move {begun} {path}",
            )
        if not present:
            raise ConfigError(
                "there is no peer in this folder (no peer.toml)",
                where=str(path),
                fix=f"make one: tidings peer init {path} --name NAME",
            )
        return folder

    def config(self) -> PeerConfig:
        """The owner's choices. Raises ConfigError."""
        return read_settings(PeerConfig, self.config_file)

    def identity(self) -> Identity:
        """The secret key. Raises IdentityError when it is missing, damaged or open to others."""
        return Identity.load(self.identity_file)

    def admission(self) -> Admission:
        """What makes this peer a member, verified against its key.

        Raises:
            ConfigError: not admitted yet, or the file is damaged.
            IdentityError: it was made out to another key.
        """
        if not self.admission_file.exists():
            raise ConfigError(
                "this peer is not admitted to a network yet",
                where=str(self.path),
                fix="have the network's owner run `tidings network admit` on its join request, "
                f"then run: tidings peer join {self.path} FILE",
            )
        return Admission.load(self.admission_file, self.identity())

    def join(self, admission: Admission) -> None:
        """Store a verified admission, in place of an older one of the same network.

        Raises ConfigError when the peer is a member of another network (its feed and its
        privacy ledger belong to that one), has a newer bulletin already, or was moved away.
        """
        self.must_be_here()
        if self.admission_file.exists():
            present = self.admission()
            if present.network.network_id != admission.network.network_id:
                raise ConfigError(
                    f"this peer is a member of the network '{present.network.name}' already",
                    where=str(self.path),
                    fix="make a new peer for another network: tidings peer init",
                )
            if present.bulletin.serial > admission.bulletin.serial:
                raise ConfigError(
                    f"this admission (bulletin {admission.bulletin.serial}) is older than the one "
                    f"that the peer has (bulletin {present.bulletin.serial})",
                    where=str(self.path),
                    fix="nothing needs to be done",
                )
        write_atomic(self.admission_file, admission.to_bytes())

    def must_be_here(self) -> None:
        """Raises MovedAway, with where to, when the peer was moved to another folder."""
        if self.database_file.exists():
            with closing(Ledger(self.database_file)) as ledger:
                ledger.must_be_here()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Hold the folder while the peer runs; the system lets go of it when the process dies.

        Raises StorageError, naming the process that holds it.
        """
        with ExitStack() as held:
            try:
                held.enter_context(exclusive(self.lock_file, "running this peer"))
            except StorageError as error:
                if not isinstance(error.__cause__, BlockingIOError):
                    raise
                raise StorageError(
                    f"process {self._holder()} is running this peer",
                    where=str(self.path),
                    fix="stop that process first; two would sign different news with one number",
                ) from None
            self._note_holder()
            yield

    def is_running(self) -> bool:
        """Whether a process runs this peer now."""
        if not self.lock_file.exists():
            return False
        try:
            with exclusive(self.lock_file, "running this peer"):
                return False
        except StorageError:
            return True

    def _holder(self) -> str:
        try:
            return self.lock_file.read_text().strip() or "(unknown)"
        except OSError:
            return "(unknown)"

    def _note_holder(self) -> None:
        try:
            self.lock_file.write_text(f"{os.getpid()}\n")
        except OSError as error:
            raise storage_error(error, self.lock_file) from None
