"""The same in a terminal, for a board that is reached over ssh."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..formats import percent, shown, size
from ..summary_values import RunSummary
from ..tables import peers_table, summary_table, troubles_table
from .watched import Watched

EVERY_S = 1.0
BARS = "▁▂▃▄▅▆▇█"


def watch_in_terminal(
    watched: Watched, console: Console, wait: Callable[[float], None] = time.sleep
) -> None:
    """Show the run until it ends or Ctrl-C."""
    with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
        while True:
            watched.look()
            live.update(view(watched, console.width, console.height), refresh=True)
            if watched.ended:
                break
            wait(EVERY_S)
    console.print(view(watched, console.width, console.height))


def view(watched: Watched, width: int, height: int) -> Group:
    """All that fits the screen."""
    summary = watched.summary()
    parts: list[Table | Text] = [
        summary_table({summary.name or watched.name: summary}),
        Text.assemble("  accuracy ", (sparkline(watched.accuracies(), width - 24), "green"),
                      f" {percent(summary.accuracy_mean)}"),
    ]  # fmt: skip
    if len(summary.by_peer) + 24 < height:
        parts.append(peers_table(summary))
    troubles = troubles_table(summary)
    if troubles.row_count:
        parts.append(troubles)
    parts.append(Text(_foot(summary), style="dim"))
    return Group(*parts)


def sparkline(values: Sequence[float], width: int) -> str:
    """Values in 0..1 as a line of blocks, the newest last."""
    if not values or width < 1:
        return ""
    every = max(1, -(-len(values) // width))
    kept = values[::-every][::-1]
    low, high = min(kept), max(kept)
    spread = high - low or 1.0
    return "".join(BARS[round((value - low) / spread * (len(BARS) - 1))] for value in kept)


def _foot(summary: RunSummary) -> str:
    last = f"{shown(summary.outcome)}" if summary.outcome else "running"
    return f"  {last} · {size(summary.bytes_sent)} sent · Ctrl-C to leave"
