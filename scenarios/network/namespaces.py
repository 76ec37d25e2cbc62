"""Hosts that are namespaces of one Linux machine, joined by TUN devices and a switch in between.

Each host has an address of its own, 10.77.0.1 and so on, and reaches the others through the pump,
a thread that takes packets from one device and writes them to another when the switch says so.
Multicast goes to all, so mDNS works. Nothing of the machine's own network is touched or reachable.
Needs root: without it, ``why_not`` says so.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import itertools
import os
import select
import shutil
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...crypto.errors import ConfigError
from ...peer.clock import monotonic_time
from .switch import Switch

PREFIX = "tidings-"
MTU = 1500
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_CLONE_NEWNET = 0x40000000
_LONGEST_WAIT_S = 0.5


def why_not() -> str | None:
    """Why there can be no such network on this machine; None when there can."""
    if not Path("/proc/self/ns/net").exists():
        return "it needs Linux"
    if os.geteuid() != 0:
        return "it needs root"
    if not Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun"
    if shutil.which("ip") is None:
        return "the command 'ip' is missing (Debian: apt-get install iproute2)"
    made = _ip("netns", "add", f"{PREFIX}{os.getpid()}-probe", check=False)
    if made.returncode != 0:
        return f"namespaces are not allowed here ({made.stderr.strip()})"
    _ip("netns", "delete", f"{PREFIX}{os.getpid()}-probe", check=False)
    return None


class HostNetwork:
    """``count`` hosts; ``running`` makes them, starts the pump and takes all away again.

    Raises ConfigError when this machine cannot have them.
    """

    def __init__(self, count: int, switch: Switch) -> None:
        reason = why_not()
        if reason is not None:
            raise ConfigError(
                f"a faulty network for real peers cannot be made on this machine: {reason}",
                where="[faults]",
                fix="add --engine sim, or use --transport memory without --processes",
            )
        self._count = count
        self._switch = switch
        self._names = [f"{PREFIX}{os.getpid()}-{index}" for index in range(count)]
        self._devices: list[int] = []
        self._began = 0.0

    def address(self, index: int) -> str:
        """The IPv4 address of a host."""
        return _address(index)

    def command(self, index: int, command: list[str]) -> list[str]:
        """``command`` as it is started on a host."""
        return ["ip", "netns", "exec", self._names[index], *command]

    def now(self) -> float:
        """Seconds since the network's clock began."""
        return monotonic_time() - self._began

    def begin(self) -> None:
        """Start the network's clock anew: cuts are timed by it."""
        self._began = monotonic_time()

    @contextmanager
    def running(self) -> Iterator[None]:
        """The hosts are there until the block ends."""
        _sweep()
        stop, wake = os.pipe()
        pump = threading.Thread(target=self._pump, args=(stop,), name="switch", daemon=True)
        try:
            for index, name in enumerate(self._names):
                _ip("netns", "add", name)
                self._devices.append(_open_tun(name))
                device = ("-n", name)
                _ip(*device, "link", "set", "lo", "up")
                _ip(*device, "address", "add", f"{_address(index)}/16", "dev", "tun0")
                _ip(*device, "link", "set", "tun0", "mtu", str(MTU), "up")
                _ip(*device, "route", "add", "224.0.0.0/4", "dev", "tun0")
            self.begin()
            pump.start()
            yield
        finally:
            os.write(wake, b"x")
            if pump.ident is not None:
                pump.join()
            for descriptor in (*self._devices, stop, wake):
                os.close(descriptor)
            self._devices.clear()
            for name in self._names:
                _ip("netns", "delete", name, check=False)

    # -- packets ---------------------------------------------------------------------------

    def _pump(self, stop: int) -> None:
        poll = select.poll()
        index_of = {device: index for index, device in enumerate(self._devices)}
        for descriptor in (*self._devices, stop):
            poll.register(descriptor, select.POLLIN)
        due: list[tuple[float, int, int, bytes]] = []
        order = itertools.count()
        while True:
            wait_s = min(due[0][0] - self.now(), _LONGEST_WAIT_S) if due else _LONGEST_WAIT_S
            for descriptor, _ in poll.poll(max(0.0, wait_s) * 1000):
                if descriptor == stop:
                    return
                for packet in _packets(descriptor):
                    source = index_of[descriptor]
                    for to in self._receivers(packet, source):
                        at = self._switch.delivery(source, to, len(packet), self.now())
                        if at is not None:
                            heapq.heappush(due, (at, next(order), to, packet))
            while due and due[0][0] <= self.now():
                _, _, to, packet = heapq.heappop(due)
                with suppress(OSError):  # a host whose buffer is full loses the packet
                    os.write(self._devices[to], packet)

    def _receivers(self, packet: bytes, source: int) -> list[int]:
        if len(packet) < 20 or packet[0] >> 4 != 4:
            return []
        if 224 <= packet[16] < 240 or packet[16:20] == b"\xff\xff\xff\xff":
            return [index for index in range(self._count) if index != source]
        index = int.from_bytes(packet[18:20]) - 1
        return [index] if packet[16:18] == b"\x0a\x4d" and 0 <= index < self._count else []


def _address(index: int) -> str:
    number = index + 1
    return f"10.77.{number >> 8}.{number & 255}"


def _packets(device: int) -> Iterator[bytes]:
    for _ in range(64):  # then the others have a turn
        try:
            yield os.read(device, MTU + 64)
        except BlockingIOError:
            return


def _ip(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True)


def _open_tun(name: str) -> int:
    """A TUN device in a namespace, opened by a thread that went there and ends there."""
    opened: list[int | OSError] = []

    def go_and_open() -> None:
        try:
            with Path(f"/run/netns/{name}").open() as namespace:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns failed")
            device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            request = struct.pack("16sH14x", b"tun0", _IFF_TUN | _IFF_NO_PI)
            fcntl.ioctl(device, _TUNSETIFF, request)
            opened.append(device)
        except OSError as error:
            opened.append(error)

    thread = threading.Thread(target=go_and_open)
    thread.start()
    thread.join()
    (device,) = opened
    if isinstance(device, OSError):
        raise ConfigError(
            f"a TUN device cannot be made: {device.strerror}",
            where="[faults]",
            fix="run as root with /dev/net/tun, or add --engine sim",
        ) from device
    return device


def _sweep() -> None:
    """Take away the namespaces of runs that were killed."""
    for line in _ip("netns", "list", check=False).stdout.splitlines():
        name = line.split()[0]
        pid = name.removeprefix(PREFIX).split("-")[0]
        if name.startswith(PREFIX) and pid.isdigit() and not Path(f"/proc/{pid}").exists():
            _ip("netns", "delete", name, check=False)
