"""Graphs as tables in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..formats import MISSING, number, shown
from .facts import GraphFacts, RoundFacts

_WIDEST_LINKS = 60  # characters


def print_facts(console: Console, facts: GraphFacts) -> None:
    """One graph, a figure a line."""
    table = _table(f"{facts.name}, {facts.nodes} nodes")
    table.show_header = False
    for label, value in _lines(facts):
        table.add_row(label, value)
    console.print(table)


def print_comparison(
    console: Console, nodes: int, graphs: Sequence[GraphFacts], missing: dict[str, str]
) -> None:
    """Several graphs of as many nodes, a graph a line; then those that there are not, and why."""
    table = _table(f"Graphs of {nodes} nodes")
    table.add_column("graph", no_wrap=True)
    for header in ("hears", "links", "period", "gap", "rounds", "messages"):
        table.add_column(header, justify="right", no_wrap=True)
    for facts in graphs:
        table.add_row(
            facts.name + (" →" if facts.is_directed else ""),
            str(facts.degree_max),
            str(facts.links_max),
            str(facts.period),
            f"{facts.consensus.spectral_gap:.3g}",
            _rounds(facts),
            _messages(facts),
        )
    console.print(table)
    for name, why in missing.items():
        console.print(Text(f"no {name}: {why}"))
    console.print(
        Text(
            "hears: at most, in a round; links: a peer keeps; gap: the spectral gap; rounds: until "
            "1e-10 of any disagreement is left, * nothing; messages: a node sends until then, in "
            "the mean; →: directed",
            style="dim",
        )
    )


def print_rounds(console: Console, rounds: Sequence[RoundFacts]) -> None:
    """Round by round: how many messages, how much is not agreed upon, who hears whom."""
    table = _table("Round by round")
    for header in ("round", "messages", "left"):
        table.add_column(header, justify="right")
    table.add_column("links")
    for one in rounds:
        left = "0" if one.left <= 1e-14 else number(one.left)
        messages = str(len(one.links.senders))
        table.add_row(str(one.round), messages, left, shown(_links(one), limit=_WIDEST_LINKS))
    console.print(table)


def _table(title: str) -> Table:
    return Table(title=Text(title), title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))


def _lines(facts: GraphFacts) -> list[tuple[str, str]]:
    consensus = facts.consensus
    mean = "" if facts.period == 1 else ", mean a round"
    lines = [
        ("a node hears", _hears(facts) + " others a round"),
        ("a peer keeps links with", f"{facts.links_max} others"),
        ("rounds until it repeats", "always the same" if facts.period == 1 else str(facts.period)),
        ("directed", "yes" if facts.is_directed else "no"),
        ("keeps the average", "yes" if facts.keeps_average else "no, only in the mean over draws"),
        ("spectral gap" + mean, number(consensus.spectral_gap)),
        ("rounds to consensus", _rounds(facts, words=True)),
    ]
    if facts.messages is not None:
        lines.append(("messages a node until then", _messages(facts)))
    return lines


def _hears(facts: GraphFacts) -> str:
    if facts.degree_mean == facts.degree_max:
        return str(facts.degree_max)
    return f"{facts.degree_max} ({number(facts.degree_mean)})"


def _rounds(facts: GraphFacts, *, words: bool = False) -> str:
    consensus = facts.consensus
    if consensus.rounds is None:
        return "never" if not facts.is_connected else "too many to tell"
    about = "≈" if consensus.is_estimate and not consensus.is_exact else ""
    rounds = _count(consensus.rounds)
    if not words:
        return f"{about}{rounds}{'*' if consensus.is_exact else ''}"
    end = ", exactly" if consensus.is_exact else " (1e-10 of any disagreement is left)"
    return f"{about}{rounds}{end}"


def _messages(facts: GraphFacts) -> str:
    if facts.messages is None:
        return MISSING
    return number(facts.messages) if facts.messages < 100 else _count(facts.messages)


def _count(many: float) -> str:
    return f"{many:.0f}" if many < 1e7 else f"{many:.3g}"


def _links(one: RoundFacts) -> str:
    ends = zip(one.links.receivers.tolist(), one.links.senders.tolist(), strict=True)
    if one.links.is_symmetric:
        return " ".join(f"{a}-{b}" for a, b in ends if a < b)
    return " ".join(f"{heard}>{hears}" for hears, heard in ends)
