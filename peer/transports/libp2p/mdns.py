"""Addresses of peers on the local network, by mDNS as libp2p specifies it.

Each peer announces a service ``_p2p._udp.local.`` under a random name, with its addresses in TXT
records ``dnsaddr=/ip4/.../tcp/.../p2p/...`` (libp2p specs, ``discovery/mdns.md``). py-libp2p has
the same, but blocks the event loop, shares its listeners among all hosts of a process, and
announces addresses that nobody can dial. What is heard is unproved: it says where to try.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import trio
from zeroconf import ServiceBrowser, ServiceInfo, ServiceStateChange, Zeroconf

from ....crypto.errors import Malformed, TransportError
from ....crypto.identity import peer_id_to_verify_key
from ..addresses import TcpAddress, parse

logger = logging.getLogger(__name__)

SERVICE = "_p2p._udp.local."
_FIELD = b"dnsaddr="
MOST_ADDRESSES = 8  # that are kept of one peer
_ASK_MS = 3000  # how long the records of a service may take to arrive
Found = Callable[[bytes, tuple[str, ...]], None]
"""Called in the event loop with a verify key and where it is said to listen."""


def check_dialable(listen: TcpAddress) -> None:
    """Raise ``TransportError`` for 0.0.0.0 and ::, which libp2p would announce as they are."""
    if listen.kind in {"ip4", "ip6"} and ipaddress.ip_address(listen.host).is_unspecified:
        raise TransportError(
            "others cannot dial the address that mDNS would announce",
            where=str(listen),
            fix="listen on an address of this machine, not on all of them",
        )


@asynccontextmanager
async def mdns(addresses: Sequence[str], name: str, found: Found) -> AsyncIterator[None]:
    """Announce ``addresses`` (each with its ``/p2p/``) under ``name`` until the block is left.

    ``found`` is called for every peer that is heard. Raises ``TransportError`` when the network
    does not allow multicast.
    """
    hosts = [parse(address).host for address in addresses]
    token = trio.lowlevel.current_trio_token()

    def heard(
        zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        # this runs in a thread of zeroconf's, and may wait there
        if state_change is ServiceStateChange.Removed:
            return
        info = zeroconf.get_service_info(service_type, name, timeout=_ASK_MS)
        for key, where in announced(info.text if info and info.text else b"").items():
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(found, key, where)

    opened = await trio.to_thread.run_sync(partial(_open, addresses, hosts, name, heard))
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(opened.close)  # it says goodbye


def _open(addresses: Sequence[str], hosts: list[str], name: str, heard: Any) -> Zeroconf:
    ip4 = [host for host in hosts if ":" not in host]
    try:
        zeroconf = Zeroconf(interfaces=ip4) if ip4 else Zeroconf()
        zeroconf.register_service(
            ServiceInfo(
                SERVICE,
                f"{name}.{SERVICE}",
                port=parse(addresses[0]).port,
                properties=_text(addresses),
                server=f"{name}.local.",
                parsed_addresses=hosts,
            )
        )
    except Exception as error:  # zeroconf has errors of its own beside OSError
        raise TransportError(
            f"mDNS does not work here: {error}",
            where=addresses[0],
            fix="set mdns = false, and write addresses into peers",
        ) from error
    ServiceBrowser(zeroconf, SERVICE, handlers=[heard])
    return zeroconf


def _text(addresses: Sequence[str]) -> bytes:
    lines = [_FIELD + address.encode() for address in addresses[:MOST_ADDRESSES]]
    return b"".join(bytes([len(line)]) + line for line in lines)


def announced(text: bytes) -> dict[bytes, tuple[str, ...]]:
    """The addresses in the TXT records of a service, by verify key; what is no use is left out."""
    where: dict[bytes, tuple[str, ...]] = {}
    while text:
        line, text = text[1 : 1 + text[0]], text[1 + text[0] :]
        if not line.startswith(_FIELD):
            continue
        with suppress(TransportError, Malformed, UnicodeDecodeError, ValueError):
            address = parse(line.removeprefix(_FIELD).decode())
            if address.peer_id is None or ipaddress.ip_address(address.host).is_unspecified:
                continue
            key = peer_id_to_verify_key(address.peer_id)
            if len(where.get(key, ())) < MOST_ADDRESSES:
                where[key] = (*where.get(key, ()), str(address))
    return where
