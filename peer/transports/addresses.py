"""Addresses as libp2p writes them: ``/ip4/192.0.2.7/tcp/4001/p2p/12D3Koo...``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...crypto.errors import TransportError

_FORM = re.compile(
    r"/(?P<kind>ip4|ip6|dns|dns4|dns6)/(?P<host>[^/\s]+)/tcp/(?P<port>\d{1,5})"
    r"(?:/p2p/(?P<peer_id>[A-Za-z0-9]+))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpAddress:
    """Where a peer listens; ``peer_id`` is what followed ``/p2p/``, if anything did."""

    kind: str
    host: str
    port: int
    peer_id: str | None = None

    def __str__(self) -> str:
        end = f"/p2p/{self.peer_id}" if self.peer_id else ""
        return f"/{self.kind}/{self.host}/tcp/{self.port}{end}"


def parse(address: str) -> TcpAddress:
    """Read an address; raises ``TransportError`` that shows the right form."""
    match = _FORM.fullmatch(address)
    if match is None or int(match["port"]) > 65535:
        raise TransportError(
            "this is not an address that can be used",
            where=repr(address),
            fix="write it like /ip4/127.0.0.1/tcp/4001 or /dns4/example.org/tcp/4001",
        )
    return TcpAddress(
        kind=match["kind"], host=match["host"], port=int(match["port"]), peer_id=match["peer_id"]
    )
