"""`tidings peer move`: a peer goes to another disk, with what is left of its budget."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def move(
    folder: Annotated[Path, typer.Argument(help="The peer's folder.")],
    new: Annotated[Path, typer.Argument(help="Where it moves to: a new or an empty folder.")],
    other_machine: Annotated[
        bool,
        typer.Option("--other-machine", help="The disk with NEW goes into another machine."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Move a stopped peer to another disk; the old folder never runs again.

    After an interruption give the same command again.
    """
    from json import dumps

    from ..folder import PeerFolder
    from ..move import move_peer

    moved = move_peer(PeerFolder.open(folder), new, any_machine=other_machine)
    if json:
        typer.echo(dumps({"from": str(folder.absolute()), "to": str(moved.path.absolute())}))
        return
    typer.echo(f"The peer lives in {moved.path} now. {folder} never runs again: delete it.")
    if other_machine:
        typer.echo("It trains in the first machine that runs it, and in no other after that.")
    typer.echo(f"Next: tidings peer run {moved.path}")
