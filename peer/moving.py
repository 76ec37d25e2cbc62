"""Moving a peer to another folder, with what is left of its privacy budget.

All is copied first, but for the right to release; then the old ledger gives that right up, for
good and in favour of this one copy (crypto/ledger_moves.py); only then the copy takes it up. A kill
at any instant so leaves one folder that may train, or none until the same move is begun again.
peer.toml comes last: before it is there, no command takes the new folder for a peer's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..crypto.errors import ConfigError
from ..crypto.files import (
    copy_file,
    copy_owner,
    has_hard_links,
    make_folder,
    sync_folder,
    write_new,
)
from ..crypto.ledger import Ledger, Move
from ..crypto.ledger_home import home_of
from ..crypto.ledger_moves import NONCE_BYTES
from .folder import PeerFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What ``move`` did; ``carried_on`` when an earlier call had given up the right already."""

    name: str
    old: str
    new: str
    releases: int
    carried_on: bool


def move(old: Path, new: Path) -> Moved:
    """Move the peer in ``old`` to ``new``, a folder that is empty or not there yet.

    Called again after it was stopped, it carries on. ``old`` keeps its files, and is disabled.

    Raises:
        MovedAway: the peer was moved to another folder before.
        ConfigError: there is no peer in ``old``, it is a copy, or ``new`` cannot be used.
        StorageError: a process runs the peer, or a disk does not do its part.
    """
    source, target = PeerFolder.open(old.resolve()), PeerFolder(new.resolve())
    name = source.config().name
    with source.running(), closing(Ledger(source.database_file)) as ledger:
        given_up = ledger.moved_to()
        if given_up is not None and not _is_at(target, given_up):
            ledger.must_be_here()
        step = given_up or _hand_over(source, target, ledger)
        releases = _take_over(source, target, step)
    return Moved(
        name=name,
        old=str(source.path),
        new=str(target.path),
        releases=releases,
        carried_on=given_up is not None,
    )


def _hand_over(source: PeerFolder, target: PeerFolder, ledger: Ledger) -> Move:
    """Copy all but peer.toml and the right to release; then give that right up."""
    if ledger.is_copy():
        raise ConfigError(
            "this folder is a copy of another, which may still spend the same budget",
            where=str(source.path),
            fix="move the original, or make a new peer: tidings peer init",
        )
    _claim(source, target)
    for file in _files(source):
        copied = target.path / file.relative_to(source.path)
        if file.is_symlink():
            _copy_link(file, copied)
        else:
            copy_file(file, copied)
    for leftover in _database_files(target):  # of an earlier try: nothing was given up for it
        leftover.unlink(missing_ok=True)
    _remove_drafts(target)
    draft = target.path / f".{target.database_file.name}.tmp"
    ledger.copy_to(draft, os.urandom(NONCE_BYTES))
    copy_owner(source.database_file, draft)
    draft.replace(target.database_file)
    sync_folder(target.path)
    sync_folder(target.path.parent)
    with closing(Ledger(target.database_file)) as copy:
        return ledger.hand_over(copy, str(target.path))


def _take_over(source: PeerFolder, target: PeerFolder, step: Move) -> int:
    """Let ``target`` carry on; returns the number of releases. Does again only what is missing."""
    with closing(Ledger(target.database_file)) as copy:
        if copy.is_copy():
            copy.take_over(step)
        releases = len(copy.entries())
    if not target.config_file.exists():
        _remove_drafts(target)
        copy_file(source.config_file, target.config_file)
    target.moving_file.unlink(missing_ok=True)
    sync_folder(target.path)
    return releases


def _is_at(target: PeerFolder, step: Move) -> bool:
    """Whether ``target`` is the folder that ``step`` moved to, under whatever name."""
    database = target.database_file
    return database.exists() and step.home.is_same_place(home_of(database))


def _claim(source: PeerFolder, target: PeerFolder) -> None:
    """Make ``target``, and note in it whose it will be; refuses a folder that is in use."""
    if target.path.is_relative_to(source.path):
        raise ConfigError(
            "a peer cannot be moved into its own folder",
            where=str(target.path),
            fix="choose a folder elsewhere",
        )
    make_folder(target.path, 0o700)
    claim, marker = f"{source.path}\n".encode(), target.moving_file
    if marker.exists() and marker.read_bytes() == claim:
        return
    if not all(map(_is_draft, target.path.iterdir())):
        begun = marker.read_text().strip() if marker.exists() else ""
        raise ConfigError(
            f"a move of {begun} to this folder was not finished" if begun else "it is in use",
            where=str(target.path),
            fix="choose a folder that is empty or not there yet",
        )
    if not has_hard_links(target.path):
        raise ConfigError(
            "this file system (such as FAT) gives files no lasting number, by which a ledger "
            "knows that it is no copy",
            where=str(target.path),
            fix="choose a disk with a file system such as ext4",
        )
    write_new(marker, claim)
    copy_owner(source.path, target.path)


def _files(source: PeerFolder) -> Iterator[Path]:
    """What is copied as it stands, in all folders; peer.toml and the database have their turns."""
    apart = {source.lock_file, source.config_file, source.moving_file, *_database_files(source)}
    for folder, folders, names in os.walk(source.path):
        linked = [name for name in folders if Path(folder, name).is_symlink()]
        for name in sorted(names) + linked:
            file = Path(folder, name)
            if file not in apart and (file.is_file() or file.is_symlink()) and not _is_draft(file):
                yield file


def _is_draft(file: Path) -> bool:
    """Whether a killed process left this behind (crypto/files.py, and SQLite beside it)."""
    return file.name.startswith(".") and ".tmp" in file.name


def _remove_drafts(target: PeerFolder) -> None:
    for file in target.path.rglob(".*.tmp*"):
        file.unlink(missing_ok=True)


def _copy_link(link: Path, copied: Path) -> None:
    """A link out of the folder goes on leading where it led, to data that stay where they are."""
    make_folder(copied.parent, 0o700)
    copied.unlink(missing_ok=True)
    copied.symlink_to(link.parent.resolve() / link.readlink())


def _database_files(folder: PeerFolder) -> list[Path]:
    name = folder.database_file.name
    return [folder.path / f"{name}{end}" for end in ("", "-wal", "-shm", "-journal")]
