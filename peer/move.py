"""A peer's folder moves to another disk, and what is left of its budget moves with it.

1. All files are copied, the database last. The copy trains no more than any copy does.
2. The old ledger notes where the peer is now. From there the old folder never runs again.
3. The new ledger notes the same, and is at home.

Each step is on the disk before the next begins. A power cut leaves a folder that may train, or
none until the same command is given again, and never two.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from ..crypto.errors import ConfigError
from ..crypto.files import make_folder, storage_error, sync
from ..crypto.ledger import Ledger
from .folder import PeerFolder

UNFINISHED = "moving"  # stands in the new folder until the move is done
_DRAFT = ".moving"  # what the new database is called until it is whole


def move_peer(old: PeerFolder, path: Path, *, any_machine: bool = False) -> PeerFolder:
    """Move a peer to the new folder ``path``; the old one is left where it is, and never runs.

    With ``any_machine`` the disk with the new folder may go into another machine, the first in
    which the peer trains. A move that was interrupted is ended.

    Raises:
        ConfigError: the new folder is in use, or the peer was moved elsewhere already.
        StorageError: a disk fails or is full; the peer runs; or the old folder is a copy.
    """
    new = PeerFolder(path)
    with old.running(), closing(Ledger(old.database_file)) as left:
        gone = left.moved_to()
        if gone is None:
            _check_target(old, path)
            _copy(old, new)
            left.leave_for(new.database_file, any_machine=any_machine)
        elif Path(gone) != new.database_file.absolute():
            raise _moved(old, gone)
        with closing(Ledger(new.database_file)) as arrived:
            arrived.arrive_from(left)
    with suppress(FileNotFoundError):
        (path / UNFINISHED).unlink()
    return new


def check_not_moved(folder: PeerFolder) -> None:
    """Raises ConfigError when the peer lives in another folder now, or is not wholly in this one.

    Two folders with one key would say different things under one number, and without its ledger
    a peer would count from nothing.
    """
    at_home = False
    if folder.database_file.exists():
        with closing(Ledger(folder.database_file)) as ledger:
            gone, at_home = ledger.moved_to(), not ledger.is_copy()
        if gone is not None:
            raise _moved(folder, gone)
    if not at_home and (folder.path / UNFINISHED).exists():
        raise ConfigError(
            "moving the peer to this folder was interrupted",
            where=str(folder.path),
            fix=f"give the command again: tidings peer move OLD {folder.path}",
        )


def _moved(folder: PeerFolder, database: str) -> ConfigError:
    return ConfigError(
        f"this peer was moved to {Path(database).parent}",
        where=str(folder.path),
        fix="use the folder that it was moved to; this one can be deleted when that one runs",
    )


def _check_target(old: PeerFolder, path: Path) -> None:
    if path.resolve().is_relative_to(old.path.resolve()):
        raise ConfigError("a folder cannot be moved into itself", where=str(path))
    try:
        in_use = path.exists() and any(path.iterdir()) and not (path / UNFINISHED).exists()
    except OSError as error:
        raise storage_error(error, path) from None
    if in_use:
        raise ConfigError(
            "there is something in this folder already",
            where=str(path),
            fix="name a folder that is empty, or that does not exist",
        )


def _copy(old: PeerFolder, new: PeerFolder) -> None:
    """Copy all files, and sync them; what an interrupted move has left is written anew."""
    make_folder(new.path)
    try:
        (new.path / UNFINISHED).touch()  # in one step: there is nothing else in the folder before
    except OSError as error:
        raise storage_error(error, new.path) from error
    for file in _database_files(new):
        file.unlink(missing_ok=True)
    apart = {old.lock_file.name, UNFINISHED, *(each.name for each in _database_files(old))}
    try:
        shutil.copytree(
            old.path,
            new.path,
            symlinks=True,
            ignore=lambda folder, names: apart & set(names) if Path(folder) == old.path else (),
            dirs_exist_ok=True,
        )
        _copy_database(old.database_file, new.database_file)
        for source, copy in _pairs(old.path, new.path):
            if source.exists() or source == old.path:
                _give_to_owner(source, copy)
            if not copy.is_symlink():
                sync(copy)
        sync(new.path.parent)
    except OSError as error:
        raise storage_error(error, new.path) from error


def _copy_database(source: Path, target: Path) -> None:
    """SQLite's own copy, with what stands in its log; open to the owner alone.

    It has its name once it is whole: an empty database would be one that has spent nothing.
    """
    draft = target.with_name(f"{target.name}{_DRAFT}")
    os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(source)) as left, closing(sqlite3.connect(draft)) as arrived:
        left.backup(arrived)
    sync(draft)
    os.rename(draft, target)


def _database_files(folder: PeerFolder) -> list[Path]:
    ends = ("", "-wal", "-shm", "-journal")
    name = folder.database_file.name
    return [folder.path / f"{name}{draft}{end}" for draft in ("", _DRAFT) for end in ends]


def _pairs(old: Path, new: Path) -> Iterator[tuple[Path, Path]]:
    """Each file and folder of the new folder, deepest first, beside the old one."""
    for place, folders, files in os.walk(new, topdown=False):
        for name in (*files, *folders):
            copy = Path(place) / name
            yield old / copy.relative_to(new), copy
    yield old, new


def _give_to_owner(source: Path, copy: Path) -> None:
    """Keep the owner, where whoever moves the folder may: root does, others own both."""
    status = source.lstat()
    with suppress(PermissionError):
        os.chown(copy, status.st_uid, status.st_gid, follow_symlinks=False)
