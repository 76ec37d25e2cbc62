"""A sweep's summary as a table in a terminal."""

from __future__ import annotations

from collections.abc import Callable

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..formats import MISSING, number, shown, size
from .summary import PointSummary, Spread, SweepSummary


def print_sweep(console: Console, summary: SweepSummary) -> None:
    """One line a point and arm: mean over the seeds, ± their standard deviation."""
    console.print(sweep_table(summary))
    if summary.finished < summary.planned:
        console.print(Text(f"{summary.finished} of {summary.planned} runs are over."))


def sweep_table(summary: SweepSummary) -> Table:
    """The table of ``print_sweep``; columns that say nothing are left out."""
    columns: dict[str, tuple[str, Callable[[Spread], str]]] = {
        "accuracy": ("accuracy_mean", _percent),
        "worst peer": ("accuracy_min", _percent),
        "a peer sent": ("bytes_per_peer", lambda spread: size(spread.mean)),
        "frames": ("messages_per_peer", lambda spread: f"{spread.mean:.0f}"),
        "largest ε": ("epsilon_max", lambda spread: number(spread.high)),
    }
    told = {
        title: column
        for title, column in columns.items()
        if any(one.figures[column[0]] is not None for one in summary.points)
    }
    table = Table(
        title=Text(_title(summary)),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column(Text("point"), overflow="fold")
    uneven = len({(one.runs, one.failed) for one in summary.points}) > 1 or summary.failed > 0
    for title in (*(["runs"] if uneven else []), *told):
        table.add_column(Text(title), justify="right", no_wrap=True)
    for one in summary.points:
        cells = [
            MISSING if (spread := one.figures[figure]) is None else written(spread)
            for figure, written in told.values()
        ]
        runs = [_runs(one)] if uneven else []
        table.add_row(Text(shown(summary.name_of(one))), *runs, *(Text(cell) for cell in cells))
    return table


def _title(summary: SweepSummary) -> str:
    count = len(summary.seeds)
    spread = f"mean ± standard deviation over {count} seeds" if count > 1 else "one seed"
    return f"{shown(summary.name)}: {spread}"


def _runs(one: PointSummary) -> Text:
    if one.failed:
        return Text(f"{one.runs - one.failed}, {one.failed} failed", style="yellow")
    return Text(str(one.runs))


def _percent(spread: Spread) -> str:
    if spread.sd is None:
        return f"{100 * spread.mean:.1f} %"
    return f"{100 * spread.mean:.1f} ± {100 * spread.sd:.1f} %"
