"""Logs that come as a tar archive, from whoever sent it.

Only event logs are taken out of it, into a folder that is gone afterwards, and under names that are
made here from harmless ones: no path leads out, no link is followed, and neither the number of
files nor what they grow to is left to the sender.
"""

from __future__ import annotations

import lzma
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from ..crypto.errors import ConfigError
from ..crypto.files import storage_error
from .log_files import log_files

MAX_FILES = 20_000
MAX_BYTES = 20 * 10**9
SPARE = 0.9  # of the free disk, no more than this is used
_LOG = re.compile(r"events(-\d{6,12})?\.jsonl(\.gz)?")
_TABLE = re.compile(r"[a-z-]{1,40}-\d{6,12}\.parquet")
_STEP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+ -]{0,80}")
_COPY_BYTES = 1 << 20


def is_archive(path: Path) -> bool:
    """Whether a path is a tar archive, compressed or not, by its name."""
    return path.is_file() and re.search(r"\.(tar(\.\w+)?|tgz)$", path.name) is not None


@contextmanager
def unpacked(archive: Path) -> Iterator[Path]:
    """The folder in which the logs of an archive lie as long as the block lasts.

    Raises ConfigError for what is no archive, holds no logs, or too many or too long ones.
    """
    with tempfile.TemporaryDirectory(prefix="tidings-") as place:
        folder = Path(place) / "logs"
        folder.mkdir()
        try:
            with tarfile.open(archive) as tar:
                _take_logs(tar, folder, archive)
        except (tarfile.TarError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
            raise _unreadable(error, archive) from error
        except OSError as error:
            if error.errno is None:  # gzip and bzip2 say so of bytes that are none of theirs
                raise _unreadable(error, archive) from error
            raise storage_error(error, archive) from error
        yield _top(folder)


def _unreadable(error: Exception, archive: Path) -> ConfigError:
    return ConfigError(
        f"this archive cannot be read: {error}",
        where=str(archive),
        fix="make it anew, or unpack it yourself and name the folder",
    )


def _take_logs(tar: tarfile.TarFile, folder: Path, archive: Path) -> None:
    left = min(MAX_BYTES, int(SPARE * shutil.disk_usage(folder).free))
    files = 0
    for member in tar:
        place = _place_of(member, folder)
        if place is None:
            continue
        files += 1
        source = tar.extractfile(member)
        if source is None or place.exists():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        left -= _copy(source, place, left)
        if left <= 0 or files >= MAX_FILES:
            what = f"over {MAX_FILES} logs" if left > 0 else "more than can be unpacked safely"
            raise ConfigError(
                f"this archive holds {what}",
                where=str(archive),
                fix="unpack it yourself, look at it, and name the folder",
            )


def _place_of(member: tarfile.TarInfo, folder: Path) -> Path | None:
    """Where a member goes: only plain files that are named as logs, by harmless steps."""
    steps = PurePosixPath(member.name).parts
    steps = steps[1:] if steps[:1] == (".",) else steps
    if not member.isreg() or not steps or len(steps) > 8:
        return None
    *above, name = steps
    table = bool(above) and above[-1] == "events" and _TABLE.fullmatch(name)
    if not (table or _LOG.fullmatch(name)):
        return None
    if not all(_STEP.fullmatch(step) for step in above):
        return None
    return folder.joinpath(*above, name)


def _copy(source: IO[bytes], place: Path, most: int) -> int:
    """Copy a file, but no more than ``most`` bytes; gives how many it were."""
    size = 0
    with place.open("wb") as target:
        while size < most and (block := source.read(min(_COPY_BYTES, most - size))):
            target.write(block)
            size += len(block)
    return size


def _top(folder: Path) -> Path:
    """The folder that holds the logs: an archive often has one folder around everything."""
    while not log_files(folder):
        inside = list(folder.iterdir())
        if len(inside) != 1 or not inside[0].is_dir():
            break
        folder = inside[0]
    return folder
