"""How much may be under way at once, by how long it takes to be acknowledged.

A large window on a slow line fills the queues on the way (this peer's, the broker's), and a
heartbeat behind them comes too late. So the window grows while acknowledgements come within half
of the delay that is aimed at, and halves when they take longer: the idea of LEDBAT (RFC 6817),
with whole chunks.
"""

from __future__ import annotations

from .limits import MIN_CHUNK_BYTES, MqttLimits


class Pacer:
    """The window of one sender, and its estimate of the time to an acknowledgement."""

    def __init__(self, limits: MqttLimits) -> None:
        self._chunk_bytes = limits.chunk_bytes
        self._target_s = limits.target_delay_s
        self._largest = limits.chunk_bytes * limits.chunks_in_flight
        self._smallest = min(MIN_CHUNK_BYTES, limits.chunk_bytes)
        self._window = min(limits.chunk_bytes, self._largest)
        self._halved_at = float("-inf")
        self._smoothed_s: float | None = None

    @property
    def window_bytes(self) -> int:
        """How many bytes may be under way."""
        return self._window

    @property
    def chunk_bytes(self) -> int:
        """How large the next chunk should be: a quarter of the window, within the limits."""
        return max(self._smallest, min(self._chunk_bytes, self._window // 4))

    @property
    def patience_s(self) -> float:
        """After how long an unacknowledged chunk is taken for lost."""
        if self._smoothed_s is None:
            return 4 * self._target_s
        return min(15.0, max(2 * self._target_s, 4 * self._smoothed_s))

    def acknowledged(self, size_bytes: int, delay_s: float, now: float) -> None:
        """Note that ``size_bytes``, sent once, were acknowledged after ``delay_s``."""
        before = self._smoothed_s
        self._smoothed_s = delay_s if before is None else 0.8 * before + 0.2 * delay_s
        if delay_s > self._target_s:
            # What was under way when the window was halved was sent by the old window.
            if now - delay_s > self._halved_at:
                self._halve(now)
        elif delay_s < self._target_s / 2:
            self._window = min(self._largest, self._window + size_bytes)

    def lost(self, now: float) -> None:
        """Note that a chunk was taken for lost."""
        if now - self._halved_at > self._target_s:
            self._halve(now)

    def _halve(self, now: float) -> None:
        self._window = max(self._smallest, self._window // 2)
        self._halved_at = now
