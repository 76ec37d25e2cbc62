"""`tidings peer run`: one peer at work, until Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(folder: Annotated[Path, typer.Argument(help="The peer's folder.")]) -> None:
    """Train, publish, listen and mix, until it is stopped; carries on where it was stopped."""
    from ..launch import run_peer

    run_peer(folder)
