"""The privacy ledger: every release of a peer, on disk before it leaves, never taken back.

Rows are only ever appended (triggers refuse anything else) and each holds the hash of the one
before. The ledger shares the peer's database file with its feeds; each has its own connection.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from .accounting import PrivacyEvent
from .digest import digest
from .errors import StorageError
from .files import storage_error
from .ledger_home import ANY_MACHINE, Home, Move, home_of, moves_in, note_move

Unit = Literal["record", "peer", "none"]

BUSY_TIMEOUT_S = 10.0

_SCHEMA = (
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
_COLUMNS = (
    "number, round, unit, mechanism, noise_multiplier, sampling_rate, steps, delta, previous, hash"
)
_TYPES = (int, int, str, str, float, float, int, float, bytes, bytes)


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


class Ledger:
    """The ledger in the database file ``path``, made if missing; None keeps it in memory.

    May be used from several threads. Opening checks the whole chain.

    Raises:
        StorageError: the file cannot be opened or is damaged.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._path = None if path is None else Path(path)
        self._lock = threading.Lock()
        with self._storage():
            self._connection = _connect(self._path)
        try:
            with self._storage():
                self._home = self._find_home()
            self._head = self.verify()
        except BaseException:
            self._connection.close()
            raise

    def append(self, event: PrivacyEvent, round: int, *, unit: Unit, delta: float) -> LedgerEntry:
        """Write a release; returns when it is on the disk (fsync), and not before.

        Raises:
            StorageError: it could not be written, and nothing was; or another process writes
                to the same ledger.
        """
        with self._lock, self._storage(), self._transaction():
            self._settle()
            last = self._last()
            if last != self._head:
                raise StorageError(
                    "another process writes to the same privacy ledger",
                    where=self._where,
                    fix="run one peer in one folder",
                )
            number, previous = last[0] + 1, last[1]
            fields = (
                number,
                round,
                unit,
                event.mechanism,
                float(event.noise_multiplier),
                float(event.sampling_rate),
                event.steps,
                float(delta),
                previous,
            )
            entry = _entry((*fields, _row_hash(fields)))
            self._connection.execute(
                f"INSERT INTO ledger ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*fields, entry.hash),
            )
        # Only now: the transaction above has been committed.
        self._head = (entry.number, entry.hash)
        return entry

    def entries(self) -> list[LedgerEntry]:
        """All rows, oldest first.

        Raises:
            StorageError: the file cannot be read, or a row is not one of a ledger.
        """
        with self._lock, self._storage():
            rows = self._connection.execute(f"SELECT {_COLUMNS} FROM ledger ORDER BY number")
            return [self._read(row) for row in rows]

    def head_hash(self) -> bytes:
        """The hash of the last row (32 bytes); with no rows, that of the ledger's home."""
        return self._head[1]

    def verify(self) -> tuple[int, bytes]:
        """Check the whole chain; returns the number of rows and the hash of the last.

        Raises:
            StorageError: names the first row that is missing, changed or out of place.
        """
        number, previous = 0, self._home.hash
        hashes = {previous}
        for entry in self.entries():
            number += 1
            if entry.number != number or entry.previous != previous:
                raise self._damaged(number, "is missing or was put in")
            if entry.hash != _row_hash(_fields(entry)):
                raise self._damaged(number, "was changed")
            previous = entry.hash
            hashes.add(previous)
        with self._lock, self._storage():
            # SQLite remembers the largest number ever given, so a cut-off end shows as well.
            given = self._connection.execute(
                "SELECT seq FROM sqlite_sequence WHERE name = 'ledger'"
            ).fetchone()
        if given is not None and given[0] > number:
            raise self._damaged(number + 1, "is missing")
        if any(move.head not in hashes for move in self._moves()):
            raise self._damaged(number, "is not the one that this ledger was moved with")
        return number, previous

    def is_copy(self) -> bool:
        """Whether this file lives elsewhere than where it was made, or moved to.

        The original may go on releasing, so what a copy has written is not all that was spent.
        A ledger in memory is never a copy.
        """
        if self._path is None:
            return False
        return not self._present_home().is_same_place(home_of(self._path))

    def moved_to(self) -> str | None:
        """The file that this ledger was moved to, when it is not this one any more.

        Raises:
            StorageError: the file cannot be read.
        """
        moves = self._moves()
        return moves[-1].path if moves and self.is_copy() else None

    def leave_for(self, copy: Path, *, any_machine: bool = False) -> None:
        """Give this home up for ever; returns when that is on the disk.

        ``copy`` is a whole copy of this file, synced. It is at home after ``arrive_from``, in this
        machine alone or, with ``any_machine``, in the first one in which it releases something.

        Raises:
            StorageError: it could not be written; or this ledger is not at home.
        """
        home = home_of(copy)
        if any_machine:
            home = replace(home, machine=ANY_MACHINE)
        if self.is_copy():
            raise StorageError(
                "this folder is a copy, so it cannot say what was spent",
                where=self._where,
                fix="move the original",
            )
        with self._lock, self._storage(), self._transaction():
            note_move(
                self._connection, Move(path=str(copy.absolute()), head=self._head[1], home=home)
            )

    def arrive_from(self, left: Ledger) -> None:
        """Be at home here, as ``left`` says that this file is; nothing happens when it is already.

        Raises:
            StorageError: it could not be written; ``left`` was moved to another file, or released
                more than this copy knows of.
        """
        moves = left._moves()
        here = self._path is not None and bool(moves)
        if not here or not moves[-1].home.is_same_place(home_of(self._path)):
            raise StorageError("this ledger was not moved here", where=self._where)
        if len(self._moves()) >= len(moves):
            return
        if not self._head[1] == left._head[1] == moves[-1].head:
            raise self._damaged(self._head[0], "is not the last of the ledger that was left")
        with self._lock, self._storage(), self._transaction():
            note_move(self._connection, moves[-1])

    def close(self) -> None:
        """Close the file; all that was appended is on the disk already."""
        with self._lock:
            self._connection.close()

    @property
    def _where(self) -> str:
        return "privacy ledger" if self._path is None else str(self._path)

    def _damaged(self, number: int, what: str) -> StorageError:
        return StorageError(
            f"row {number} of the privacy ledger {what}",
            where=self._where,
            fix="what this peer has spent is no longer known; start a new peer in a new folder",
        )

    def _find_home(self) -> Home:
        """The home that was written down when the ledger was made; makes the ledger if need be."""
        home = self._stored_home()
        if home is None:
            with self._transaction():
                home = self._stored_home() or self._make()
        return home

    def _stored_home(self) -> Home | None:
        tables = self._connection.execute(
            "SELECT name FROM sqlite_master WHERE name = 'ledger_home'"
        )
        if tables.fetchone() is None:
            return None
        query = "SELECT machine, device, filesystem, inode FROM ledger_home"
        row = self._connection.execute(query).fetchone()
        if row is None:
            raise self._damaged(0, "is missing")
        return Home(machine=row[0], device=row[1], filesystem=row[2], inode=row[3])

    def _make(self) -> Home:
        for statement in _SCHEMA:
            self._connection.execute(statement)
        home = home_of(self._path)
        self._connection.execute(
            "INSERT INTO ledger_home VALUES (?, ?, ?, ?)",
            (home.machine, home.device, home.filesystem, home.inode),
        )
        return home

    def _moves(self) -> list[Move]:
        with self._lock, self._storage():
            return moves_in(self._connection)

    def _present_home(self) -> Home:
        moves = self._moves()
        return moves[-1].home if moves else self._home

    def _settle(self) -> None:
        """Keep a ledger that came in on a disk to the machine that it first releases in."""
        moves = moves_in(self._connection)
        if moves and moves[-1].home.machine == ANY_MACHINE:
            home = replace(moves[-1].home, machine=home_of(self._path).machine)
            note_move(self._connection, replace(moves[-1], head=self._head[1], home=home))

    def _last(self) -> tuple[int, bytes]:
        row = self._connection.execute(
            "SELECT number, hash FROM ledger ORDER BY number DESC LIMIT 1"
        ).fetchone()
        return (0, self._home.hash) if row is None else (row[0], row[1])

    def _read(self, row: tuple[Any, ...]) -> LedgerEntry:
        try:
            return _entry(row)
        except (TypeError, ValueError) as error:
            raise self._damaged(row[0], f"cannot be read: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing; the commit is a sync to the disk (synchronous=FULL)."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # a full disk has rolled it back already
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _storage(self) -> Iterator[None]:
        """Turns what SQLite and the file system raise into a StorageError."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the extended part
            what, fix = _EXPLAINED.get(code, (str(error), "check the disk and the file"))
            raise StorageError(what, where=self._where, fix=fix) from error
        except OSError as error:
            raise storage_error(error, self._where) from error


_EXPLAINED = {
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space and start again"),
    sqlite3.SQLITE_READONLY: ("it cannot be written", "check its owner and mode"),
    sqlite3.SQLITE_CANTOPEN: (
        "it cannot be opened",
        "check its folder and the permissions",
    ),
    sqlite3.SQLITE_BUSY: ("another process keeps it locked", "run one peer in one folder"),
    sqlite3.SQLITE_NOTADB: ("it is not a database", "check the path"),
    sqlite3.SQLITE_CORRUPT: ("the database is damaged", "start a new peer in a new folder"),
}


def _connect(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        # The file also holds the private model: nobody else may read it.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(
        ":memory:" if path is None else path,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,  # transactions are opened and closed by hand
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # macOS: past the drive's cache as well
    except BaseException:
        connection.close()
        raise
    return connection


def _entry(row: tuple[Any, ...]) -> LedgerEntry:
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


def _fields(entry: LedgerEntry) -> tuple[Any, ...]:
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


def _row_hash(fields: tuple[Any, ...]) -> bytes:
    """The hash of a row's first nine columns, the last of which is the hash before."""
    number, round, unit, mechanism, noise_multiplier, sampling_rate, steps, delta, previous = fields
    numbers = struct.pack("<qqqddd", number, round, steps, noise_multiplier, sampling_rate, delta)
    return digest("ledger-row", previous, numbers, unit.encode(), mechanism.encode())
