"""`tidings network revoke`: a member is a member no more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ...crypto.membership import Certificate
    from ...crypto.network import NetworkAdmin


def revoke(
    folder: Annotated[Path, typer.Argument(help="The network owner's folder.")],
    member: Annotated[str, typer.Argument(help="The member's name, short id or peer id.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the others' new admissions [FOLDER/admissions].")
    ] = None,
) -> None:
    """Revoke a member: a new bulletin names it, and the others get a new group key."""
    from ...crypto.identity import short_id
    from ...crypto.network import NetworkAdmin
    from ..admission import write_admission

    admin = NetworkAdmin.open(folder)
    revoked = find_member(admin, member)
    bulletin = admin.revoke(revoked.verify_key)
    typer.echo(
        f"Revoked '{revoked.name}' ({short_id(revoked.verify_key)}): "
        f"bulletin {bulletin.serial}, group key {bulletin.key_epoch}"
    )
    target = folder / "admissions" if out is None else out
    files = [write_admission(admin, each, target) for each in admin.members()]
    if files:
        typer.echo(
            f"Next: send {files[0]} (or any other of {target}) to its peer, who runs\n"
            "  tidings peer join FOLDER FILE\n"
            "while the peer runs or not; from there the bulletin spreads by gossip"
        )


def find_member(admin: NetworkAdmin, text: str) -> Certificate:
    """The member that is called ``text``, by name, short id or peer id. Raises ConfigError."""
    from difflib import get_close_matches

    from ...crypto.errors import ConfigError
    from ...crypto.identity import libp2p_peer_id, short_id

    members = admin.members()
    for each in members:
        if text in (each.name, libp2p_peer_id(each.verify_key)):
            return each
    by_id = [each for each in members if short_id(each.verify_key) == text]
    if len(by_id) == 1:  # short ids can collide
        return by_id[0]
    near = get_close_matches(text, [each.name for each in members], n=1)
    raise ConfigError(
        f"the network has no member '{text}'",
        where=str(admin.folder),
        fix=f"did you mean '{near[0]}'?" if near else "name one of its members",
    )
