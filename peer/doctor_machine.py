"""What `tidings peer doctor` asks of the machine: clock, disk, memory, ports, versions.

What an operating system does not tell is not guessed: the check says so.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import shutil
import socket
import struct
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

from ..crypto.files import storage_error
from .clock import monotonic_time, utc_date, wall_time
from .config import PeerConfig
from .doctor_check import Check, ok, problem, warning
from .transports.addresses import TcpAddress, parse

MB = 10**6
_EARLIEST_S = 1_767_225_600  # 2026-01-01: a clock that says less was never set
_AHEAD_S = 300.0  # files may be this much younger than the clock says
_TIME_ERROR = 5  # adjtimex(2): "the system clock is not synchronized to a reliable server"
_SLOW_SYNC_S = 0.5
_DEAD_SYNC_S = 5.0
_LOG_BYTES = 64 * MB  # the event log with its old parts, and what else grows a little
_OF_TRANSPORT = {"libp2p": [("libp2p", "libp2p")], "mqtt": [("aiomqtt", "mqtt")]}
_KEPT_DELTAS = 64  # peer/store.py keeps so many of the peer's own, each at most P bytes or so


# -- software ----------------------------------------------------------------------------------


def software(config: PeerConfig | None) -> list[Check]:
    """Python, its word size, and the packages that this configuration needs."""
    version = platform.python_version()
    if struct.calcsize("P") < 8:
        python = warning(
            "python",
            f"{version} on {platform.machine()}, 32 bits: libp2p and torch have no builds for it",
            "use a 64-bit operating system",
        )
    else:
        python = ok("python", f"{version} on {platform.machine()}, {sys.platform}")
    versions, missing = [], []
    for package, extra in _needed(config):
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            missing.append((package, extra))
    if missing:
        names = ", ".join(package for package, _ in missing)
        extras = ",".join(sorted({extra for _, extra in missing if extra}))
        wanted = f"tidings[{extras}]" if extras else "tidings"
        return [python, problem("packages", f"not installed: {names}", f"pip install '{wanted}'")]
    return [python, ok("packages", ", ".join(versions))]


def _needed(config: PeerConfig | None) -> list[tuple[str, str]]:
    """Packages, each with the extra of tidings that brings it."""
    needed = [("tidings", ""), ("numpy", ""), ("pynacl", "")]
    if config is not None:
        needed += _OF_TRANSPORT.get(config.transport, [])
        if config.learner.kind == "torch":
            needed.append(("torch", "torch"))
        if config.privacy.mode == "record":
            needed.append(("dp-accounting", "privacy"))
    return needed


# -- clock -------------------------------------------------------------------------------------


def clock(folder: Path) -> Check:
    """The clock is plausible, not behind the peer's own files, and synchronised if that shows."""
    now = wall_time()
    set_it = "let the system set it: timedatectl set-ntp true"
    if now < _EARLIEST_S:
        return problem("clock", f"says {utc_date(now)}: it was never set", set_it)
    youngest = max((_changed_at(each) for each in folder.glob("*")), default=0.0)
    if youngest > now + _AHEAD_S:
        return problem(
            "clock",
            f"says {utc_date(now)}, but this peer's files are from {utc_date(youngest)}",
            set_it,
        )
    synchronised = is_synchronised()
    if synchronised is None:
        return ok("clock", f"{utc_date(now)}; whether it is synchronised does not show here")
    if not synchronised:
        return warning("clock", f"{utc_date(now)}, not synchronised by NTP", set_it)
    return ok("clock", f"{utc_date(now)}, synchronised")


def is_synchronised() -> bool | None:
    """Whether the kernel holds its clock to be right; None where it does not say (not Linux)."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        # modes = 0 only reads; struct timex is 208 bytes on 64-bit systems, less on others
        answer = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return None
    return None if answer < 0 else answer != _TIME_ERROR


def _changed_at(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


# -- disk --------------------------------------------------------------------------------------


def disk_need(parameters: int, neighbours: int) -> int:
    """Bytes that a peer's folder may grow to: copies, checkpoint, own deltas, SQLite's log, events.

    Each followed feed and the peer's own is one copy of 4 bytes a parameter, the checkpoint is
    three more; SQLite's write-ahead log may hold all of that once again.
    """
    vectors = 4 * parameters * (neighbours + 1 + 3)
    return 2 * (vectors + _KEPT_DELTAS * parameters) + _LOG_BYTES


def disk(folder: Path, *, need_bytes: int) -> list[Check]:
    """Free space, and that a file can be written and synced, and how long that takes."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return [problem("disk", storage_error(error, folder).what, "check the path")]
    words = f"{free / MB:,.0f} MB free, this peer needs up to {need_bytes / MB:,.0f} MB"
    make_room = "make room, or put the folder on a larger disk"
    if free < need_bytes // 4:
        space = problem("disk", words, make_room)
    elif free < need_bytes:
        space = warning("disk", words, make_room)
    else:
        space = ok("disk", words)
    return [space, _writing(folder)]


def _writing(folder: Path) -> Check:
    try:
        seconds = sorted(_synced_write(folder) for _ in range(3))[1]
    except OSError as error:
        told = storage_error(error, folder)
        return problem("writing", f"{folder}: {told.what}", told.fix)
    words = f"a small file is written and synced in {seconds * 1000:.1f} ms"
    replace = "the card may be worn out: copy nothing, but move the peer to a better one"
    if seconds > _DEAD_SYNC_S:
        return problem("writing", words, replace)
    if seconds > _SLOW_SYNC_S:
        return warning("writing", words, replace)
    return ok("writing", words)


