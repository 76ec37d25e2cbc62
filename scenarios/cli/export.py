"""``tidings export RUN --to FORM``: a run's figures for other programs."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.text import Text

from ...crypto.errors import ConfigError
from ...crypto.files import write_atomic
from ..exports.graphs import write_graph
from ..exports.prometheus import prometheus_text
from ..exports.tensorboard import write_tensorboard
from ..formats import shown
from ..inspection import Inspection, inspect_log
from ..run_log import RunLog, arms
from .inspect_input import folders_of, with_bar

Form = Literal["tensorboard", "graphml", "gexf", "prometheus"]
ENDINGS = {"tensorboard": "tensorboard", "graphml": "graphml", "gexf": "gexf", "prometheus": "prom"}


def export(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Folders or tar archives with logs, read as one."),
    ],
    to: Annotated[Form, typer.Option("--to", help="What to write.")],
    out: Annotated[
        Path | None,
        typer.Option(help="The file (a folder for tensorboard); RUN.FORM here if not given."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Curves for TensorBoard, the graph for Gephi, figures for Prometheus."""
    with folders_of(runs) as folders:
        if len(folders) == 1 and folders[0] not in (inside := arms(folders[0])).values():
            raise ConfigError(
                "there are several runs here, and an export is of one",
                where=str(runs[0]),
                fix=f"name one of them: {', '.join(map(str, inside.values()))}",
            )
        with with_bar(RunLog(*folders)) as log:
            found = inspect_log(log)
        where = out or Path(f"{runs[0].resolve().name.split('.')[0]}.{ENDINGS[to]}")
        _write(found, to, where)
    if json:
        typer.echo(json_format.dumps({"to": to, "written": str(where)}))
    else:
        Console().print(Text(shown(str(where), limit=1000)), soft_wrap=True)


def _write(found: Inspection, to: Form, where: Path) -> None:
    match to:
        case "tensorboard":
            if where.is_dir() and any(where.iterdir()):
                raise ConfigError(
                    "there is something here already, and curves would be mixed up with it",
                    where=str(where),
                    fix="choose another folder with --out",
                )
            write_tensorboard(found, where)
        case "prometheus":
            write_atomic(where, prometheus_text(found).encode())
        case _:
            write_graph(found, where, to)
