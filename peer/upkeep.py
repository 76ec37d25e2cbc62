"""What a peer keeps and tells besides learning: ``[log]`` and ``[metrics]`` of ``peer.toml``."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


class LogConfig(BaseModel):
    """How much disk the event log may take: a part that is written, and older ones, compressed.

    ``part_mb`` is in 10^6 bytes. A compressed part is about an eighth of that.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    part_mb: float = Field(default=32.0, gt=0, le=1e9, allow_inf_nan=False)
    parts: int = Field(default=4, ge=0, le=10_000, description="older parts that are kept")


WHOLE = LogConfig(part_mb=1e9)
"""Never in parts: for runs, whose log is what they are for."""


def _check_place(place: str) -> str:
    split_place(place)
    return place


def split_place(place: str) -> tuple[str, int]:
    """``HOST:PORT`` as host and port. Raises ValueError unless HOST is an IP address."""
    host, colon, port = place.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"'{place}' is not of the form 127.0.0.1:9464")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"'{host}' is no IP address; write 127.0.0.1:{port}") from None
    return host, int(port)


class MetricsConfig(BaseModel):
    """Where health and metrics are served (peer/metrics.py); nowhere when ``listen`` is not given.

    They need no password, so another address than this machine's own must be allowed by
    ``beyond_this_machine``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    listen: Annotated[str, AfterValidator(_check_place)] | None = None
    beyond_this_machine: bool = False

    @model_validator(mode="after")
    def _stays_at_home(self) -> MetricsConfig:
        place = self.place()
        if place is None or self.beyond_this_machine:
            return self
        if not ipaddress.ip_address(place[0]).is_loopback:
            raise ValueError(
                f"'{self.listen}' is reached from other machines, and metrics ask for no "
                "password; write 127.0.0.1, or beyond_this_machine = true"
            )
        return self

    def place(self) -> tuple[str, int] | None:
        """Host and port; None when metrics are off."""
        return None if self.listen is None else split_place(self.listen)
