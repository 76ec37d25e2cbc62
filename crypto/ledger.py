"""The privacy ledger: every release of a peer, on disk before it leaves, never taken back.

Rows are only ever appended (triggers refuse anything else) and each holds the hash of the one
before. The ledger shares the peer's database file with its feeds; each has its own connection.
"""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

from . import ledger_moves
from .accounting import PrivacyEvent
from .database import connect, storage_errors, transaction
from .errors import ConfigError, MovedAway, StorageError
from .ledger_home import home_of
from .ledger_moves import Move, seal_of
from .ledger_rows import (
    COLUMNS,
    SCHEMA,
    Home,
    LedgerEntry,
    Unit,
    fields_of,
    home_hash,
    read_entry,
    row_hash,
)

__all__ = ["Home", "Ledger", "LedgerEntry", "Move", "Unit"]


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
            self._connection = connect(self._path)
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
        with self._lock, self._storage(), transaction(self._connection):
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
            entry = read_entry((*fields, row_hash(fields)))
            self._connection.execute(
                f"INSERT INTO ledger ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
            rows = self._connection.execute(f"SELECT {COLUMNS} FROM ledger ORDER BY number")
            return [self._read(row) for row in rows]

    def head_hash(self) -> bytes:
        """The hash of the last row (32 bytes); with no rows, that of the ledger's home."""
        return self._head[1]

    def verify(self) -> tuple[int, bytes]:
        """Check the whole chain; returns the number of rows and the hash of the last.

        Raises:
            StorageError: names the first row that is missing, changed or out of place.
        """
        number, previous = 0, home_hash(self._home)
        entries, moves = self.entries(), self.moves()
        for entry in entries:
            previous = self._after_moves(moves, number, previous)
            number += 1
            if entry.number != number or entry.previous != previous:
                raise self._damaged(f"row {number}", "is missing or was put in")
            if entry.hash != row_hash(fields_of(entry)):
                raise self._damaged(f"row {number}", "was changed")
            previous = entry.hash
        previous = self._after_moves(moves, number, previous)
        # SQLite remembers the largest number ever given, so a cut-off end shows as well.
        given = max([self._largest_given("ledger"), *(move.after for move in moves)])
        if given > number:
            raise self._damaged(f"row {number + 1}", "is missing")
        if self._largest_given("ledger_moves") > len(moves):
            raise self._damaged(f"move {len(moves) + 1}", "is missing")
        return number, previous

    def _after_moves(self, moves: list[Move], number: int, previous: bytes) -> bytes:
        """The chain's head past those of ``moves`` that came right after release ``number``."""
        for move in moves:
            if move.after == number:
                if move.previous != previous:
                    raise self._damaged(f"move {move.number}", "is missing or was put in")
                previous = move.hash
        return previous

    def _largest_given(self, table: str) -> int:
        with self._lock, self._storage():
            row = self._connection.execute(
                "SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)
            ).fetchone()
        return 0 if row is None else int(row[0])

    def is_copy(self) -> bool:
        """Whether this file lives elsewhere than where it was made.

        The original may go on releasing, so what a copy has written is not all that was spent.
        One that was moved away is as good as a copy. A ledger in memory is never one.
        """
        if self._path is None:
            return False
        moves = self.moves()
        if not moves:
            return not self._home.is_same_place(home_of(self._path))
        if not moves[-1].home.is_same_place(home_of(self._path)):
            return True
        nonce = self._nonce()
        return nonce is None or seal_of(nonce) != moves[-1].seal

    def moves(self) -> list[Move]:
        """How often and where this ledger was moved, oldest first."""
        with self._lock, self._storage():
            return self._stored_moves()

    def moved_to(self) -> Move | None:
        """The move that took this ledger away from here; None while it may be used here."""
        moves = self.moves()
        return moves[-1] if moves and self.is_copy() else None

    def must_be_here(self) -> None:
        """Raises MovedAway, with where to, when this ledger was moved away."""
        move = self.moved_to()
        if move is not None:
            raise MovedAway(
                f"this peer was moved to {move.folder}",
                where=self._where,
                fix=f"use it there: tidings peer run {move.folder}; this folder may be deleted",
            )

    def copy_to(self, path: Path, nonce: bytes) -> None:
        """Copy the whole database to ``path``, a new file, without the right to release.

        ``nonce`` (32 fresh random bytes) is what ``hand_over`` binds that right to. Returns when
        all of it is on the disk.
        """
        with self._storage(), closing(connect(path)) as copy:
            with self._lock:
                self._connection.backup(copy)
            with transaction(copy):
                for statement in ledger_moves.SCHEMA:
                    copy.execute(statement)
                copy.execute("DELETE FROM ledger_arrival")
                copy.execute("INSERT INTO ledger_arrival VALUES (?)", (nonce,))
            copy.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def hand_over(self, copy: Ledger, folder: str) -> Move:
        """Give up the right to release, for good, in favour of ``copy`` (made by ``copy_to``).

        From here on nobody may release, until ``copy`` is told with ``take_over``. Returns when
        it is on the disk; ``folder`` is where people are told to look.

        Raises:
            ConfigError: this is a copy itself, or was moved away.
            StorageError: the two are not alike, or it could not be written.
        """
        self.must_be_here()
        if self.is_copy():
            raise ConfigError(
                "this folder is a copy of another, which may still spend the same budget",
                where=self._where,
                fix="move the original, or make a new peer: tidings peer init",
            )
        nonce = copy._nonce()
        if copy._path is None or nonce is None or copy._head != self._head:
            raise self._unlike()
        home = home_of(copy._path)
        with self._lock, self._storage(), transaction(self._connection):
            for statement in ledger_moves.SCHEMA:
                self._connection.execute(statement)
            if self._last() != self._head:
                raise self._unlike()
            move = Move(
                number=len(self._stored_moves()) + 1,
                after=self._head[0],
                home=home,
                folder=folder,
                seal=seal_of(nonce),
                previous=self._head[1],
            )
            self._write_move(move)
        self._head = (move.after, move.hash)
        return move

    def take_over(self, move: Move) -> None:
        """Carry on from here, as ``move`` of the old ledger says. Returns when it is on the disk.

        Raises StorageError: ``move`` is for another file, or does not follow on what stands here.
        """
        nonce = self._nonce()
        is_meant = self._path is not None and move.home.is_same_place(home_of(self._path))
        if not is_meant or nonce is None or seal_of(nonce) != move.seal:
            raise self._unlike()
        with self._lock, self._storage(), transaction(self._connection):
            if (move.after, move.previous) != self._head or self._last() != self._head:
                raise self._unlike()
            self._write_move(move)
        self._head = (move.after, move.hash)

    def close(self) -> None:
        """Close the file; all that was appended is on the disk already."""
        with self._lock:
            self._connection.close()

    @property
    def _where(self) -> str:
        return "privacy ledger" if self._path is None else str(self._path)

    def _unlike(self) -> StorageError:
        return StorageError(
            "this privacy ledger and the one that it would be moved to are not alike",
            where=self._where,
            fix="nothing was given up; let no other process use either folder, and try again",
        )

    def _damaged(self, row: str, what: str) -> StorageError:
        return StorageError(
            f"{row} of the privacy ledger {what}",
            where=self._where,
            fix="what this peer has spent is no longer known; start a new peer in a new folder",
        )

    def _find_home(self) -> Home:
        """The home that was written down when the ledger was made; makes the ledger if need be."""
        home = self._stored_home()
        if home is None:
            with transaction(self._connection):
                home = self._stored_home() or self._make()
        return home

    def _stored_home(self) -> Home | None:
        if not self._has("ledger_home"):
            return None
        query = "SELECT machine, device, filesystem, inode FROM ledger_home"
        row = self._connection.execute(query).fetchone()
        if row is None:
            raise self._damaged("row 0", "is missing")
        return Home(machine=row[0], device=row[1], filesystem=row[2], inode=row[3])

    def _make(self) -> Home:
        for statement in SCHEMA:
            self._connection.execute(statement)
        home = home_of(self._path)
        self._connection.execute(
            "INSERT INTO ledger_home VALUES (?, ?, ?, ?)",
            (home.machine, home.device, home.filesystem, home.inode),
        )
        return home

    def _last(self) -> tuple[int, bytes]:
        """The number of releases, and the hash of the newest row of either kind."""
        row = self._connection.execute(
            "SELECT number, hash FROM ledger ORDER BY number DESC LIMIT 1"
        ).fetchone()
        number, head = (0, home_hash(self._home)) if row is None else (row[0], row[1])
        moves = self._stored_moves()
        return (number, moves[-1].hash) if moves and moves[-1].after == number else (number, head)

    def _has(self, table: str) -> bool:
        query = "SELECT name FROM sqlite_master WHERE name = ?"
        return self._connection.execute(query, (table,)).fetchone() is not None

    def _stored_moves(self) -> list[Move]:
        if not self._has("ledger_moves"):
            return []
        query = f"SELECT {ledger_moves.COLUMNS} FROM ledger_moves ORDER BY number"
        rows = self._connection.execute(query).fetchall()
        for number, row in enumerate(rows, 1):
            if row[0] != number:
                raise self._damaged(f"move {number}", "is missing")
        try:
            return [Move.from_row(row) for row in rows]
        except ValueError as error:
            raise self._damaged("a move", f"cannot be read: {error}") from error

    def _write_move(self, move: Move) -> None:
        row = move.row()
        marks = ", ".join("?" * len(row))
        self._connection.execute(
            f"INSERT INTO ledger_moves ({ledger_moves.COLUMNS}) VALUES ({marks})", row
        )

    def _nonce(self) -> bytes | None:
        """What a move to this file is bound to; None when this file is not the copy of a move."""
        with self._lock, self._storage():
            if not self._has("ledger_arrival"):
                return None
            row = self._connection.execute("SELECT nonce FROM ledger_arrival").fetchone()
        return None if row is None else bytes(row[0])

    def _read(self, row: tuple[Any, ...]) -> LedgerEntry:
        try:
            return read_entry(row)
        except (TypeError, ValueError) as error:
            raise self._damaged(f"row {row[0]}", f"cannot be read: {error}") from error

    def _storage(self) -> AbstractContextManager[None]:
        return storage_errors(self._where)
