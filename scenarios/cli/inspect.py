"""``tidings inspect RUN``: what happened in a run, from its event logs alone."""

from __future__ import annotations

import json as json_format
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ...crypto.errors import ConfigError
from ..comparison import compare
from ..drawing import save_pictures
from ..formats import shown
from ..inspection import Inspection, Selection, inspect_log
from ..plots import comparison_pictures, pictures
from ..run_log import RunLog, arms
from ..summary_values import RunSummary
from ..sweep.pictures import sweep_pictures
from ..sweep.runner import is_sweep, open_plan, summary_of
from ..sweep.tables import print_sweep
from ..tables import print_comparison, print_summary
from ..views import VIEWS, View, print_view, timeline, why, write_csv, write_json
from ..views.findings import print_findings
from .inspect_input import SUMMARY, TIMELINE, WHY, Asked, folders_of, parse, selection_of, with_bar

MOST_ROWS = 100


def inspect(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN... [VIEW]",
            help="Folders or tar archives with logs, read as one; then what to show: summary (if "
            "none is named), peers, links, rounds, refusals, privacy, feeds, diagnosis, missing, "
            "timeline, or: why PEER ROUND.",
        ),
    ],
    peers: Annotated[
        list[str] | None, typer.Option("--peer", help="Only what this peer noted; repeatable.")
    ] = None,
    kinds: Annotated[
        list[str] | None, typer.Option("--kind", help="Only this kind of event; repeatable.")
    ] = None,
    from_s: Annotated[
        float | None, typer.Option("--from", metavar="S", help="From S seconds after the start.")
    ] = None,
    to_s: Annotated[
        float | None, typer.Option("--to", metavar="S", help="Until S seconds after the start.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows of a table in the terminal.")] = MOST_ROWS,
    plots: Annotated[
        Path | None, typer.Option("--plots", help="Draw the pictures (PNG) into this folder.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of tables.")] = False,
) -> None:
    """Who spoke to whom, what was refused and why, accuracy, bytes, privacy spent.

    Names what seems wrong, too. Reads event logs, never databases. A folder with several runs in
    it, such as a comparison's, is shown side by side; that of a sweep as its points.
    """
    asked = parse(what)
    if len(asked.paths) == 1 and is_sweep(asked.paths[0]):
        _show_sweep(asked.paths[0], plots, json=json)
        return
    selection = selection_of(peers or (), kinds or (), from_s, to_s)
    with folders_of(asked.paths) as folders:
        runs = arms(folders[0]) if len(folders) == 1 else {}
        if asked.view == SUMMARY and not csv and runs and folders[0] not in runs.values():
            _compare(runs, selection, plots, json=json)
            return
        log = RunLog(*_of_one_run(folders, runs))
        if asked.view == SUMMARY and not csv:
            with with_bar(log):
                found = inspect_log(log, selection)
            _show_summary(found, plots, json=json)
        else:
            _show_view(_view(asked, log, selection), limit, json=json, csv=csv)


def _of_one_run(folders: tuple[Path, ...], runs: dict[str, Path]) -> tuple[Path, ...]:
    """The folders, when they are of one run; of several runs only the whole summary can tell."""
    if runs and folders[0] not in runs.values():
        raise _several(runs)
    return folders


def _several(runs: dict[str, Path]) -> ConfigError:
    return ConfigError(
        "there are several runs here; views and selections are of one",
        fix=f"name one of them: {', '.join(map(str, runs.values()))}",
    )


def _view(asked: Asked, log: RunLog, selection: Selection) -> View:
    if asked.view == TIMELINE:
        return timeline(log, selection)  # a stream: it shows its own progress
    if asked.view == WHY:
        with with_bar(log, times=2):
            return why(log, asked.peer, asked.round)
    with with_bar(log):
        found = inspect_log(log, selection)
    # as CSV, the summary is its rounds: the one table of it that others will want to plot
    return VIEWS["rounds" if asked.view == SUMMARY else asked.view](found)


def _show_view(view: View, limit: int, *, json: bool, csv: bool) -> None:
    if json:
        write_json(view, sys.stdout.write)
    elif csv:
        write_csv(view, sys.stdout.write)
    else:
        print_view(Console(), view, limit)


def _show_summary(found: Inspection, plots: Path | None, *, json: bool) -> None:
    summary = found.summary
    files = [] if plots is None else save_pictures(pictures(summary), plots)
    if json:
        typer.echo(json_format.dumps(found.as_json(), allow_nan=False))
        return
    console = Console()
    print_summary(console, summary)
    if found.selection.is_everything:
        print_findings(console, found.findings, found.begin_s)
    if found.missing:
        print_view(console, VIEWS["missing"](found), MOST_ROWS)
    _print_files(console, files)


def _show_sweep(folder: Path, plots: Path | None, *, json: bool) -> None:
    summary = summary_of(open_plan(folder))
    files = [] if plots is None else save_pictures(sweep_pictures(summary), plots)
    if json:
        typer.echo(json_format.dumps(summary.as_json(), allow_nan=False))
        return
    console = Console()
    print_sweep(console, summary)
    _print_files(console, files)


def _compare(
    runs: dict[str, Path], selection: Selection, plots: Path | None, *, json: bool
) -> None:
    if not selection.is_everything:
        raise _several(runs)
    comparison = compare(runs)
    files = [] if plots is None else _draw_all(comparison.summaries, plots)
    if json:
        typer.echo(json_format.dumps(comparison.as_json(), allow_nan=False))
    else:
        console = Console()
        print_comparison(console, comparison)
        _print_files(console, files)


def _draw_all(summaries: dict[str, RunSummary], folder: Path) -> list[Path]:
    files = []
    for name, summary in summaries.items():
        files += save_pictures(pictures(summary), folder / name)
    return files + save_pictures(comparison_pictures(summaries), folder)


def _print_files(console: Console, files: list[Path]) -> None:
    for file in files:
        console.print(Text(shown(str(file), limit=1000)), soft_wrap=True)
