"""Where a privacy ledger lives, so that a copy of it knows that it is one, and where it moved to.

A ledger's first home is written down when it is made. A move appends another: first to the ledger
that is left, which is nobody's home from then on, then to the one that is moved to. Whatever
instant a power cut comes at, at most one of the two is at home.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .digest import digest
from .files import storage_error

ANY_MACHINE = "any"
"""The machine of a home whose disk goes into another machine: the first one that releases."""

_MACHINE_ID_FILES = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_MOVES = (
    """CREATE TABLE IF NOT EXISTS ledger_moves (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        path TEXT NOT NULL,
        head BLOB NOT NULL,
        machine TEXT NOT NULL,
        device TEXT NOT NULL,
        filesystem TEXT NOT NULL,
        inode TEXT NOT NULL)""",
    """CREATE TRIGGER IF NOT EXISTS ledger_moves_never_shrink BEFORE DELETE ON ledger_moves
        BEGIN SELECT RAISE(ABORT, 'the moves of a privacy ledger stay'); END""",
    """CREATE TRIGGER IF NOT EXISTS ledger_moves_never_change BEFORE UPDATE ON ledger_moves
        BEGIN SELECT RAISE(ABORT, 'the moves of a privacy ledger stay'); END""",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Where a ledger lives: machine id, device and file system ids, and inode of its file.

    Device numbers may change with a restart of the machine, file system ids with a remount; a
    copy changes the inode or the machine.
    """

    machine: str
    device: str
    filesystem: str
    inode: str

    def is_same_place(self, other: Home) -> bool:
        """Whether both describe one file in one place."""
        if self.inode != other.inode or self.machine not in (ANY_MACHINE, other.machine):
            return False
        return self.device == other.device or self.filesystem == other.filesystem

    @property
    def hash(self) -> bytes:
        """What the chain of a ledger that was made here begins with (32 bytes)."""
        parts = (self.machine, self.device, self.filesystem, self.inode)
        return digest("ledger-home", *(part.encode() for part in parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A ledger went to ``home``, the file ``path``, when its last row had the hash ``head``."""

    path: str
    head: bytes
    home: Home


def home_of(path: Path | None) -> Home:
    """Where ``path`` is now; a ledger in memory has no place. Raises StorageError."""
    if path is None:
        return Home(machine="", device="", filesystem="", inode="")
    try:
        status = os.stat(path)
        filesystem = f"{os.statvfs(path).f_fsid:x}" if hasattr(os, "statvfs") else ""
    except OSError as error:  # the folder was taken away under a running peer
        raise storage_error(error, path) from error
    return Home(
        machine=_machine_id(),
        device=f"{status.st_dev:x}",
        filesystem=filesystem,
        inode=str(status.st_ino),
    )


def moves_in(connection: sqlite3.Connection) -> list[Move]:
    """All moves that a ledger has noted, oldest first."""
    tables = connection.execute("SELECT name FROM sqlite_master WHERE name = 'ledger_moves'")
    if tables.fetchone() is None:
        return []
    columns = "path, head, machine, device, filesystem, inode"
    query = f"SELECT {columns} FROM ledger_moves ORDER BY number"
    return [
        Move(
            path=path,
            head=head,
            home=Home(machine=machine, device=device, filesystem=filesystem, inode=inode),
        )
        for path, head, machine, device, filesystem, inode in connection.execute(query)
    ]


def note_move(connection: sqlite3.Connection, move: Move) -> None:
    """Append a move; the transaction is the caller's."""
    for statement in _MOVES:
        connection.execute(statement)
    home = move.home
    connection.execute(
        "INSERT INTO ledger_moves (path, head, machine, device, filesystem, inode)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (move.path, move.head, home.machine, home.device, home.filesystem, home.inode),
    )


def _machine_id() -> str:
    """A hash of the machine's id where it has a readable one (Linux), else nothing."""
    for place in _MACHINE_ID_FILES:
        with suppress(OSError):
            return digest("ledger-machine", place.read_bytes().strip()).hex()
    return ""
