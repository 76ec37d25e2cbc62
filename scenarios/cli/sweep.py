"""``tidings sweep FILE``: one scenario with many settings and seeds, over all cores."""

from __future__ import annotations

import json as json_format
import re
import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...crypto.errors import ConfigError
from ...peer.clock import local_stamp
from ...peer.settings_files import apply_sets, put_values
from ..formats import shown
from ..scenario import bundled, read_scenario
from ..sweep.definition import MAX_RUNS, Sweep, bundled_sweeps, read_sweep
from ..sweep.pool import cores
from ..sweep.progress import SweepProgress
from ..sweep.runner import Plan, new_plan, open_plan, run_plan, write_findings
from ..sweep.tables import print_sweep

BROKEN = 1  # exit code: some runs broke off, and are tried again when the sweep is resumed


def sweep(
    file: Annotated[
        str | None,
        typer.Argument(help="A sweep file, a bundled sweep's name, or a scenario with --over."),
    ] = None,
    over: Annotated[
        list[str] | None,
        typer.Option("--over", metavar="KEY=V1,V2", help="Try these values; repeatable."),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Run each point with these, such as 1,2,3 or 1-5.")
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting of all points."),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="Runs at once; as many as there are cores if not given."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The sweep's folder; runs/NAME-TIME if not given.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Go on with the sweep in this folder.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="End with one JSON object on standard output.")
    ] = False,
) -> None:
    """Run a scenario with many settings and seeds, and compare what comes out.

    Without an argument, lists the sweeps that come with Tidings. A sweep may be stopped or killed
    at any time: --resume goes on, and runs nothing twice that was over.
    """
    if file is None and resume is None:
        _list(json)
        return
    if resume is not None:
        if file is not None or over or seeds or sets or out:
            raise ConfigError(
                "a sweep goes on as it was begun",
                where="--resume",
                fix=f"give the folder alone; more points and seeds go into {resume}/sweep.toml",
            )
        plan = open_plan(resume)
    else:
        plan = _begin(str(file), over or [], seeds, sets or [], out)
    _run(plan, processes or cores(), json=json)


def _begin(
    file: str, over: list[str], seeds: str | None, sets: list[str], out: Path | None
) -> Plan:
    asked, beside = read_sweep(file, over=over, seeds=_seeds(seeds))
    base, where = read_scenario(asked.scenario, beside=beside)
    beside = beside if asked.scenario in bundled() else (beside / asked.scenario).parent
    # what is the same for all points becomes part of the base, the command line's word being last
    base = apply_sets(put_values(base, asked.set, where=f"{file}: set"), sets)
    asked = asked.model_copy(update={"set": {}})
    folder = out or Path("runs") / f"{asked.name}-{local_stamp()}"
    return new_plan(asked, base, folder, where=where, beside=beside)


def _run(plan: Plan, processes: int, *, json: bool) -> None:
    console = Console(stderr=json)
    missing = len(plan.missing)
    processes = max(min(processes, missing), 1)
    console.print(Text(plan.sweep.description or plan.sweep.name, style="bold"))
    folder = shown(str(plan.folder), limit=1000)
    try:
        with SweepProgress(
            console,
            planned=len(plan.jobs),
            kept=len(plan.jobs) - missing,
            processes=processes,
            quiet=json,
        ) as progress:
            broken = run_plan(plan, progress.watch, processes=processes)
    except KeyboardInterrupt:
        write_findings(plan)
        told = f"Interrupted. To go on: tidings sweep --resume {shlex.quote(folder)}"
        Console(stderr=True).print(Text(told), soft_wrap=True)
        raise
    summary, files, note = write_findings(plan)
    if json:
        whole = summary.as_json() | {"folder": str(plan.folder), "broken": broken}
        whole["files"] = [str(path) for path in files]
        typer.echo(json_format.dumps(whole, allow_nan=False))
    else:
        print_sweep(console, summary)
        console.print(Text(f"Folder: {folder}"), soft_wrap=True)
        for path in files:
            console.print(Text(f"  {shown(path.name)}"), soft_wrap=True)
    for line in note.splitlines():
        console.print(Text(line, style="yellow"), soft_wrap=True)
    for run, why in broken.items():
        last = shown(why.strip().splitlines()[-1], limit=200)
        console.print(Text(f"Run {run} broke off: {last}", style="red"), soft_wrap=True)
    if broken:
        raise typer.Exit(BROKEN)


def _seeds(text: str | None) -> list[int]:
    """The seeds of ``--seeds``. Raises ConfigError."""
    seeds: list[int] = []
    for part in (text or "").split(",") if text is not None else ():
        found = re.fullmatch(r"\s*(\d{1,18})(?:-(\d{1,18}))?\s*", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not first <= last < first + MAX_RUNS:
            raise ConfigError(
                f"'{part.strip()}' is no seed and no range of seeds",
                where="--seeds",
                fix="write for example --seeds 1,2,3 or --seeds 1-5",
            )
        seeds += range(first, last + 1)
    return seeds


def _list(json: bool) -> None:
    found: list[Sweep] = [read_sweep(name)[0] for name in bundled_sweeps()]
    if json:
        rows = [{"name": one.name, "description": one.description} for one in found]
        typer.echo(json_format.dumps(rows))
        return
    table = Table("sweep", "scenario", "what it shows", title="Bundled sweeps")
    for one in found:
        table.add_row(one.name, one.scenario, one.description)
    Console().print(table)