def _synced_write(folder: Path) -> float:
    """Seconds that it takes to write and sync 4 KiB."""
    probe = folder / f".doctor.{os.getpid()}.tmp"
    before = monotonic_time()
    handle = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(handle, os.urandom(4096))
        os.fsync(handle)
    finally:
        os.close(handle)
        os.unlink(probe)
    return monotonic_time() - before


def open_to_others(file: Path) -> bool:
    """Whether group or others have any right to the file; False when there is none."""
    try:
        return os.name == "posix" and bool(file.stat().st_mode & 0o077)
    except OSError:
        return False


# -- memory ------------------------------------------------------------------------------------


def memory_need(parameters: int, neighbours: int, config: PeerConfig | None) -> int:
    """Bytes that a running peer may take: the libraries (benchmarks/footprint.py), and vectors.

    A message on its way in or out is a few copies of the model more.
    """
    libraries = 70 * MB
    if config is not None:
        libraries += 55 * MB if config.transport == "libp2p" else 0
        libraries += 80 * MB if config.privacy.mode == "record" else 0
        libraries += 210 * MB if config.learner.kind == "torch" else 0
    return libraries + 4 * parameters * (neighbours + 12)


def memory(need_bytes: int) -> Check:
    """The memory that is free now against what the peer will take."""
    available = available_memory()
    if available is None:
        return ok("memory", "how much is free does not show here")
    words = f"{available / MB:,.0f} MB free, a running peer takes about {need_bytes / MB:,.0f} MB"
    if available < need_bytes:
        return warning("memory", words, "stop what else runs, or train a smaller model")
    return ok("memory", words)


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes that can be had now, on Linux: of the machine, or what a control group leaves."""
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        available = int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    group = root / "sys/fs/cgroup"
    try:
        limit = int((group / "memory.max").read_text())  # "max" when there is none
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):
        return available
    return max(0, min(available, limit - used))


# -- network -----------------------------------------------------------------------------------


def listen(address: str, *, runs: bool) -> Check:
    """The address to listen on is this machine's, and its port is free (or this peer's already)."""
    target = parse(address)
    try:
        _bind(target)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and runs:
            return ok("listen", f"{address} is in use, by this peer: it runs")
        words = {
            errno.EADDRINUSE: ("is in use", "end the other program, or choose another port"),
            errno.EADDRNOTAVAIL: ("is no address of this machine", "see `ip address`"),
            errno.EACCES: ("may not be used", "choose a port above 1023"),
        }
        what, fix = words.get(
            error.errno or 0, (f"cannot be used: {error.strerror or error}", "check `listen`")
        )
        return problem("listen", f"{address} {what}", f"{fix} (`listen` in peer.toml)")
    if target.host.startswith("127.") or target.host in ("::1", "localhost"):
        return warning(
            "listen",
            f"{address} is reached from this machine alone",
            "name the address of a network card, unless all peers run on this machine",
        )
    if target.port == 0:
        return warning(
            "listen",
            f"{address} is another port after each start",
            "name a port, such as 4001, so that the others find this peer again",
        )
    return ok("listen", f"{address} is free")


def _bind(target: TcpAddress) -> None:
    family, kind, protocol, _, place = socket.getaddrinfo(
        target.host, target.port, _family(target), socket.SOCK_STREAM, 0, socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        # as a listener would: a closed connection's leftovers are no other program
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(place)
        probe.listen(1)


def _family(target: TcpAddress) -> socket.AddressFamily:
    families = {"ip4": socket.AF_INET, "dns4": socket.AF_INET, "ip6": socket.AF_INET6}
    return families.get(target.kind, socket.AF_INET6 if target.kind == "dns6" else socket.AF_UNSPEC)


def reach(addresses: Sequence[str], *, wait_s: float) -> list[Check]:
    """A TCP connect to each configured neighbour, all at once, each for ``wait_s`` at most."""
    if not addresses:
        return [
            warning(
                "neighbours",
                "peer.toml names no addresses: this peer waits until others call it",
                "add the addresses of its neighbours to `peers`, unless they know this one's",
            )
        ]
    with ThreadPoolExecutor(max_workers=min(16, len(addresses))) as threads:
        return list(threads.map(lambda each: _reach(each, wait_s), addresses))


def _reach(address: str, wait_s: float) -> Check:
    target = parse(address)
    return answers("neighbour", target.host, target.port, wait_s=wait_s)


def answers(name: str, host: str, port: int, *, wait_s: float) -> Check:
    """Whether something takes a TCP connection there; the check is called ``name``."""
    before = monotonic_time()
    place = f"{host} port {port}"
    try:
        socket.create_connection((host, port), timeout=wait_s).close()
    except socket.gaierror as error:
        return warning(name, f"{place}: no such host ({error.strerror})", "check the name")
    except OSError as error:
        why = "no answer" if isinstance(error, TimeoutError) else (error.strerror or str(error))
        return warning(
            name,
            f"{place}: {why}",
            "is that peer running, and does a firewall let the port through?",
        )
    return ok(name, f"{place} answers in {(monotonic_time() - before) * 1000:.0f} ms")
