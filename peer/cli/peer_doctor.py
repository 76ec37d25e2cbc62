"""`tidings peer doctor`: is this peer fit to run, and if not, what to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..doctor_check import Check

PROBLEM = 2  # the exit code when the peer cannot run as it stands (docs/exit-codes.md)
_MARKS = {"ok": ("ok", "green"), "warning": ("warning", "yellow"), "problem": ("PROBLEM", "red")}


def doctor(
    folder: Annotated[Path, typer.Argument(help="The peer's folder.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Check machine, folder and neighbours, and say what to do; ends with 2 on a problem."""
    from dataclasses import asdict
    from json import dumps

    from ..doctor import examine, worst
    from ..folder import PeerFolder

    checks = examine(PeerFolder.open(folder))
    outcome = worst(checks)
    if json:
        typer.echo(dumps({"outcome": outcome, "checks": [asdict(each) for each in checks]}))
    else:
        _print(checks)
    if outcome == "problem":
        raise typer.Exit(PROBLEM)


def _print(checks: list[Check]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("", "", "what was found", "what to do", box=box.SIMPLE_HEAD)
    for each in checks:
        mark, style = _MARKS[each.outcome]
        # Text knows no markup: file names and what others wrote may hold brackets
        table.add_row(each.name, Text(mark, style=style), Text(each.found), Text(each.fix))
    counts = [sum(each.outcome == wanted for each in checks) for wanted in ("problem", "warning")]
    console = Console()
    console.print(table)
    if not any(counts):
        console.print("This peer is fit to run.")
    else:
        console.print(f"Problems: {counts[0]}, warnings: {counts[1]}.")
