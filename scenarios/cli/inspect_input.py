"""What the user of ``tidings inspect`` named: logs, a view, a selection; and reading with a bar."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from ...crypto.errors import ConfigError
from ..inspection import Selection
from ..log_archive import is_archive, unpacked
from ..run_log import ALL_KINDS, RunLog
from ..views import VIEWS

SUMMARY, TIMELINE, WHY = "summary", "timeline", "why"
VIEW_NAMES = (SUMMARY, *VIEWS, TIMELINE, WHY)
LONG_BYTES = 30e6  # a log that takes over a second or so to read gets a bar


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Logs and a view; ``peer`` and ``round`` are those of `why`."""

    paths: tuple[Path, ...]
    view: str = SUMMARY
    peer: str = ""
    round: int = 0


def parse(words: Sequence[str]) -> Asked:
    """``RUN... [VIEW]`` or ``RUN... why PEER ROUND``. Raises ConfigError for anything else."""
    at = next(
        (i for i, word in enumerate(words) if word in VIEW_NAMES and i and not Path(word).exists()),
        len(words),
    )
    paths, rest = tuple(Path(word) for word in words[:at]), words[at:]
    match rest:
        case []:
            _check_paths(paths)
            return Asked(paths=paths)
        case [view] if view != WHY:
            return Asked(paths=paths, view=view)
        case [view, peer, number] if view == WHY and number.isdecimal():
            return Asked(paths=paths, view=WHY, peer=peer, round=int(number))
        case [view, *_] if view == WHY:
            raise ConfigError("`why` needs a peer and a round", fix="for example: why peer-3 12")
        case [view, *more]:
            raise ConfigError(
                f"after the view '{view}' nothing more is understood: {' '.join(more)}",
                fix="name the logs first, then the view; options begin with --",
            )
    raise AssertionError(rest)


def _check_paths(paths: Sequence[Path]) -> None:
    """A last word that is no path may have been meant as a view."""
    last = paths[-1]
    if len(paths) > 1 and not last.exists():
        near = difflib.get_close_matches(str(last), VIEW_NAMES, n=1)
        raise ConfigError(
            f"'{last}' is neither a folder nor a view",
            fix=f"did you mean '{near[0]}'?" if near else f"views are {', '.join(VIEW_NAMES)}",
        )


def selection_of(
    peers: Sequence[str], kinds: Sequence[str], from_s: float | None, to_s: float | None
) -> Selection:
    """The events that are asked for. Raises ConfigError for a kind that there is not."""
    for kind in kinds:
        if kind not in ALL_KINDS:
            near = difflib.get_close_matches(kind, ALL_KINDS, n=1)
            raise ConfigError(
                f"there is no kind of event '{kind}'",
                where="--kind",
                fix=f"did you mean '{near[0]}'?" if near else f"kinds are {', '.join(ALL_KINDS)}",
            )
    return Selection(peers=tuple(peers), kinds=tuple(kinds), from_s=from_s, to_s=to_s)


@contextmanager
def folders_of(paths: Sequence[Path]) -> Iterator[tuple[Path, ...]]:
    """The folders that were named; archives are unpacked for as long as the block lasts."""
    with ExitStack() as stack:
        yield tuple(
            stack.enter_context(unpacked(path)) if is_archive(path) else path for path in paths
        )


@contextmanager
def with_bar(log: RunLog, times: int = 1) -> Iterator[RunLog]:
    """A log whose reading, so many times over, moves a bar on standard error if it takes long."""
    console = Console(stderr=True)
    total = log.size_bytes * times
    progress = Progress(
        TextColumn("reading"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal or total < LONG_BYTES,
    )
    with progress:
        task = progress.add_task("reading", total=total)
        log.advance = lambda size: progress.advance(task, size)
        yield log
