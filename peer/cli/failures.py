"""How a failed command ends: what happened, where, what it means, what to do, and a number.

The numbers are listed in docs/exit-codes.md; those of Tidings' own errors stand in
``crypto/errors.py`` beside the errors.
"""

from __future__ import annotations

import errno
import inspect
import json
import os
import sys
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

from ...crypto.errors import TidingsError
from ...crypto.files import storage_error

INTERNAL = 1
USAGE = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells count

_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What a person is told; the fields are those of the JSON object."""

    error: str  # name of the error's class
    what: str
    where: str
    meaning: str
    fix: str
    exit_code: int


def describe(error: BaseException) -> Failure | None:
    """``error`` for people; None when it is Ctrl-C, of which nothing needs to be said."""
    error = _cause(error)
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        error = storage_error(error, error.filename or "")
    if isinstance(error, TidingsError):
        return Failure(
            error=type(error).__name__,
            what=error.what,
            where=error.where,
            meaning=" ".join((inspect.getdoc(type(error)) or "").split()),
            fix=error.fix,
            exit_code=error.exit_code,
        )
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        return None
    if hasattr(error, "format_message"):  # click's own; typer carries a copy without a public name
        return _usage(error)
    return _internal(error)


def _cause(error: BaseException) -> BaseException:
    """Of errors that came up together in several tasks, the one that a person can mend."""
    while isinstance(error, BaseExceptionGroup):
        mendable = error.subgroup(TidingsError)
        error = (mendable or error).exceptions[0]
    return error


def _usage(error: BaseException) -> Failure:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "tidings"
    return Failure(
        error="UsageError",
        what=error.format_message(),  # type: ignore[attr-defined]
        where=command,
        meaning="The command line was not understood. Nothing was done.",
        fix=f"see `{command} --help`",
        exit_code=USAGE,
    )


def _internal(error: BaseException) -> Failure:
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    return Failure(
        error=type(error).__name__,
        what=f"{type(error).__name__}: {error}",
        where=f"{Path(last.filename).name}, line {last.lineno}, in {last.name}" if last else "",
        meaning="This is a mistake in Tidings, not one of yours.",
        fix="please report it, with what TIDINGS_DEBUG=1 in front of the same command prints",
        exit_code=INTERNAL,
    )


def report(error: BaseException, *, as_json: bool) -> int:
    """Tell ``error`` on standard error; returns the exit code."""
    failure = describe(error)
    if failure is None:
        return INTERRUPTED
    if failure.exit_code == INTERNAL and os.environ.get("TIDINGS_DEBUG") == "1":
        traceback.print_exception(error)
    if as_json:
        print(json.dumps(asdict(failure)), file=sys.stderr)  # noqa: T201
    else:
        _print(failure)
    return failure.exit_code


def _print(failure: Failure) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    lines = [
        ("Error", "bold red", failure.what),
        ("  where", "bold", failure.where),
        ("  what it means", "bold", failure.meaning),
        ("  what to do", "bold green", failure.fix),
    ]
    for label, style, text in lines:
        if text:
            # Text objects know no markup; what others wrote may hold terminal commands.
            console.print(Text.assemble((label, style), ": ", _printable(text)), soft_wrap=True)


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() or each == "\n" else "\ufffd" for each in text)
