"""A run's summary as tables in a terminal.

Every text that comes from a log passes through ``shown`` and is printed as plain ``Text``: a peer
may choose a name full of markup or control characters, and it must stay a name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .comparison import Comparison
from .formats import MISSING, number, percent, shown, size, yes_no
from .summary_values import RoundRow, RunSummary

MAX_ROWS = 25
MAX_EDGES = 10
MAX_SETTINGS = 100

Cell = str | tuple[str, str]  # a text, or a text and its style
Row = Sequence[Cell]


def print_summary(console: Console, summary: RunSummary) -> None:
    """Everything that is known of one run; tables that would be empty are left out."""
    console.print(summary_table({summary.name: summary}))
    for table in (
        rounds_table(summary),
        peers_table(summary),
        edges_table(summary),
        links_table(summary),
        refusals_table(summary),
        privacy_table(summary),
        proofs_table(summary),
        troubles_table(summary),
        bad_lines_table(summary),
    ):
        if table.row_count:
            console.print(table)


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Several runs side by side, how they differ, then what was refused or went wrong in each."""
    console.print(summary_table(comparison.summaries))
    settings = differences_table(comparison)
    if settings.row_count:
        console.print(settings)
    for name, summary in comparison.summaries.items():
        for table in (refusals_table(summary), troubles_table(summary), bad_lines_table(summary)):
            if table.row_count:
                table.title = Text(f"{shown(name)}: {table.title}")
                console.print(table)


def differences_table(comparison: Comparison) -> Table:
    """The settings in which the runs differ."""
    names = list(comparison.summaries)
    table = _filled(
        "Settings that differ",
        [""],
        [shown(name) for name in names],
        [
            [shown(row.key), *(_setting(row.values.get(name)) for name in names)]
            for row in comparison.differences
        ],
        limit=MAX_SETTINGS,
    )
    for column in table.columns:
        column.overflow = "fold"  # a key that is cut short says little
    return table


def _setting(value: object) -> str:
    if value is None:
        return MISSING
    return shown(value if isinstance(value, str) else json.dumps(value, default=str))


def summary_rows(summaries: Mapping[str, RunSummary]) -> list[tuple[str, list[str]]]:
    """The head figures: a label and one value for each run. Texts are shown, not escaped."""

    def row(label: str, values: Iterable[str]) -> tuple[str, list[str]]:
        return label, list(values)

    runs = list(summaries.values())
    return [
        row("engine", (_engine(run) for run in runs)),
        row("seed", (MISSING if run.seed is None else str(run.seed) for run in runs)),
        row("outcome", (shown(run.outcome) or "not finished" for run in runs)),
        row("peers", (str(run.peers) for run in runs)),
        row("rounds", (str(run.rounds) for run in runs)),
        row("mean accuracy", (percent(run.accuracy_mean) for run in runs)),
        row("worst accuracy", (percent(run.accuracy_min) for run in runs)),
        row("consensus distance", (number(run.consensus_distance) for run in runs)),
        row("sent", (f"{size(run.bytes_sent)} in {run.messages_sent} frames" for run in runs)),
        row("privacy", (privacy_line(run) for run in runs)),
        row("refused frames", (str(sum(run.refused.values())) for run in runs)),
        row("public copies agree", (yes_no(run.copies_agree) for run in runs)),
    ]


def privacy_line(summary: RunSummary) -> str:
    """What was promised to whom, in one line."""
    if summary.epsilon_max is None:
        return "none"
    return (
        f"ε ≤ {number(summary.epsilon_max)} at δ = {number(summary.delta)}"
        f" for each {shown(summary.privacy_unit)}"
    )


def summary_table(summaries: Mapping[str, RunSummary]) -> Table:
    """The head figures of one run, or of several side by side."""
    table = _table("", [""], [*(shown(name) for name in summaries)])
    for label, values in summary_rows(summaries):
        table.add_row(Text(label, style="bold"), *(Text(value) for value in values))
    return table


def rounds_table(summary: RunSummary) -> Table:
    """Accuracy, consensus distance and epsilon over the rounds; long runs are thinned out."""
    return _filled(
        "Rounds",
        [],
        ["round", "mean accuracy", "worst", "consensus distance", "largest ε"],
        [
            [
                str(row.round),
                percent(row.accuracy_mean),
                percent(row.accuracy_min),
                number(row.consensus_distance),
                number(row.epsilon_max),
            ]
            for row in thinned(summary.by_round)
        ],
    )


def peers_table(summary: RunSummary) -> Table:
    """One line for each peer; a figure that tells nothing of anybody has no column."""
    peers = summary.by_peer
    columns = {
        "rounds": [str(peer.rounds) for peer in peers],
        "accuracy": [percent(peer.accuracy) for peer in peers],
    }
    if any(peer.epsilon is not None for peer in peers):
        columns["ε"] = [number(peer.epsilon) for peer in peers]
    columns["sent"] = [size(peer.bytes_sent) for peer in peers]
    if any(peer.bytes_received for peer in peers):  # large runs tell of those sent alone
        columns["received"] = [size(peer.bytes_received) for peer in peers]
    rarer = {
        "refused": (0, [peer.refused for peer in peers]),
        "missed": (0, [peer.missing for peer in peers]),
        "skipped": (0, [peer.skipped for peer in peers]),
        "starts": (1, [peer.starts for peer in peers]),
    }
    for name, (usual, counts) in rarer.items():
        if any(count != usual for count in counts):
            columns[name] = [str(count) for count in counts]
    left = [[shown(peer.name, limit=24), shown(peer.id, limit=8)] for peer in peers]
    right = zip(*columns.values(), strict=True)
    rows = [[*names, *figures] for names, figures in zip(left, right, strict=True)]
    return _filled("Peers", ["peer", "id"], list(columns), rows)


