"""What a peer remembers across a crash: one SQLite database (WAL) in its folder.

    meta        boot count
    checkpoint  one row: round, phase, vectors
    feeds       for each author the head and the public copy
    entries     the deltas of the peer's own feed, the newest KEPT_ENTRIES

The privacy ledger (crypto/ledger.py) is a table of the same file (crypto/database.py). An entry
that neighbours may have seen must never be forgotten, or its number would be used twice.
"""

from __future__ import annotations

import sqlite3
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..crypto import canonical
from ..crypto.database import connect, storage_errors, transaction
from ..crypto.errors import RemoteError, StorageError
from ..gossip.checkpoint import Checkpoint, FeedRecord, Phase
from ..gossip.feed import Delta
from ..gossip.messages import SignedEntry

KEPT_ENTRIES = 64
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS checkpoint (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    round INTEGER NOT NULL, phase TEXT NOT NULL, trained INTEGER NOT NULL,
    rolled_back INTEGER NOT NULL,
    gamma BLOB NOT NULL, model BLOB NOT NULL, base BLOB NOT NULL, memory BLOB NOT NULL,
    proofs BLOB NOT NULL, certificates BLOB NOT NULL, bulletin BLOB
);
CREATE TABLE IF NOT EXISTS feeds (
    author BLOB PRIMARY KEY, entry BLOB NOT NULL, copy BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS entries (sequence INTEGER PRIMARY KEY, payload BLOB NOT NULL);
"""


class Store:
    """The database of one peer. Raises StorageError when the disk does not do its part."""

    def __init__(self, path: Path, own_key: bytes) -> None:
        self._path = path
        self._own_key = own_key
        with self._guard():
            self._db = connect(path)
            try:
                self._db.executescript(_SCHEMA)
            except BaseException:
                self._db.close()
                raise

    def _guard(self) -> AbstractContextManager[None]:
        return storage_errors(str(self._path))

    def close(self) -> None:
        """Close the database; all that was kept is on the disk already."""
        with suppress(sqlite3.Error):  # such as a disk too full to tidy up
            self._db.close()

    def next_boot(self, *, at_least: int = 1) -> int:
        """Count this start; the number never comes again."""
        with self._guard(), transaction(self._db):
            row = self._db.execute("SELECT value FROM meta WHERE name = 'boot'").fetchone()
            boot = max((row[0] if row else 0) + 1, at_least)
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('boot', ?)", (boot,))
        return int(boot)

    def keep(self, checkpoint: Checkpoint) -> None:
        """Store a checkpoint; returns when it is on the disk."""
        with self._guard(), transaction(self._db):
            self._db.execute(
                "INSERT OR REPLACE INTO checkpoint VALUES (1,?,?,?,?,?,?,?,?,?,?,?)",
                (
                    checkpoint.round,
                    checkpoint.phase.value,
                    checkpoint.trained,
                    checkpoint.rolled_back,
                    checkpoint.gamma.tobytes(),
                    checkpoint.model.tobytes(),
                    checkpoint.base.tobytes(),
                    checkpoint.memory.tobytes(),
                    canonical.pack(list(checkpoint.proofs)),
                    canonical.pack(list(checkpoint.certificates)),
                    checkpoint.bulletin,
                ),
            )
            for record in checkpoint.feeds:
                self._keep_feed(record)

    def _keep_feed(self, record: FeedRecord) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO feeds VALUES (?,?,?)",
            (record.author, record.entry.pack(), record.copy.tobytes()),
        )
        if record.author == self._own_key and record.delta is not None:
            self._db.execute(
                "INSERT OR REPLACE INTO entries VALUES (?,?)",
                (record.delta.sequence, bytes(record.delta.payload)),
            )
            self._db.execute(
                "DELETE FROM entries WHERE sequence <= ?",
                (record.delta.sequence - KEPT_ENTRIES,),
            )

    def load(self) -> tuple[Checkpoint, list[Delta]] | None:
        """The newest checkpoint and the latest deltas of the own feed; None before the first."""
        with self._guard():
            row = self._db.execute("SELECT * FROM checkpoint").fetchone()
            if row is None:
                return None
            feeds = self._db.execute("SELECT author, entry, copy FROM feeds").fetchall()
            entries = self._db.execute("SELECT * FROM entries ORDER BY sequence").fetchall()
        try:
            return self._checkpoint(row, feeds), [Delta(*entry) for entry in entries]
        except (RemoteError, TypeError, ValueError) as error:
            raise StorageError(
                f"the peer's database is damaged: {error}",
                where=str(self._path),
                fix="start a new peer in a new folder",
            ) from error

    def _checkpoint(self, row: tuple[Any, ...], feeds: list[tuple[Any, ...]]) -> Checkpoint:
        _, round_, phase, trained, rolled_back, *blobs = row
        gamma, model, base, memory, proofs, certificates, bulletin = blobs
        parameters = len(model) // 4
        return Checkpoint(
            round=round_,
            phase=Phase(phase),
            gamma=np.frombuffer(gamma, dtype=np.float64),
            trained=bool(trained),
            rolled_back=bool(rolled_back),
            model=np.frombuffer(model, dtype=np.float32),
            base=np.frombuffer(base, dtype=np.float32).reshape(-1, parameters),
            memory=np.frombuffer(memory, dtype=np.float32).reshape(-1, parameters),
            proofs=_blobs(proofs),
            certificates=_blobs(certificates),
            bulletin=bulletin,
            feeds=tuple(_feed_record(*feed) for feed in feeds),
        )


def _feed_record(author: bytes, entry: bytes, copy: bytes) -> FeedRecord:
    signed = SignedEntry.unpack(entry)
    vector = np.frombuffer(copy, dtype=np.int32)
    if signed.header.author != author:
        raise ValueError("an entry stands in another author's place")
    return FeedRecord(author=author, entry=signed, copy=vector)


def _blobs(packed: bytes) -> tuple[bytes, ...]:
    items = canonical.unpack(packed, max_bytes=len(packed))
    if not isinstance(items, list):
        raise ValueError("a list was expected")
    return tuple(item for item in items if isinstance(item, bytes))
