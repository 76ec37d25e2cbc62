"""``tidings compare RUN RUN...``: several runs side by side, from their event logs alone."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ..comparison import compare as compared
from ..comparison import named_runs
from ..drawing import save_pictures
from ..formats import shown
from ..plots import comparison_pictures
from ..tables import print_comparison


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, or of runs with arms.")],
    plots: Annotated[
        Path | None, typer.Option("--plots", help="Draw the pictures (PNG) into this folder.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of tables.")
    ] = False,
) -> None:
    """Several runs side by side: figures, curves, and the settings in which they differ."""
    comparison = compared(named_runs(runs))
    files = [] if plots is None else save_pictures(comparison_pictures(comparison.summaries), plots)
    if json:
        typer.echo(json_format.dumps(comparison.as_json(), allow_nan=False))
        return
    console = Console()
    print_comparison(console, comparison)
    for file in files:
        console.print(Text(shown(str(file), limit=1000)), soft_wrap=True)
