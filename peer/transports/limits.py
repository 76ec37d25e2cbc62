"""How much a transport takes and how long it waits."""

from __future__ import annotations

from dataclasses import dataclass

from ...crypto.errors import ConfigError, TransportError

MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a transport; times are seconds, sizes are bytes.

    The defaults kept links quiet during a 12 MB transfer at 8 Mbit/s (the longest silence was
    0.67 s) and noticed a silent cut after 4.0 s. Raises ``ConfigError`` when they contradict
    each other.
    """

    max_frame_bytes: int = 64 * MIB
    max_buffered_bytes: int = 96 * MIB  # received on a link and not yet taken by the driver
    max_queued_bytes: int = 96 * MIB  # handed over for sending and not yet sent, on a link
    max_connections: int = 256
    heartbeat_s: float = 1.0
    silence_s: float = 4.0  # a link that is silent for so long is cut
    handshake_s: float = 6.0
    dial_s: float = 6.0
    backoff_min_s: float = 0.5
    backoff_max_s: float = 4.0
    send_base_s: float = 10.0
    send_bytes_per_s: float = 100_000.0

    def __post_init__(self) -> None:
        if self.max_buffered_bytes < self.max_frame_bytes:
            raise ConfigError(
                f"max_buffered_bytes ({self.max_buffered_bytes}) is less than one frame"
                f" ({self.max_frame_bytes})",
                fix="raise max_buffered_bytes or lower max_frame_bytes",
            )
        if self.silence_s < 2 * self.heartbeat_s:
            raise ConfigError(
                f"silence_s ({self.silence_s}) must be at least two heartbeats"
                f" ({self.heartbeat_s} s each)",
                fix="raise silence_s or lower heartbeat_s",
            )

    def send_deadline_s(self, size_bytes: int) -> float:
        """How long sending ``size_bytes`` may take before the link counts as broken."""
        return self.send_base_s + size_bytes / self.send_bytes_per_s

    def check_frame(self, size_bytes: int) -> None:
        """Raise ``TransportError`` for a frame that no transport may carry."""
        if not 0 < size_bytes <= self.max_frame_bytes:
            raise TransportError(
                f"a frame of {size_bytes} bytes cannot be sent;"
                f" it must have 1 to {self.max_frame_bytes}"
            )
