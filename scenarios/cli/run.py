"""``tidings run SCENARIO``: many peers on one laptop."""

from __future__ import annotations

import json as json_format
import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...peer.clock import local_stamp
from ..comparison import side_by_side
from ..formats import shown
from ..inspection import inspect_log
from ..progress import RunProgress
from ..report import write_report
from ..resuming import resume_scenario
from ..run_log import RunLog
from ..runner import run_scenario
from ..scenario import bundled, load_scenario
from ..tables import print_comparison, print_summary


def run(
    scenario: Annotated[
        str | None, typer.Argument(help="A bundled scenario's name, or a TOML file.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help="live: real transports; sim: virtual clock; array: up to 10,000 peers;"
            " ray: array on a cluster."
        ),
    ] = None,
    transport: Annotated[
        str | None, typer.Option(help="Of the live engine: libp2p, mqtt, mixed or memory.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Decides everything that is chance.")] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; repeatable."),
    ] = None,
    processes: Annotated[
        bool, typer.Option("--processes", help="Live: each peer in a process of its own.")
    ] = False,
    tape: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Array: let happen what happened in that run's log."),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Carry on a run that was stopped."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder; runs/NAME-TIME if not given.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="End with one JSON object on standard output.")
    ] = False,
) -> None:
    """Run a scenario: peers with data of their own learn one model together.

    Without an argument, lists the scenarios that come with Tidings.
    """
    if resume is not None:
        _resume(resume, processes=processes, tape=tape, json=json)
        return
    if scenario is None:
        _list(json)
        return
    given = {"engine": engine, "transport": transport, "seed": seed}
    options = {name: value for name, value in given.items() if value is not None}
    settings = load_scenario(scenario, tuple(sets or ()), options)
    folder = out or Path("runs") / f"{settings.name}-{local_stamp()}"
    console = Console(stderr=json)
    console.print(Text(settings.description or settings.name, style="bold"))
    try:
        with RunProgress(console, settings.arms, quiet=json) as progress:
            folders = run_scenario(settings, folder, progress.watch, processes=processes, tape=tape)
    except KeyboardInterrupt:
        _tell_interrupted(folder)
        raise
    _tell(console, folder, folders, json=json)


def _resume(folder: Path, *, processes: bool, tape: Path | None, json: bool) -> None:
    console = Console(stderr=json)
    try:
        with RunProgress(console, quiet=json) as progress:
            folders = resume_scenario(folder, progress.watch, processes=processes, tape=tape)
    except KeyboardInterrupt:
        _tell_interrupted(folder)
        raise
    _tell(console, folder, folders, json=json)


def _tell_interrupted(folder: Path) -> None:
    name = shlex.quote(str(folder))
    for told in (
        f"Interrupted. What happened until then: tidings inspect {name}",
        f"To carry on: tidings run --resume {name}",
    ):
        Console(stderr=True).print(Text(shown(told, limit=1000)), soft_wrap=True)


def _tell(console: Console, folder: Path, folders: dict[str, Path], *, json: bool) -> None:
    read = {name: inspect_log(RunLog(path)) for name, path in folders.items()}
    comparison = side_by_side(read)
    report = write_report(folder, read=read)
    alone = len(folders) == 1
    first = next(iter(comparison.summaries.values()))
    if json:
        whole = next(iter(read.values())).as_json() if alone else comparison.as_json()
        typer.echo(json_format.dumps(whole, allow_nan=False))
        return
    if alone:
        print_summary(console, first)
    else:
        print_comparison(console, comparison)
    console.print(Text(f"Folder: {shown(str(folder), limit=1000)}"), soft_wrap=True)
    console.print(Text(f"Report: {shown(str(report), limit=1000)}"), soft_wrap=True)


def _list(json: bool) -> None:
    found = {name: load_scenario(name) for name in bundled()}
    if json:
        rows = [{"name": s.name, "description": s.description} for s in found.values()]
        typer.echo(json_format.dumps(rows))
        return
    table = Table("scenario", "engine", "peers", "what it shows", title="Bundled scenarios")
    for name, one in found.items():
        table.add_row(name, one.engine, str(one.peers), one.description)
    Console().print(table)
