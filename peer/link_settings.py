"""What the owner of a peer may choose about its libp2p links: whom to find, how much to take."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .transports.discovery import Discovery
from .transports.limits import Limits

_USUAL = Limits()


class DiscoveryConfig(BaseModel):
    """How peers are found beside the addresses in ``peers``; see ``transports/discovery.py``.

    ``bootstrap`` holds whole addresses, each with ``/p2p/`` and the peer id of a member.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mdns: bool = False
    bootstrap: tuple[str, ...] = ()

    def discovery(self) -> Discovery:
        """The same for a transport."""
        return Discovery(mdns=self.mdns, bootstrap=self.bootstrap)


class LimitsConfig(BaseModel):
    """The bounds of libp2p links that a machine may call for; ``docs/limits.md`` explains them.

    Times are seconds. The sizes of frames and queues follow from the network's rules.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_connections: int = Field(default=_USUAL.max_connections, ge=1)
    max_handshakes: int = Field(default=_USUAL.max_handshakes, ge=1)
    heartbeat_s: float = Field(default=_USUAL.heartbeat_s, gt=0)
    silence_s: float = Field(default=_USUAL.silence_s, gt=0)
    handshake_s: float = Field(default=_USUAL.handshake_s, gt=0)
    dial_s: float = Field(default=_USUAL.dial_s, gt=0)
    backoff_min_s: float = Field(default=_USUAL.backoff_min_s, gt=0)
    backoff_max_s: float = Field(default=_USUAL.backoff_max_s, gt=0)
    send_base_s: float = Field(default=_USUAL.send_base_s, gt=0)
    send_bytes_per_s: float = Field(default=_USUAL.send_bytes_per_s, gt=0)

    @model_validator(mode="after")
    def _agree(self) -> LimitsConfig:
        if self.silence_s < 2 * self.heartbeat_s:
            raise ValueError("silence_s must be at least two heartbeats (heartbeat_s)")
        if self.backoff_max_s < self.backoff_min_s:
            raise ValueError("backoff_max_s must be at least backoff_min_s")
        return self

    def limits(self, max_frame_bytes: int) -> Limits:
        """The same for a transport whose frames have up to ``max_frame_bytes``."""
        return Limits(
            max_frame_bytes=max_frame_bytes,
            max_buffered_bytes=max_frame_bytes + max_frame_bytes // 2,
            max_queued_bytes=max_frame_bytes + max_frame_bytes // 2,
            **self.model_dump(),
        )
