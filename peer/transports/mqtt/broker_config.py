"""Files for a mosquitto broker of a network: TLS, a password for each member, and an ACL.

The ACL holds each member to its own name: it may speak on links only as itself, broadcast only on
its own feed, and read of links only its own. It may read the feeds of all, which are sealed. A
member's user name is its verify key in hexadecimal, which is what ``%u`` stands for in the topics.

``broker_config`` is pure; ``write_broker_config`` writes what it gives.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ....crypto.errors import ConfigError
from ....crypto.files import make_folder, write_atomic
from ....crypto.identity import Entropy
from ..limits import MIB
from .topics import ROOT

if TYPE_CHECKING:
    from .certificates import Certificates

CONFIG, ACL, PASSWORDS = "mosquitto.conf", "acl", "passwords"
BRIDGE_USER, BRIDGE_CA = "bridge", "bridge-ca.pem"
CA_CERTIFICATE, CERTIFICATE, KEY = "ca.pem", "broker.pem", "broker.key"
_ITERATIONS = 101  # mosquitto's own; the passwords are random, so stretching adds nothing
_SALT_BYTES = 12
_PASSWORD_BYTES = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """Another broker of the same network: its address, its ``ca.pem``, the bridge's password."""

    host: str
    port: int
    ca: bytes
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerPlan:
    """What the files are made from.

    Attributes:
        network_id: of the network whose members use the broker.
        folder: where the files will be on the machine of the broker; absolute.
        port: where it listens.
        bind: the address that it listens on; None means all of the machine.
        keep: whether sessions and retained messages outlast a restart of the broker.
        bridge: a second broker that this one connects to and shares the network's traffic with.
    """

    network_id: bytes
    folder: Path
    port: int = 8883
    bind: str | None = None
    keep: bool = True
    bridge: Bridge | None = None


def new_passwords(members: Iterable[bytes], entropy: Entropy = os.urandom) -> dict[bytes, str]:
    """A random password of 192 bits for each member."""
    return {
        member: base64.urlsafe_b64encode(entropy(_PASSWORD_BYTES)).decode("ascii")
        for member in members
    }


def password_line(username: str, password: str, salt: bytes) -> str:
    """A line of mosquitto's password file: PBKDF2 with SHA-512, as mosquitto_passwd writes it.

    Raises ConfigError for a user name that cannot stand in the file.
    """
    if not username or any(letter in username for letter in ":\n\r\0"):
        raise ConfigError(f"{username!r} cannot be a user name of the broker")
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
    fields = (base64.b64encode(part).decode("ascii") for part in (salt, key))
    return f"{username}:$7${_ITERATIONS}${'$'.join(fields)}"


def acl(network_id: bytes, *, bridged: bool = False) -> str:
    """The rules of who may publish and read what; ``bridged`` lets a second broker in."""
    root = f"{ROOT}/{network_id.hex()}"
    lines = [
        "# A member publishes as itself alone. %u is its user name, its verify key.",
        f"pattern write {root}/here/%u",
        f"pattern write {root}/feed/%u",
        f"pattern write {root}/head/%u",
        f"pattern write {root}/to/+/%u",
        f"pattern read {root}/to/%u/+",
        f"pattern read {root}/here/+",
        f"pattern read {root}/feed/+",
        f"pattern read {root}/head/+",
    ]
    if bridged:
        lines += [f"user {BRIDGE_USER}", f"topic readwrite {root}/#"]
    return "\n".join(lines) + "\n"


def mosquitto_conf(plan: BrokerPlan) -> str:
    """The main configuration, for mosquitto 2.0 and later."""
    folder = plan.folder.as_posix()
    if not plan.folder.is_absolute() or any(letter in folder for letter in "\n\r\0"):
        raise ConfigError("the broker's folder must be an absolute path", where=folder)
    lines = [
        "# Written by `tidings network broker-config`.",
        "per_listener_settings false",
        f"listener {plan.port} {plan.bind}" if plan.bind else f"listener {plan.port}",
        f"certfile {folder}/{CERTIFICATE}",
        f"keyfile {folder}/{KEY}",
        "tls_version tlsv1.2",  # at least
        "allow_anonymous false",
        f"password_file {folder}/{PASSWORDS}",
        f"acl_file {folder}/{ACL}",
        "",
        "# A link has at most 8 chunks of 256 KiB under way; what is more waits in the queue.",
        f"max_packet_size {MIB}",
        "max_inflight_messages 16",
        "max_queued_messages 0",
        f"max_queued_bytes {128 * MIB}",
        "max_keepalive 120",
        "persistent_client_expiration 7d",
        "set_tcp_nodelay true",
        "",
        f"persistence {'true' if plan.keep else 'false'}",
        *([f"persistence_location {folder}/data/"] if plan.keep else []),
        *(_bridge(plan.network_id, folder, plan.bridge) if plan.bridge else []),
    ]
    return "\n".join(lines) + "\n"


def _bridge(network_id: bytes, folder: str, bridge: Bridge) -> list[str]:
    return [
        "",
        f"connection tidings-{network_id.hex()[:8]}",
        f"address {bridge.host}:{bridge.port}",
        f"bridge_cafile {folder}/{BRIDGE_CA}",
        f"remote_username {BRIDGE_USER}",
        f"remote_password {bridge.password}",
        f"topic {ROOT}/{network_id.hex()}/# both 1",
        "bridge_protocol_version mqttv50",
        "cleansession false",
        "restart_timeout 1 8",
        "notifications false",  # of $SYS, which the other broker's ACL denies
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerFiles:
    """File names with their content; what is in ``secret`` only the broker's user may read."""

    public: Mapping[str, bytes]
    secret: Mapping[str, bytes] = field(repr=False)


def broker_config(
    plan: BrokerPlan,
    passwords: Mapping[bytes, str],
    certificates: Certificates,
    *,
    bridge_password: str | None = None,
    entropy: Entropy = os.urandom,
) -> BrokerFiles:
    """All files of the broker; ``passwords`` has one for each member's verify key.

    With ``bridge_password`` a second broker may connect (``BrokerPlan.bridge`` there). The CA's
    key is not among the files: nothing else is ever signed with it.
    """
    users = {member.hex(): password for member, password in sorted(passwords.items())}
    if bridge_password is not None:
        users[BRIDGE_USER] = bridge_password
    lines = [
        password_line(name, password, entropy(_SALT_BYTES)) for name, password in users.items()
    ]
    return BrokerFiles(
        public={
            ACL: acl(plan.network_id, bridged=bridge_password is not None).encode(),
            CA_CERTIFICATE: certificates.ca,
            CERTIFICATE: certificates.broker,
            **({BRIDGE_CA: plan.bridge.ca} if plan.bridge else {}),
        },
        secret={
            CONFIG: mosquitto_conf(plan).encode(),
            PASSWORDS: "".join(f"{line}\n" for line in lines).encode(),
            KEY: certificates.broker_key,
        },
    )


def write_broker_config(folder: Path, files: BrokerFiles, *, keep: bool = True) -> Sequence[Path]:
    """Write the files and return their paths; files of a broker-config before are replaced.

    Raises StorageError when one cannot be written.
    """
    make_folder(folder)
    if keep:
        make_folder(folder / "data", 0o700)
    written = []
    for contents, mode in ((files.public, 0o644), (files.secret, 0o600)):
        for name, content in contents.items():
            write_atomic(folder / name, content, mode)
            written.append(folder / name)
    return written
