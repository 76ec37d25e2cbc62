"""`tidings network broker-config`: the files of a mosquitto for a network's members."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def broker_config(
    folder: Annotated[Path, typer.Argument(help="The network owner's folder.")],
    host: Annotated[
        list[str], typer.Option(help="Name or address that peers reach the broker by; repeatable.")
    ],
    port: Annotated[int, typer.Option(help="Where the broker listens.")] = 8883,
    out: Annotated[Path | None, typer.Option(help="Folder for the files [FOLDER/broker].")] = None,
) -> None:
    """Write mosquitto's files: TLS, a password for each member, who may publish what."""
    from datetime import UTC, datetime

    from ...crypto.network import NetworkAdmin
    from ..broker_files import write_for_members
    from ..clock import wall_time

    admin = NetworkAdmin.open(folder)
    target = (folder / "broker" if out is None else out).absolute()
    now = datetime.fromtimestamp(wall_time(), UTC)
    members = {each.name: each.verify_key for each in admin.members()}
    written = write_for_members(target, admin.network.network_id, members, host, port, now)
    typer.echo(
        f"Wrote the files of a broker for {len(members)} members to {target}\n"
        f"Next: mosquitto -c {target / 'mosquitto.conf'}\n"
        f"and give each peer {written.ca.name} and its own file of {written.passwords}.\n"
        "Its peer.toml says then:\n"
        '  transport = "mqtt"\n'
        "  [broker]\n"
        f'  url = "mqtts://{host[0]}:{port}"\n'
        '  ca_file = "ca.pem"\n'
        '  password_file = "NAME.password"   # mode 0600'
    )
