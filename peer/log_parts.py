"""The older parts of an event log: ``events-000001.jsonl.gz`` and so on, beside ``events.jsonl``.

A part is made by a rename, which is instant; it is compressed afterwards, in a thread of its own,
and by the next start if the peer was killed meanwhile. At every instant each line is in one file
that `parts_of` names.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import threading
from contextlib import suppress
from pathlib import Path

_PART = re.compile(r"-(\d{6,})\.jsonl(\.gz)?")
_DRAFT = ".tmp"
_settling = threading.Lock()  # a part that was dropped must not come back compressed


def parts_of(log: Path) -> list[Path]:
    """The older parts of ``log``, oldest first; of one that is being compressed only one form."""
    found: dict[int, Path] = {}
    for file in sorted(log.parent.glob(f"{log.stem}-*.jsonl*")):
        match = _PART.fullmatch(file.name.removeprefix(log.stem))
        if match is not None:
            found[int(match[1])] = file  # of two forms the compressed one, which sorts last
    return [found[number] for number in sorted(found)]


def set_aside(log: Path, keep: int) -> None:
    """Make ``log`` its own newest part, and leave no more than ``keep`` parts. Raises OSError."""
    with _settling:
        parts = parts_of(log)
        last = number_of(log, parts[-1]) if parts else 0
        os.replace(log, log.with_name(f"{log.stem}-{last + 1:06d}.jsonl"))
        parts = parts_of(log)
        for old in parts[: max(0, len(parts) - keep)]:
            for form in {old, old.with_name(old.name.removesuffix(".gz"))}:  # a kill leaves both
                form.unlink(missing_ok=True)


def compress(log: Path) -> threading.Thread | None:
    """Compress in a thread what is not yet; None when there is nothing to do.

    The thread never holds up the end of the process, and a disk that refuses stops nothing: the
    part stays as it is.
    """
    plain = [file for file in parts_of(log) if file.suffix != ".gz"]
    leftovers = list(log.parent.glob(f"{log.stem}-*{_DRAFT}"))
    if not plain and not leftovers:
        return None
    thread = threading.Thread(target=_compress, args=(plain, leftovers), daemon=True)
    thread.start()
    return thread


def _compress(plain: list[Path], leftovers: list[Path]) -> None:
    for draft in leftovers:
        draft.unlink(missing_ok=True)
    for file in plain:
        draft = file.with_name(f"{file.name}.gz{_DRAFT}")
        try:
            with file.open("rb") as source, gzip.open(draft, "wb", compresslevel=6) as target:
                shutil.copyfileobj(source, target, 1 << 16)
            with _settling:
                if file.exists():
                    os.replace(draft, file.with_name(f"{file.name}.gz"))
                    file.unlink()
                else:  # it was too old to be kept meanwhile
                    draft.unlink()
        except OSError:
            with suppress(OSError):
                draft.unlink(missing_ok=True)


def number_of(log: Path, part: Path) -> int:
    """The number of one of ``parts_of(log)``; they are numbered from 1 in the order of time."""
    match = _PART.fullmatch(part.name.removeprefix(log.stem))
    assert match is not None
    return int(match[1])
