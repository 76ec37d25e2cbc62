"""``tidings topology NAME``: a graph in figures, round by round, and as a picture."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.text import Text

from ...crypto.errors import ConfigError
from ...crypto.files import write_atomic
from ..formats import shown
from ..graphs.facts import GraphFacts, facts_of, rounds_of
from ..graphs.naming import DEFAULT_NODES, KINDS, rule_of
from ..graphs.pictures import picture
from ..graphs.tables import print_comparison, print_facts, print_rounds

_COMPARED = (*KINDS[: KINDS.index("base")], "base-2", "base-3", "base-5")
_COMPARED += KINDS[KINDS.index("base") + 1 :]


def topology(
    name: Annotated[
        str | None,
        typer.Argument(help="A kind of graph, base-2, base-3, ..., or a file with one."),
    ] = None,
    nodes: Annotated[int | None, typer.Option(min=1, max=100_000, help="16 if not given.")] = None,
    degree: Annotated[
        int | None, typer.Option(min=1, help="Of the kinds that have one (docs/scenarios.md).")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the random kinds.")] = None,
    period: Annotated[
        int | None, typer.Option(min=1, help="Of random-matching and epidemic.")
    ] = None,
    rewire: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of links, of watts-strogatz.")
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=0, max=10_000, help="Show so many rounds one by one.")
    ] = 0,
    out: Annotated[Path | None, typer.Option(help="Draw the graph into this PNG file.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """How good a graph is: degrees, spectral gap, rounds to consensus, exactness.

    Without a name, all kinds side by side. Names and settings are those of [rules.topology].
    """
    if name is None:
        given = (degree, seed, period, rewire, out, rounds or None)
        if any(value is not None for value in given):
            raise ConfigError(
                "only --nodes and --json go without the name of a graph",
                fix="name one: tidings topology ring",
            )
        _compare(nodes or DEFAULT_NODES, json=json)
        return
    rule = rule_of(name, nodes, degree=degree, seed=seed, period=period, rewire=rewire)
    facts = facts_of(rule)
    shown_rounds = list(rounds_of(rule, rounds))
    if out is not None:
        write_atomic(out, picture(rule))
    if json:
        whole = facts.as_json() | {"rounds": [one.as_json() for one in shown_rounds]}
        typer.echo(json_format.dumps(whole, allow_nan=False))
        return
    console = Console()
    print_facts(console, facts)
    if shown_rounds:
        print_rounds(console, shown_rounds)
    if out is not None:
        console.print(Text(f"Picture: {shown(str(out), limit=1000)}"), soft_wrap=True)


def _compare(nodes: int, *, json: bool) -> None:
    graphs: list[GraphFacts] = []
    missing: dict[str, str] = {}
    console = Console(stderr=True, quiet=json)
    for name in track(_COMPARED, "Graphs", console=console, transient=True):
        try:
            graphs.append(facts_of(rule_of(name, nodes)))
        except ConfigError as error:
            missing[name] = error.what
    if json:
        whole = {"graphs": [facts.as_json() for facts in graphs], "missing": missing}
        typer.echo(json_format.dumps(whole, allow_nan=False))
        return
    print_comparison(Console(), nodes, graphs, missing)
