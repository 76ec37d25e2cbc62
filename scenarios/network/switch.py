"""What happens to a packet: dropped, or delivered when. No sockets and no clock.

A line between two hosts has a rate, a delay, jitter and loss in each direction, as a leased line
has: packets wait for the ones before them, and for no more than ``QUEUE_S``; they stay in order.
A cut drops what would cross it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..faults import Faults

QUEUE_S = 1.0  # what a line's buffer holds, in time; TCP does the rest


@dataclass(slots=True)
class _Line:
    """One direction between two hosts."""

    free_at: float = 0.0  # when the last packet has left the sender
    arrives_at: float = 0.0  # when it reaches the other end


class Switch:
    """Decides for packets between hosts 0, 1, ...; ``chance()`` is uniform in [0, 1).

    Loss is per packet here, per frame in the simulator: TCP makes up for it by time. Packets of a
    cut's different groups are dropped between ``from_s`` and ``to_s`` of the time that is given.
    """

    def __init__(self, faults: Faults, chance: Callable[[], float]) -> None:
        self._faults = faults
        self._chance = chance
        self._lines: dict[tuple[int, int], _Line] = {}

    def delivery(self, source: int, to: int, size_bytes: int, now: float) -> float | None:
        """When a packet handed over at ``now`` arrives, in seconds; None when it never does."""
        faults = self._faults
        if any(c.from_s <= now < c.to_s and c.separates(source, to) for c in faults.cuts):
            return None
        if self._chance() < faults.loss:
            return None
        line = self._lines.setdefault((source, to), _Line())
        begins = max(now, line.free_at)
        if begins - now > QUEUE_S:
            return None
        if faults.rate_bit_s:
            line.free_at = begins + 8 * size_bytes / faults.rate_bit_s
        else:
            line.free_at = begins
        travel = faults.delay_s + faults.jitter_s * self._chance()
        line.arrives_at = max(line.free_at + travel, line.arrives_at)
        return line.arrives_at
