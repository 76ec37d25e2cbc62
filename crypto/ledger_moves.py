"""Rows for a ledger that was moved: where to, and who alone may carry on from there.

A move stands in the chain between two releases and is written in both ledgers, first in the one
that is left. It names the new file's place and the digest of a nonce that only the new file holds:
the old file, and any copy of either, lacks one of the two.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from .digest import digest
from .ledger_rows import Home

NONCE_BYTES = 32
# Made with the first move: a ledger that never moved has neither table.
SCHEMA = (
    """CREATE TABLE IF NOT EXISTS ledger_moves (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        after INTEGER NOT NULL,
        machine TEXT NOT NULL, device TEXT NOT NULL, filesystem TEXT NOT NULL, inode TEXT NOT NULL,
        folder TEXT NOT NULL,
        seal BLOB NOT NULL,
        previous BLOB NOT NULL,
        hash BLOB NOT NULL)""",
    """CREATE TRIGGER IF NOT EXISTS ledger_moves_never_shrink BEFORE DELETE ON ledger_moves
        BEGIN SELECT RAISE(ABORT, 'the privacy ledger never shrinks'); END""",
    """CREATE TRIGGER IF NOT EXISTS ledger_moves_never_change BEFORE UPDATE ON ledger_moves
        BEGIN SELECT RAISE(ABORT, 'the privacy ledger never changes'); END""",
    "CREATE TABLE IF NOT EXISTS ledger_arrival (nonce BLOB NOT NULL)",
)
COLUMNS = "number, after, machine, device, filesystem, inode, folder, seal, previous, hash"
_TYPES = (int, int, str, str, str, str, str, bytes, bytes, bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The ledger moved to ``home`` after its release ``after`` (0: before the first).

    ``folder`` is for people only; ``seal`` is the digest of the new file's nonce (32 bytes).
    """

    number: int
    after: int
    home: Home
    folder: str
    seal: bytes
    previous: bytes

    @property
    def hash(self) -> bytes:
        """What the next row, of either kind, names as the one before (32 bytes)."""
        numbers = struct.pack("<qq", self.number, self.after)
        texts = (part.encode() for part in (*_place(self.home), self.folder))
        return digest("ledger-move", self.previous, numbers, self.seal, *texts)

    def row(self) -> tuple[Any, ...]:
        """Its columns, as in ``COLUMNS``."""
        place = _place(self.home)
        return (
            *(self.number, self.after, *place, self.folder),
            *(self.seal, self.previous, self.hash),
        )

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> Move:
        """A row that was read. Raises ValueError when it was changed."""
        if tuple(type(value) for value in row) != _TYPES:
            raise ValueError("a value of a wrong type")
        move = cls(
            number=row[0],
            after=row[1],
            home=Home(machine=row[2], device=row[3], filesystem=row[4], inode=row[5]),
            folder=row[6],
            seal=row[7],
            previous=row[8],
        )
        if move.hash != row[9]:
            raise ValueError("its hash is another")
        return move


def seal_of(nonce: bytes) -> bytes:
    """What a move says of the nonce, which itself stays in the new file."""
    return digest("ledger-nonce", nonce)


def _place(home: Home) -> tuple[str, str, str, str]:
    return home.machine, home.device, home.filesystem, home.inode
