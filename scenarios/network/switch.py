"""What happens to a packet, or to a frame: dropped, or delivered when. No sockets and no clock.

A line between two hosts has a rate, a delay, jitter and loss in each direction, as a leased line
has: packets wait for the ones before them, and for no more than ``QUEUE_S``; they stay in order.
A cut drops what would cross it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..faults import Cut, Faults

QUEUE_S = 1.0  # what a line's buffer holds, in time; TCP does the rest


@dataclass(slots=True)
class _Line:
    """One direction between two hosts."""

    free_at: float = 0.0  # when the last packet has left the sender
    arrives_at: float = 0.0  # when it reaches the other end


class Switch:
    """Decides for packets between hosts 0, 1, ...; ``chance()`` is uniform in [0, 1).

    Between hosts loss is per packet, and TCP makes up for it by time; within a process it is per
    frame, as in the simulator. What would cross a cut is dropped between ``from_s`` and ``to_s`` of
    the time that is given.
    """

    def __init__(self, faults: Faults, chance: Callable[[], float]) -> None:
        self._faults = faults
        self._chance = chance
        self._lines: dict[tuple[int, int], _Line] = {}

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """The cuts that there will be."""
        return self._faults.cuts

    def is_cut(self, source: int, to: int, now: float) -> bool:
        """Whether a cut separates two hosts at that time."""
        cuts = self._faults.cuts
        return any(cut.from_s <= now < cut.to_s and cut.separates(source, to) for cut in cuts)

    def wait_s(self, source: int, to: int, now: float) -> float:
        """How long until the line's buffer has room; 0 when it has."""
        line = self._lines.get((source, to))
        return 0.0 if line is None else max(0.0, line.free_at - now - QUEUE_S)

    def delivery(self, source: int, to: int, size_bytes: int, now: float) -> float | None:
        """When a packet handed over at ``now`` arrives, in seconds; None when it never does."""
        faults = self._faults
        if self.is_cut(source, to, now):
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
