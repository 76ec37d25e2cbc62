"""Where a ledger's file lives now; compared with its home, it tells the original from a copy."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from .digest import digest
from .files import storage_error
from .ledger_rows import Home

_MACHINE_ID_FILES = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


def home_of(path: Path | None) -> Home:
    """Where ``path`` is now; a ledger in memory has no place."""
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


def _machine_id() -> str:
    """A hash of the machine's id where it has a readable one (Linux), else nothing."""
    for place in _MACHINE_ID_FILES:
        with suppress(OSError):
            return digest("ledger-machine", place.read_bytes().strip()).hex()
    return ""
