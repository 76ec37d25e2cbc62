"""The files of a mosquitto that serves one network: made for all its members at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ..crypto.files import make_folder, write_atomic
from .transports.mqtt.broker_config import (
    CA_CERTIFICATE,
    BrokerPlan,
    broker_config,
    new_passwords,
    write_broker_config,
)
from .transports.mqtt.certificates import make_certificates


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Where things stand: the CA's certificate, and a folder with a file for each member."""

    config: Path
    ca: Path
    passwords: Path


def write_for_members(
    folder: Path,
    network_id: bytes,
    members: Mapping[str, bytes],
    hosts: Sequence[str],
    port: int,
    now: datetime,
    *,
    bind: str | None = None,
) -> Written:
    """Write the broker's files, and in ``members/NAME.password`` (0600) what each member needs.

    ``members`` maps names to verify keys, ``now`` dates the certificates. Raises StorageError when
    a file cannot be written, ConfigError when a host is none.
    """
    passwords = new_passwords(members.values())
    plan = BrokerPlan(network_id=network_id, folder=folder, port=port, bind=bind)
    files = broker_config(plan, passwords, make_certificates(list(hosts), now=now))
    write_broker_config(folder, files)
    make_folder(folder / "members", 0o700)
    for name, key in members.items():
        content = f"{passwords[key]}\n".encode()
        write_atomic(folder / "members" / f"{name}.password", content, 0o600)
    return Written(
        config=folder / "mosquitto.conf",
        ca=folder / CA_CERTIFICATE,
        passwords=folder / "members",
    )
