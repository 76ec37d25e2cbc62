"""`tidings peer move`: a peer to another disk, with what is left of its privacy budget."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def move(
    folder: Annotated[Path, typer.Argument(help="The peer's folder; it is disabled for good.")],
    new: Annotated[Path, typer.Argument(help="Where to: a folder that is empty or not there yet.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Move a peer to another disk of this machine, with what is left of its privacy budget.

    A copied folder never trains; this is the way to move one. Stop the peer first. When the
    command is stopped half-way, run it again: it carries on.
    """
    from dataclasses import asdict
    from json import dumps

    from rich.console import Console

    from ..moving import move as move_peer

    with Console(stderr=True).status(f"Moving {folder} to {new} ..."):
        moved = move_peer(folder, new)
    if json:
        typer.echo(dumps(asdict(moved)))
        return
    finished = "Finished the move of" if moved.carried_on else "Moved"
    typer.echo(
        f"{finished} the peer '{moved.name}' to {moved.new}, with its {moved.releases} releases "
        "and what is left of its budget\n"
        f"  {moved.old} is disabled for good, but its key and model are still in it; delete it\n"
        "  when all is well\n"
        "Next:\n"
        f"  1. tidings peer doctor {new}\n"
        f"  2. tidings peer run {new}\n"
        f"     (or, where a service ran it, write its unit again: tidings peer service {new})"
    )
