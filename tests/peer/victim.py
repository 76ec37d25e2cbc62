"""A peer in a process of its own that echoes frames, and a friend that is linked with it.

Its memory can be measured there, and the friend counts how long an echo takes while others
misbehave. The friend is on any transport, and so is whoever attacks.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import anyio

MB = 1_000_000


def memory(pid: int, which: str = "VmRSS") -> int:
    """Bytes of a process: resident, or ``VmHWM`` for the peak."""
    text = Path(f"/proc/{pid}/status").read_text()
    lines = dict(line.split(":", 1) for line in text.splitlines())
    return int(lines[which].split()[0]) * 1024


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def kept_pace(idle_s: float, under_attack_s: float) -> bool:
    """Whether the echo was in time; on a slow or busy machine it is slow when idle."""
    return under_attack_s < 0.1 + 10 * idle_s


@dataclass
class Victim:
    """Who is attacked: its process and key, and its friend (a test kit's ``Peer``)."""

    pid: int
    key: bytes
    friend: Any
    addresses: list[str] = field(default_factory=list)

    def files(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    async def echo(self) -> float:
        """Seconds for 1 kB there and back."""
        before, begun = len(self.friend.frames()), anyio.current_time()
        await self.friend.transport.send(self.key, os.urandom(1000))
        while len(self.friend.frames()) == before:
            await anyio.sleep(0.002)
        return anyio.current_time() - begun

    async def pace(self, for_s: float) -> float:
        """The median echo over a while; fails when the friend's link broke, or nothing came."""
        times = []
        with anyio.move_on_after(for_s):
            while True:
                times.append(await self.echo())
                await anyio.sleep(0.02)
        assert self.friend.links() == ["up"], self.friend.why()
        return median(times)
