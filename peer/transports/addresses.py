"""Addresses as libp2p writes them: ``/ip4/192.0.2.7/tcp/4001/p2p/12D3Koo...``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...crypto.errors import TransportError
from ...crypto.identity import libp2p_peer_id

ANYWHERE = frozenset({"0.0.0.0", "::"})  # hosts that mean any address of a machine

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


def announceable(listening: Iterable[str]) -> tuple[str, ...]:
    """Those of a transport's own addresses that others may be able to dial.

    Not a broker's, and not those that mean any address of this machine.
    """
    return tuple(each for each in listening if (it := _read(each)) and it.host not in ANYWHERE)


def merged(
    named: Mapping[bytes, Sequence[str]], heard: Mapping[bytes, Sequence[str]]
) -> dict[bytes, tuple[str, ...]]:
    """Whom to seek and where: what the owner named first, then what the peers say of themselves.

    Words of others that are no address, or that lead to somebody else, are left out.
    """
    places = {key: list(addresses) for key, addresses in named.items()}
    for key, addresses in heard.items():
        known = places.setdefault(key, [])
        peer_id = libp2p_peer_id(key)
        for address in addresses:
            it = _read(address)
            if it and it.peer_id in (None, peer_id) and address not in known:
                known.append(address)
    return {key: tuple(addresses) for key, addresses in places.items()}


def _read(address: str) -> TcpAddress | None:
    try:
        return parse(address)
    except TransportError:
        return None