def edges_table(summary: RunSummary) -> Table:
    """Who spoke to whom, the heaviest first."""
    edges = sorted(summary.edges, key=lambda edge: -edge.bytes)
    return _filled(
        "Who spoke to whom",
        ["from", "to"],
        ["bytes", "frames"],
        [
            [shown(edge.sender), shown(edge.receiver), size(edge.bytes), str(edge.messages)]
            for edge in edges
        ],
        limit=MAX_EDGES,
    )


def links_table(summary: RunSummary) -> Table:
    """Links that broke; those that only came up once are not worth a line."""
    return _filled(
        "Links that broke",
        ["peer", "neighbour"],
        ["up", "down", "last because"],
        [
            [shown(row.peer), shown(row.neighbour), str(row.up), str(row.down), shown(row.last_why)]
            for row in summary.links
            if row.down
        ],
    )


def refusals_table(summary: RunSummary) -> Table:
    """What was refused, by whom, from whom and why."""
    return _filled(
        "Refused frames",
        ["peer", "from", "reason"],
        ["frames", "last one"],
        [
            [
                shown(row.peer),
                shown(row.sender) or "unknown",
                (shown(row.reason), "yellow"),
                str(row.count),
                shown(row.detail),
            ]
            for row in summary.refusals
        ],
    )


def privacy_table(summary: RunSummary) -> Table:
    """What the peers' releases cost, and what the figure means."""
    if summary.epsilon_max is None:
        return _filled("Privacy", [""], [""], [])
    out_of_budget = [p for p in summary.by_peer if p.budget_spent_round is not None]
    rows: list[Row] = [
        ["unit protected", shown(summary.privacy_unit)],
        ["largest ε of any peer", number(summary.epsilon_max)],
        ["δ", number(summary.delta)],
        ["neighbouring relation", shown(summary.neighbouring_relation)],
        ["trust model", shown(summary.trust_model)],
        ["accountant", shown(summary.accountant)],
        ["peers whose budget is spent", str(len(out_of_budget))],
    ]
    return _filled("Privacy", [""], [""], rows)


def proofs_table(summary: RunSummary) -> Table:
    """Proofs of equivocation, in full: anyone can check and pass them on."""
    table = _filled("Proofs of equivocation", ["author", "entry", "checked", "proof (hex)"], [], [])
    verdicts = {True: ("valid", "red"), False: ("proves nothing", "yellow"), None: ("not", "")}
    for row in summary.proofs[:MAX_ROWS]:
        verdict, style = verdicts[row.verified]
        table.add_row(
            Text(shown(row.author)),
            Text(str(row.sequence)),
            Text(verdict, style=style),
            Text(shown(row.proof, limit=4096), overflow="fold"),
        )
    return table


def trouble_rows(summary: RunSummary) -> list[tuple[str, str]]:
    """What must not go unseen, in words; texts are shown, not escaped.

    Peers that were rolled back, copies that differ, numbers used twice, members withdrawn.
    """
    rows = [
        (
            "rolled back",
            f"{shown(row.peer)} holds its feed up to {row.own_sequence}, "
            f"its neighbours up to {row.seen_sequence}",
        )
        for row in summary.rolled_back
    ]
    holders: dict[tuple[str, int, str], list[str]] = {}
    for one in summary.copies.differences:
        holders.setdefault((one.author, one.sequence, one.held), []).append(one.follower)
    rows += [
        (
            "copies differ",
            f"at entry {sequence} of {shown(author)}, not the copy that its log names is held by "
            f"{shown(', '.join(followers))}",
        )
        for (author, sequence, _), followers in holders.items()
    ]
    rows += [
        ("number used twice", f"{shown(author)} published entry {sequence} twice")
        for author, sequence in summary.copies.reused
    ]
    rows += [("revoked", shown(peer)) for peer in summary.revoked]
    return rows


def troubles_table(summary: RunSummary) -> Table:
    """Peers that must not go on, copies that differ, members that were withdrawn."""
    rows: list[Row] = [[(what, "yellow"), which] for what, which in trouble_rows(summary)]
    return _filled("Troubles", ["what", "which"], [], rows)


def bad_lines_table(summary: RunSummary) -> Table:
    """Lines of the logs that were left out."""
    title = f"Lines that could not be read ({summary.corrupt_lines})"
    return _filled(
        title,
        ["file", "line", "why"],
        [],
        [[shown(bad.file), str(bad.line), shown(bad.why)] for bad in summary.bad_lines],
    )


def thinned(rows: Sequence[RoundRow]) -> list[RoundRow]:
    """At most MAX_ROWS rounds, evenly spaced, the first and the last among them."""
    if len(rows) <= MAX_ROWS:
        return list(rows)
    last = len(rows) - 1
    return [rows[round(step * last / (MAX_ROWS - 1))] for step in range(MAX_ROWS)]


def _engine(summary: RunSummary) -> str:
    names = [shown(name) for name in (summary.engine, summary.transport) if name]
    return " over ".join(names) or MISSING


def _table(title: str, left: Sequence[str], right: Sequence[str]) -> Table:
    table = Table(
        title=Text(title) if title else None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for name in left:
        table.add_column(Text(name), justify="left")
    for name in right:
        table.add_column(Text(name), justify="right")
    return table


def _filled(
    title: str,
    left: Sequence[str],
    right: Sequence[str],
    rows: Sequence[Row],
    *,
    limit: int = MAX_ROWS,
) -> Table:
    table = _table(title, left, right)
    for row in rows[:limit]:
        table.add_row(*(Text(cell) if isinstance(cell, str) else Text(*cell) for cell in row))
    if len(rows) > limit:
        table.caption = Text(f"and {len(rows) - limit} more; --json shows all")
    return table
