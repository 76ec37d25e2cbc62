"""The rows of the privacy ledger: tables, home, and how each row's hash binds the one before."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Literal

from .accounting import PrivacyEvent
from .digest import digest

Unit = Literal["record", "peer", "none"]

SCHEMA = (
    """CREATE TABLE ledger (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        round INTEGER NOT NULL,
        unit TEXT NOT NULL,
        mechanism TEXT NOT NULL,
        noise_multiplier REAL NOT NULL,
        sampling_rate REAL NOT NULL,
        steps INTEGER NOT NULL,
        delta REAL NOT NULL,
        previous BLOB NOT NULL,
        hash BLOB NOT NULL)""",
    """CREATE TRIGGER ledger_never_shrinks BEFORE DELETE ON ledger
        BEGIN SELECT RAISE(ABORT, 'the privacy ledger never shrinks'); END""",
    """CREATE TRIGGER ledger_never_changes BEFORE UPDATE ON ledger
        BEGIN SELECT RAISE(ABORT, 'the privacy ledger never changes'); END""",
    """CREATE TABLE ledger_home (
        machine TEXT NOT NULL, device TEXT NOT NULL, filesystem TEXT NOT NULL, inode TEXT NOT NULL)
    """,
)
COLUMNS = (
    "number, round, unit, mechanism, noise_multiplier, sampling_rate, steps, delta, previous, hash"
)
_TYPES = (int, int, str, str, float, float, int, float, bytes, bytes)


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
        if (self.machine, self.inode) != (other.machine, other.inode):
            return False
        return self.device == other.device or self.filesystem == other.filesystem


def home_hash(home: Home) -> bytes:
    """The root of a ledger's chain (32 bytes)."""
    parts = (home.machine, home.device, home.filesystem, home.inode)
    return digest("ledger-home", *(part.encode() for part in parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One row: what was released in ``round``, and the chain's hashes (32 bytes each).

    ``delta`` is the one that the budget was kept at then; it does not change what was spent.
    """

    number: int
    round: int
    unit: Unit
    event: PrivacyEvent
    delta: float
    previous: bytes
    hash: bytes


def read_entry(row: tuple[Any, ...]) -> LedgerEntry:
    """A row as in ``COLUMNS``. Raises ValueError when it is not one of a ledger."""
    number, round, unit, mechanism, noise_multiplier, sampling_rate, steps, delta = row[:8]
    if tuple(type(value) for value in row) != _TYPES:
        raise ValueError("a value of a wrong type")
    if unit not in ("record", "peer", "none"):
        raise ValueError(f"unknown unit {unit!r}")
    return LedgerEntry(
        number=number,
        round=round,
        unit=unit,
        event=PrivacyEvent(
            mechanism=mechanism,
            noise_multiplier=noise_multiplier,
            sampling_rate=sampling_rate,
            steps=steps,
        ),
        delta=delta,
        previous=row[8],
        hash=row[9],
    )


def fields_of(entry: LedgerEntry) -> tuple[Any, ...]:
    """The row's columns before the hash."""
    event = entry.event
    return (
        entry.number,
        entry.round,
        entry.unit,
        event.mechanism,
        event.noise_multiplier,
        event.sampling_rate,
        event.steps,
        entry.delta,
        entry.previous,
    )


def row_hash(fields: tuple[Any, ...]) -> bytes:
    """The hash of a row's first nine columns, the last of which is the hash before."""
    number, round, unit, mechanism, noise_multiplier, sampling_rate, steps, delta, previous = fields
    numbers = struct.pack("<qqqddd", number, round, steps, noise_multiplier, sampling_rate, delta)
    return digest("ledger-row", previous, numbers, unit.encode(), mechanism.encode())
