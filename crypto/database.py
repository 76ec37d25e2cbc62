"""The SQLite file of one peer: how the ledger and the store open it, write to it, and fail.

Both live in the same file, each with a connection of its own. A commit is on the disk when it
returns (``synchronous=FULL``): what has left the peer must never be forgotten by it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import StorageError
from .files import storage_error

BUSY_TIMEOUT_S = 10.0

_EXPLAINED = {
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space and start again"),
    sqlite3.SQLITE_READONLY: ("it cannot be written", "check its owner and mode"),
    sqlite3.SQLITE_CANTOPEN: ("it cannot be opened", "check its folder and the permissions"),
    sqlite3.SQLITE_BUSY: ("another process keeps it locked", "run one peer in one folder"),
    sqlite3.SQLITE_NOTADB: ("it is not a database", "check the path"),
    sqlite3.SQLITE_CORRUPT: ("the database is damaged", "start a new peer in a new folder"),
}


def connect(path: Path | None) -> sqlite3.Connection:
    """Open the database, made if missing; None keeps it in memory. Any thread may use it."""
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


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, and on the disk at the end."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # a full disk has rolled it back already
            connection.execute("ROLLBACK")
        raise


@contextmanager
def storage_errors(where: str) -> Iterator[None]:
    """Turns what SQLite and the file system raise into a StorageError about ``where``."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the extended part
        what, fix = _EXPLAINED.get(code, (str(error), "check the disk and the file"))
        raise StorageError(what, where=where, fix=fix) from error
    except OSError as error:
        raise storage_error(error, where) from error
