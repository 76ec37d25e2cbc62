"""`tidings peer service`: a systemd unit that keeps a peer running."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .kinds import Kind


def service(
    folder: Annotated[Path, typer.Argument(help="The peer's folder.")],
    preset: Annotated[
        Kind, typer.Option(help="The kind of machine: what share of memory and time it may take.")
    ] = Kind.board,
    user: Annotated[
        str | None, typer.Option(help="Who it runs as; the folder's owner if not given.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write it; into the peer's folder if not given.")
    ] = None,
) -> None:
    """Write a hardened systemd unit that starts the peer with the machine and keeps it running."""
    from ...crypto.files import write_atomic
    from ..folder import PeerFolder
    from ..presets import PRESETS
    from ..service import owned_by, unit_name, unit_text, user_of

    peer = PeerFolder.open(folder)
    peer.must_be_here()
    config = peer.config()
    runs_as = user_of(folder, user)
    text = unit_text(folder, config, PRESETS[preset](), user=runs_as)
    name = unit_name(config)
    file = folder / name if out is None else out
    write_atomic(file, text.encode())

    steps = [
        f"sudo cp {file} /etc/systemd/system/{name}",
        "sudo systemctl daemon-reload",
        f"sudo systemctl enable --now {name}",
        f"journalctl -fu {name}",
    ]
    if not owned_by(folder, runs_as):
        steps.insert(0, f"sudo chown -R {runs_as} {folder.resolve()}")
    typer.echo(f"Wrote {file}, which runs '{config.name}' as {runs_as}\nNext:")
    for step in steps:
        typer.echo(f"  {step}")
