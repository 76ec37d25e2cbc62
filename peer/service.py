"""A systemd unit that keeps a peer running: after a power cut, a crash, an upgrade.

The unit runs as the owner of the peer's folder. systemd's ``DynamicUser`` is of no use here: a
made-up user cannot own a folder that its owner made, whose key is readable by one user alone and
whose privacy ledger knows its place on the disk.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from ..crypto.errors import ConfigError
from .config import PeerConfig
from .presets import Preset

_HOMES = ("/home", "/root", "/run/user")
_TMP = ("/tmp", "/var/tmp")

_UNIT = """\
# Made by `tidings peer service`; make it again rather than edit it.
# Local changes belong into a drop-in: systemctl edit {unit}

[Unit]
Description=Tidings peer {name}
Wants=network-online.target time-sync.target
After=network-online.target time-sync.target
RequiresMountsFor={folder}
# A peer waits by itself for its broker and its neighbours. It ends for what a person must mend,
# perhaps on another machine, so a peer on a shelf is never given up, however often it fails.
StartLimitIntervalSec=0

[Service]
Type=exec
User={user}
WorkingDirectory={raw_folder}
ExecStart={python} -m tidings peer run {folder}
Environment=PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
Environment=OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
# One heap for all threads, and no columns for tracebacks: a megabyte less.
Environment=MALLOC_ARENA_MAX=1 PYTHONNODEBUGRANGES=1
Restart=always
RestartSec=5s
# A peer ends within 3 s of SIGTERM; all that is stored survives a kill as well.
KillSignal=SIGTERM
TimeoutStopSec=5s
Nice={nice}
MemoryMax={memory_share}%
TasksMax=256

# It writes its own folder and nothing else, and sees no more than it needs.
UMask=0077
ReadWritePaths={folder}
ProtectSystem=strict
ProtectHome={protect_home}
PrivateTmp={private_tmp}
PrivateDevices=yes
DevicePolicy=closed
ProtectProc=invisible
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RemoveIPC=yes

# No way to more rights.
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
PrivateUsers=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictRealtime=yes
# AF_NETLINK: to learn of the machine's network cards.
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
LockPersonality=yes
{memory_guard}
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""

_GUARDED = "MemoryDenyWriteExecute=yes"
_UNGUARDED = "# No MemoryDenyWriteExecute: torch compiles kernels while it runs."


def unit_name(config: PeerConfig) -> str:
    """The unit's file name."""
    return f"tidings-{config.name}.service"


def unit_text(folder: Path, config: PeerConfig, preset: Preset, *, user: str) -> str:
    """The unit for the peer in ``folder``, run as ``user``.

    Raises ConfigError when the path cannot stand in a unit.
    """
    path = folder.resolve()
    python = Path(sys.executable)
    needed = (path, python, Path(sys.prefix), Path(sys.base_prefix))
    return _UNIT.format(
        unit=unit_name(config),
        name=config.name,
        user=user,
        folder=_quoted(path),
        raw_folder=_quoted(path).strip('"'),  # the one setting that takes a path as it is
        python=_quoted(python),
        nice=preset.nice,
        memory_share=preset.memory_share,
        protect_home="read-only" if _under(_HOMES, needed) else "yes",
        private_tmp="no" if _under(_TMP, needed) else "yes",
        memory_guard=_UNGUARDED if config.learner.kind == "torch" else _GUARDED,
    )


def _under(folders: Iterable[str], needed: Iterable[Path]) -> bool:
    return any(place.is_relative_to(each) for each in folders for place in needed)


def user_of(folder: Path, user: str | None) -> str:
    """Who the unit runs as: ``user``, or the owner of the folder.

    Raises ConfigError for root, for a user that does not exist, and where there are no such users.
    """
    try:
        import pwd
    except ImportError:
        raise ConfigError("systemd units are for Linux", fix="run this on the board") from None
    try:
        entry = pwd.getpwuid(os.stat(folder).st_uid) if user is None else pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(
            f"this machine has no user '{user}'" if user else "the folder's owner has no name",
            where=str(folder),
            fix=f"make it: sudo useradd --system {user or 'tidings'}",
        ) from None
    if entry.pw_uid == 0:
        raise ConfigError(
            "a peer needs no rights of root's, and gets none",
            where=str(folder),
            fix="give the folder to a user of its own (sudo useradd --system tidings), and name "
            "it: --user tidings",
        )
    return entry.pw_name


def owned_by(folder: Path, user: str) -> bool:
    """Whether the folder and all in it belong to ``user``."""
    import pwd

    number = pwd.getpwnam(user).pw_uid
    return all(os.lstat(each).st_uid == number for each in (folder, *folder.rglob("*")))


def _quoted(path: Path) -> str:
    """A path as one word of a unit: '%' would be a specifier, a space its end."""
    text = str(path)
    if not text.isprintable() or any(each in text for each in "\"'\\$"):
        raise ConfigError(
            "this path cannot stand in a systemd unit",
            where=repr(text),
            fix="choose a folder whose path has no quotes, backslashes or dollar signs",
        )
    text = text.replace("%", "%%")
    return f'"{text}"' if " " in text else text
