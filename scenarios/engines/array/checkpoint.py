"""What a stopped run carries on from: all arrays, and how far tape and log had come.

One file of NumPy arrays in the run's folder, written whole or not at all. It holds no objects that
reading could bring to life.
"""

from __future__ import annotations

import io
import signal
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....crypto.errors import ConfigError, StorageError
from ....crypto.files import write_atomic
from ...event_tables import DRAFT, FOLDER
from ...run_log import LOG_NAME

NAME = "checkpoint.npz"
_PROGRESS = "progress."
Memory = Mapping[str, NDArray[np.generic]]


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a run has come.

    ``waves`` of the tape are done; ``now`` is the virtual time; ``told`` the last round that was
    summed up. ``mixed`` (N,) is the last round that each node mixed in, ``stopped`` (N,) says who
    was noted to have spent its budget. ``log_bytes`` of the log and its tables ``parts`` belong to
    what is done.
    """

    waves: int = 0
    now: float = 0.0
    told: int = 0
    mixed: NDArray[np.int64]
    stopped: NDArray[np.bool_]
    log_bytes: int = 0
    parts: NDArray[np.str_]


def save(folder: Path, memory: Memory, progress: Progress) -> None:
    """Replace the checkpoint in a run's ``folder``; the log must be on the disk already."""
    progress.log_bytes = (folder / LOG_NAME).stat().st_size
    tables = folder / FOLDER
    parts = sorted(part.name for part in tables.glob("*.parquet")) if tables.is_dir() else []
    progress.parts = np.array(parts, dtype=np.str_)
    named: dict[str, Any] = dict(memory)
    for name in Progress.__slots__:
        named[_PROGRESS + name] = np.asarray(getattr(progress, name))
    written = io.BytesIO()
    np.savez(written, **named)
    write_atomic(folder / NAME, written.getbuffer())


def load(folder: Path, memory: Memory) -> Progress:
    """Bring the arrays in ``memory`` to where the run in ``folder`` was.

    Raises ConfigError when there is no checkpoint, or it is of another network.
    """
    found = _read(folder)
    expected = memory
    fields = {_PROGRESS + name for name in Progress.__slots__}
    if found.keys() != expected.keys() | fields or any(
        found[name].shape != one.shape or found[name].dtype != one.dtype
        for name, one in expected.items()
    ):
        raise ConfigError(
            "the checkpoint is not one of this scenario",
            where=str(folder),
            fix="restore scenario.toml as it was, or start anew",
        )
    for name, array in expected.items():
        array[...] = found[name]
    plain = {name: found[_PROGRESS + name].item() for name in ("waves", "now", "told", "log_bytes")}
    return Progress(
        **plain,
        mixed=found[_PROGRESS + "mixed"],
        stopped=found[_PROGRESS + "stopped"],
        parts=found[_PROGRESS + "parts"],
    )


def _read(folder: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a checkpoint, by name."""
    try:
        with np.load(folder / NAME, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise ConfigError(
            "this run has no checkpoint to carry on from",
            where=str(folder),
            fix="start it anew; only the array engine makes checkpoints",
        ) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise StorageError(
            f"the checkpoint cannot be read: {error}", where=str(folder / NAME)
        ) from error


def rewind(folder: Path) -> None:
    """Cut the log in ``folder`` back to what its checkpoint covers.

    Raises as ``load`` does.
    """
    stored = _read(folder)
    try:
        log_bytes = int(stored[_PROGRESS + "log_bytes"])
        parts = set(stored[_PROGRESS + "parts"].tolist())
    except (KeyError, ValueError, TypeError) as error:
        raise StorageError(
            "the checkpoint does not tell how far the log had come", where=str(folder / NAME)
        ) from error
    with (folder / LOG_NAME).open("r+b") as log:
        log.truncate(min(log_bytes, (folder / LOG_NAME).stat().st_size))
    tables = folder / FOLDER
    if tables.is_dir():
        for part in tables.iterdir():
            if part.name not in parts and part.suffix in (".parquet", DRAFT):
                part.unlink()


@contextmanager
def interrupts_deferred() -> Iterator[Callable[[], bool]]:
    """Within it, Ctrl-C only sets what the function that is given asks; a second one interrupts."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # signals belong to the main thread
        return
    asked: list[bool] = []

    def note(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(True)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, before)
