"""`tidings peer run`: one peer at work, until Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    folder: Annotated[Path, typer.Argument(help="The peer's folder.")],
    json: Annotated[
        bool, typer.Option("--json", help="Print each event as a line of JSON.")
    ] = False,
) -> None:
    """Train, publish, listen and mix, until it is stopped; carries on where it was stopped."""
    from ..launch import run_peer
    from .narration import narrator

    run_peer(folder, narrator(as_json=json))
