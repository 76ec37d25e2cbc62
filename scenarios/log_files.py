"""Finding event logs: a run's, a peer's, those of peers that somebody put into one folder."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from ..crypto.errors import ConfigError
from ..crypto.files import storage_error
from ..peer import log_parts

LOG_NAME = "events.jsonl"
_NAME_A_RUN = "name a run's folder, as `tidings run` printed it"
_BEGINNING = 4096


def log_files(folder: Path) -> tuple[Path, ...]:
    """The logs of one run or one peer, each after its older parts; empty when there are none.

    Of a folder that holds neither, the logs of the peers in it: ``FOLDER/NAME/events.jsonl``,
    unless they are runs that are to be compared (``arms``).
    """
    try:
        own = folder / LOG_NAME
        logs = [own, *sorted(folder.glob(f"peers/*/{LOG_NAME}"))]
        found = [log for log in logs if log.is_file()]
        if not found:
            inside = sorted(log for log in folder.glob(f"*/{LOG_NAME}") if log.is_file())
            found = [] if any(_is_run(log) for log in inside) else inside
        return tuple(part for log in found for part in (*log_parts.parts_of(log), log))
    except OSError as error:
        raise storage_error(error, folder) from error


def arms(folder: Path) -> dict[str, Path]:
    """The runs in a folder by name: the folder itself, or each arm of a comparison.

    Raises ConfigError when neither the folder nor a folder in it holds an event log.
    """
    if log_files(folder):
        return {folder.resolve().name: folder}
    try:
        inside = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError as error:
        raise ConfigError(
            f"this is not a folder that can be read: {error.strerror}",
            where=str(folder),
            fix=_NAME_A_RUN,
        ) from error
    found = {path.name: path for path in inside if log_files(path)}
    if not found:
        raise nothing_here(folder)
    return found


def nothing_here(folder: Path) -> ConfigError:
    """What to tell a user who named a folder without logs."""
    return ConfigError(f"no event log ({LOG_NAME}) was found", where=str(folder), fix=_NAME_A_RUN)


def _is_run(log: Path) -> bool:
    """Whether an engine wrote this log: a peer's does not begin with the beginning of a run."""
    first = (log_parts.parts_of(log) or [log])[0]
    try:
        with gzip.open(first) if first.suffix == ".gz" else first.open("rb") as stream:
            return b'"run-started"' in stream.readline(_BEGINNING)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return False
