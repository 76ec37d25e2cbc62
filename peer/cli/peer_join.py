"""`tidings peer join`: a peer becomes a member, or hears of new members and revocations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def join(
    folder: Annotated[Path, typer.Argument(help="The peer's folder.")],
    admission: Annotated[Path, typer.Argument(help="The file from the network's owner.")],
) -> None:
    """Take up an admission: check that it is for this peer, and keep it in its folder."""
    from ..admission import Admission
    from ..folder import PeerFolder
    from ..foresight import foresee_costs

    peer = PeerFolder.open(folder)
    given = Admission.load(admission, peer.identity())
    peer.join(given)
    typer.echo(
        f"'{given.certificate.name}' is member {given.certificate.index} of the network "
        f"'{given.network.name}' ({given.network.network_id.hex()})"
    )
    foresee_costs(peer)
    if peer.is_running():
        typer.echo("It runs, and takes up what is new within a second or two.")
    else:
        typer.echo(f"Next: tidings peer run {folder}")
