"""`tidings network admit`: requests in, admissions out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ...crypto.membership import JoinRequest


def admit(
    folder: Annotated[Path, typer.Argument(help="The network owner's folder.")],
    requests: Annotated[list[Path], typer.Argument(help="Join requests (NAME.request).")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for NAME.admission; the request's own if not given.")
    ] = None,
) -> None:
    """Admit peers: sign a certificate for each request, and write what its peer needs to join."""
    from ...crypto.network import NetworkAdmin
    from ...gossip.rules import Rules
    from ..admission import write_admission
    from ..settings_files import check_settings

    read = [read_request(path) for path in requests]  # all of them, before any is admitted
    admin = NetworkAdmin.open(folder)
    rules = check_settings(Rules, admin.network.rules, where=str(folder / "network.json"))
    admitted = admin.admit_all(read, max_nodes=rules.topology.nodes)
    for certificate, path in zip(admitted, requests, strict=True):
        file = write_admission(admin, certificate, path.parent if out is None else out)
        typer.echo(f"'{certificate.name}' is member {certificate.index}: {file}")
    typer.echo("Next: send each file to its peer, who runs: tidings peer join FOLDER FILE")
    keys = {certificate.verify_key for certificate in admitted}
    older = [each for each in admin.members() if each.verify_key not in keys]
    if older:
        target = folder / "admissions"
        files = [write_admission(admin, each, target) for each in older]
        typer.echo(
            f"The network runs already? Then send {files[0]} (or any other of {target})\n"
            "to its peer as well: from there the others hear of the new members"
        )


def read_request(path: Path) -> JoinRequest:
    """A verified join request. Raises ConfigError: missing, damaged or not signed by its key."""
    from ...crypto.errors import ConfigError, RemoteError
    from ...crypto.membership import JoinRequest
    from ..config import check_name

    try:
        request = JoinRequest.from_bytes(path.read_bytes())
        request.verify()
        check_name(request.name)  # it becomes the name of a file, and strangers choose it
    except (RemoteError, ValueError) as error:
        raise ConfigError(
            f"this is not a join request that can be used: {getattr(error, 'what', error)}",
            where=str(path),
            fix="ask for the .request file that `tidings peer init` wrote",
        ) from None
    except OSError as error:
        raise ConfigError(
            f"the request cannot be read: {error.strerror}", where=str(path), fix="check the path"
        ) from None
    return request
