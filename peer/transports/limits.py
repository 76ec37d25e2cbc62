"""How much a transport takes and how long it waits."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ...crypto.errors import ConfigError, TransportError

KIB, MIB = 2**10, 2**20


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
    max_unread_bytes: int = 2 * MIB  # on a connection, over all its streams, not yet read
    max_streams: int = 16  # opened by the other side and not yet answered, on a connection
    max_connections: int = 256  # that have finished the handshake
    max_handshakes: int = 64  # inbound connections that have not; the oldest makes room
    max_handshake_bytes: int = 16 * KIB  # read from a connection before its handshake is finished
    heartbeat_s: float = 1.0
    silence_s: float = 4.0  # a link that is silent for so long is cut
    handshake_s: float = 6.0
    dial_s: float = 6.0
    backoff_min_s: float = 0.5
    backoff_max_s: float = 1.0
    send_base_s: float = 10.0
    send_bytes_per_s: float = 100_000.0

    def __post_init__(self) -> None:
        if self.max_buffered_bytes < self.max_frame_bytes:
            raise ConfigError(
                f"max_buffered_bytes ({self.max_buffered_bytes}) is less than one frame"
                f" ({self.max_frame_bytes})",
                fix="raise max_buffered_bytes or lower max_frame_bytes",
            )
        for each in fields(self):
            if getattr(self, each.name) <= 0:
                raise ConfigError(f"{each.name} must be above 0", fix=f"raise {each.name}")
        if self.silence_s < 2 * self.heartbeat_s:
            raise ConfigError(
                f"silence_s ({self.silence_s}) must be at least two heartbeats"
                f" ({self.heartbeat_s} s each)",
                fix="raise silence_s or lower heartbeat_s",
            )

    def send_deadline_s(self, size_bytes: int) -> float:
        """How long sending ``size_bytes`` may take before the link counts as broken."""
        return self.send_base_s + size_bytes / self.send_bytes_per_s

    def allows(self, size_bytes: int) -> bool:
        """Whether a transport may carry a frame of this size."""
        return 0 < size_bytes <= self.max_frame_bytes

    def check_frame(self, size_bytes: int) -> None:
        """Raise ``TransportError`` for a frame that no transport may carry."""
        if not self.allows(size_bytes):
            raise TransportError(
                f"a frame of {size_bytes} bytes cannot be sent;"
                f" it must have 1 to {self.max_frame_bytes}"
            )
