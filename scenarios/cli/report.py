"""``tidings report RUN...``: one self-contained HTML file."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ..formats import shown
from ..report import REPORT_NAME, write_report, write_reports


def report(
    runs: Annotated[
        list[Path], typer.Argument(help="Runs' folders; several are compared in one report.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="The file to write; report.html in the first run's folder.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write a page that shows a run: the network through time, curves, what went wrong.

    The page is one file that needs no network, from the event logs alone.
    """
    if len(runs) == 1:
        file = write_report(runs[0], out)
    else:
        file = write_reports(runs, out or runs[0] / f"comparison-{REPORT_NAME}")
    if json:
        typer.echo(json_format.dumps({"report": str(file), "size_bytes": file.stat().st_size}))
    else:
        Console().print(Text(f"Report: {shown(str(file), limit=1000)}"), soft_wrap=True)
