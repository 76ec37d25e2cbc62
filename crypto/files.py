"""Files that are either wholly there or not at all, and stay there when the power fails."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import StorageError

if TYPE_CHECKING:
    from typing_extensions import Buffer

_EXPLAINED = {
    errno.ENOSPC: ("the disk is full", "free some space and try again"),
    errno.EDQUOT: ("the disk quota is used up", "free some space and try again"),
    errno.EROFS: ("the file system is read-only", "choose a folder that can be written"),
    errno.EACCES: ("no permission to use it", "change its owner or mode, or choose another folder"),
    errno.EPERM: ("no permission to use it", "change its owner or mode, or choose another folder"),
    errno.ENOENT: ("its folder does not exist", "create the folder first"),
    errno.ENOTDIR: ("a part of its path is not a folder", "check the path"),
    errno.EISDIR: ("it is a folder, not a file", "check the path"),
    errno.EEXIST: ("it exists already and is never overwritten", "choose another name"),
}
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def storage_error(error: OSError, path: str | os.PathLike[str]) -> StorageError:
    """``error`` as something that a person can mend; ``path`` is what was being used."""
    number = error.errno or 0
    what, fix = _EXPLAINED.get(number, (error.strerror or str(error), "check the disk"))
    return StorageError(what, where=str(path), fix=fix)


def write_atomic(path: str | os.PathLike[str], data: Buffer, mode: int = 0o644) -> None:
    """Write ``data`` to ``path``, replacing what was there in one step.

    A reader, or a peer that starts after a power failure, finds the old file or the new one,
    never a part. Returns after file and folder are on the disk (fsync). ``mode`` is narrowed by
    the umask.

    Raises:
        StorageError: it could not be written; what was there before is intact.
    """
    target = Path(path)
    try:
        draft = _write_draft(target, data, mode)
        try:
            os.replace(draft, target)
        except OSError:
            _remove(draft)
            raise
        sync_folder(target.parent)
    except OSError as error:
        raise storage_error(error, target) from error


def write_new(path: str | os.PathLike[str], data: Buffer, mode: int = 0o644) -> None:
    """Write ``data`` to ``path``, which must not exist: nothing is ever overwritten.

    As atomic and as durable as ``write_atomic``, also when two processes do it at once: one wins.

    Raises:
        StorageError: it could not be written; caused by a FileExistsError when there is
            something at ``path`` already.
    """
    target = Path(path)
    try:
        draft = _write_draft(target, data, mode)
        try:
            os.link(draft, target)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            # Such as FAT: exclusive creation keeps "never overwrites", a crash may leave a part.
            _write_exclusively(target, data, mode)
        finally:
            _remove(draft)
        sync_folder(target.parent)
    except OSError as error:
        raise storage_error(error, target) from error


def make_folder(path: str | os.PathLike[str], mode: int = 0o755) -> None:
    """Make a folder, and those above it, unless it is there already.

    Raises:
        StorageError: it could not be made.
    """
    try:
        os.makedirs(path, mode, exist_ok=True)
    except OSError as error:
        if error.errno == errno.EEXIST:
            raise StorageError(
                "it is a file, not a folder", where=str(path), fix="check the path"
            ) from error
        raise storage_error(error, path) from error


def copy_file(source: Path, target: Path) -> None:
    """Copy a file, with mode, times and (as root) owner; folders above it are made likewise.

    Readable by nobody else at any time unless ``source`` is. Returns when it is on the disk.

    Raises:
        StorageError: it could not be copied; a part of it may be there.
    """
    try:
        if not target.parent.exists():
            target.parent.mkdir(0o700, parents=True)
            shutil.copymode(source.parent, target.parent)
            copy_owner(source.parent, target.parent)
        draft = target.with_name(f".{target.name}.{os.urandom(6).hex()}.tmp")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(source, "rb") as reader, open(handle, "wb") as writer:
                shutil.copyfileobj(reader, writer)
                writer.flush()
                os.fsync(writer.fileno())
            shutil.copystat(source, draft)
            copy_owner(source, draft)
            os.replace(draft, target)
        except OSError:
            _remove(draft)
            raise
        sync_folder(target.parent)
    except OSError as error:
        raise storage_error(error, error.filename or target) from error


def copy_owner(source: Path, target: Path) -> None:
    """Give ``target`` the owner and group of ``source``, as only root can. Raises OSError."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        status = source.stat()
        os.chown(target, status.st_uid, status.st_gid)


def has_hard_links(folder: Path) -> bool:
    """Whether the file system of ``folder`` knows hard links, which go with lasting inodes.

    Raises:
        StorageError: the folder cannot be written.
    """
    probe = folder / f".{os.urandom(6).hex()}.tmp"
    other = probe.with_suffix(".link.tmp")
    try:
        _write_exclusively(probe, b"", 0o600)
        os.link(probe, other)
    except OSError as error:
        if error.errno in _NO_HARD_LINKS:
            return False
        raise storage_error(error, folder) from error
    finally:
        _remove(probe)
        _remove(other)
    return True


def sync_folder(folder: Path) -> None:
    """Put on the disk which files there are in ``folder``. Raises OSError."""
    if sys.platform == "win32":  # has no handles for folders; its renames are journalled
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def exclusive(path: str | os.PathLike[str], doing: str) -> Iterator[None]:
    """Hold the lock file ``path`` while the block runs; the system frees it when a process dies.

    The lock is advisory (flock) and does nothing on Windows, which has none.

    Raises:
        StorageError: another process holds it (the message names ``doing``), or the file cannot
            be made.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise storage_error(error, path) from error
    try:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StorageError(
                    f"another process is {doing}", where=str(path), fix="let it end, then try again"
                ) from error
        yield
    finally:
        os.close(handle)


def _write_draft(target: Path, data: Buffer, mode: int) -> Path:
    """A synced file with ``data`` beside ``target``; nothing is left behind when it fails."""
    draft = target.with_name(f".{target.name}.{os.urandom(6).hex()}.tmp")
    _write_exclusively(draft, data, mode)
    return draft


def _write_exclusively(path: Path, data: Buffer, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        try:
            view = memoryview(data).cast("B")
            while view:
                view = view[os.write(handle, view) :]
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError:
        _remove(path)
        raise


def _remove(path: Path) -> None:
    with suppress(OSError):
        os.unlink(path)
