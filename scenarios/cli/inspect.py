"""``tidings inspect RUN``: what happened in a run, from its event logs alone."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ..comparison import Comparison, compare
from ..drawing import save_pictures
from ..formats import shown
from ..plots import comparison_pictures, pictures
from ..run_log import arms
from ..summary import RunSummary
from ..sweep.pictures import sweep_pictures
from ..sweep.runner import is_sweep, open_plan, summary_of
from ..sweep.tables import print_sweep
from ..tables import print_comparison, print_summary


def inspect(
    run: Annotated[Path, typer.Argument(help="The folder of a run, a comparison or a sweep.")],
    plots: Annotated[
        Path | None, typer.Option("--plots", help="Draw the pictures (PNG) into this folder.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of tables.")
    ] = False,
) -> None:
    """Who spoke to whom, what was refused and why, accuracy, bytes, privacy spent.

    Reads event logs, never databases. A folder with several runs in it, such as a comparison's, is
    shown side by side; that of a sweep as its points.
    """
    if is_sweep(run):
        _sweep(run, plots, json=json)
        return
    folders = arms(run)
    alone = run in folders.values()
    comparison = compare(folders)
    files = [] if plots is None else _draw(comparison.summaries, plots, alone=alone)
    if json:
        first = next(iter(comparison.summaries.values()))
        whole = first.as_json() if alone else comparison.as_json()
        typer.echo(json_format.dumps(whole, allow_nan=False))
    else:
        _print(comparison, files, alone=alone)


def _sweep(folder: Path, plots: Path | None, *, json: bool) -> None:
    summary = summary_of(open_plan(folder))
    files = [] if plots is None else save_pictures(sweep_pictures(summary), plots)
    if json:
        typer.echo(json_format.dumps(summary.as_json(), allow_nan=False))
        return
    console = Console()
    print_sweep(console, summary)
    for file in files:
        console.print(Text(shown(str(file), limit=1000)), soft_wrap=True)


def _print(comparison: Comparison, files: list[Path], *, alone: bool) -> None:
    console = Console()
    if alone:
        print_summary(console, next(iter(comparison.summaries.values())))
    else:
        print_comparison(console, comparison)
    for file in files:
        console.print(Text(shown(str(file), limit=1000)), soft_wrap=True)


def _draw(summaries: dict[str, RunSummary], folder: Path, *, alone: bool) -> list[Path]:
    files = []
    for name, summary in summaries.items():
        files += save_pictures(pictures(summary), folder if alone else folder / name)
    if not alone:
        files += save_pictures(comparison_pictures(summaries), folder)
    return files
