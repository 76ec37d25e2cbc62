"""How much the MQTT transport takes and how long it waits."""

from __future__ import annotations

from dataclasses import dataclass

from ....crypto.errors import ConfigError
from ..limits import MIB, Limits

KIB = 2**10
PACKET_OVERHEAD_BYTES = 1024  # topic, properties, and the seal of a chunk
MIN_CHUNK_BYTES = 16 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttLimits(Limits):
    """Bounds of the MQTT transport beside those of every transport; seconds and bytes.

    Chunks of 256 KiB with 8 in flight filled 90 % of a line of 8 Mbit/s and 40 ms. Both shrink
    when a chunk takes longer than ``target_delay_s`` to be acknowledged, so that heartbeats on
    the same line stay in time. Raises ``ConfigError`` when the bounds contradict each other.
    """

    silence_s: float = 6.0
    chunk_bytes: int = 256 * KIB  # the most in one MQTT message
    chunks_in_flight: int = 8  # on a link, and of this peer's broadcasts
    max_packet_bytes: int = MIB  # longer MQTT messages are refused, by the broker as well
    max_unsent_bytes: int = 32 * MIB  # handed to the connection and not yet with the broker
    max_inbox_bytes: int = 32 * MIB  # received from the broker and not yet looked at
    max_broadcast_bytes: int = 96 * MIB  # received of one author and not yet announced by it
    max_notice_bytes: int = 4 * KIB  # what a peer leaves at the broker
    max_waste_bytes: int = 32 * MIB  # of no use, at once on one topic; more mutes the topic
    waste_bytes_per_s: float = 1e6  # and so much for ever: repeated, or broadcast to others
    mute_s: float = 60.0
    target_delay_s: float = 1.0
    progress_s: float = 30.0  # a link on which nothing is acknowledged for so long is cut
    broadcast_wait_s: float = 3.0  # after so long without progress it is asked for directly
    message_expiry_s: int = 60  # the broker keeps nothing longer for a peer that is away
    connect_s: float = 5.0
    broker_backoff_max_s: float = 8.0
    warn_every_s: float = 60.0  # the same trouble is said no more often

    def __post_init__(self) -> None:
        Limits.__post_init__(self)
        if self.chunk_bytes + PACKET_OVERHEAD_BYTES > self.max_packet_bytes:
            raise ConfigError(
                f"chunk_bytes ({self.chunk_bytes}) does not fit in an MQTT message of"
                f" max_packet_bytes ({self.max_packet_bytes})",
                fix=f"leave {PACKET_OVERHEAD_BYTES} bytes for what goes around a chunk",
            )
        if self.max_inbox_bytes < 2 * self.max_packet_bytes:
            raise ConfigError(
                f"max_inbox_bytes ({self.max_inbox_bytes}) is less than two MQTT messages"
                f" ({self.max_packet_bytes} each)",
                fix="raise max_inbox_bytes or lower max_packet_bytes",
            )
        if not 1 <= self.chunks_in_flight <= 64:
            raise ConfigError(
                f"chunks_in_flight ({self.chunks_in_flight}) must be 1 to 64",
                fix="8 is enough for most lines",
            )
