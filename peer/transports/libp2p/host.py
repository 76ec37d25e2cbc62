"""A libp2p host that talks to members only and survives them.

py-libp2p 0.8.1 as it comes offers plaintext, lets anybody in, ends when a stream handler raises,
and never gives back the slot of an inbound connection. Each class below mends one of these; what
they rely on was read in its source, so the version is pinned.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio

from ..base import Accept
from ..limits import Limits
from .imports import (
    ID,
    NOISE,
    BasicHost,
    ConnectionConfig,
    HandshakeFailure,
    Multiaddr,
    NoiseTransport,
    PeerStore,
    RawConnection,
    RetryConfig,
    SecurityMultistream,
    Swarm,
    TransportUpgrader,
    create_new_key_pair,
    create_noise_key_pair,
)
from .muxer import BoundedMuxer, BriefMultiselect, DirectSelect
from .tcp import Doorstep, ExclusiveTcp

logger = logging.getLogger(__name__)

# An Ed25519 key as a libp2p PeerId: identity multihash of a protobuf of key type and key.
_ID_PREFIX = bytes.fromhex("002408011220")
StreamHandler = Callable[[Any], Awaitable[None]]


def peer_id(verify_key: bytes) -> ID:
    """The libp2p PeerId of a verify key."""
    return ID(_ID_PREFIX + verify_key)


def verify_key_of(identifier: ID) -> bytes | None:
    """The verify key that a PeerId stands for; None when it is no Ed25519 key."""
    raw: bytes = identifier.to_bytes()
    return raw[len(_ID_PREFIX) :] if len(raw) == 38 and raw.startswith(_ID_PREFIX) else None


class MembersOnlyNoise(NoiseTransport):  # type: ignore[misc]
    """Noise that ends the handshake when the key it proved is not wanted.

    This is before a multiplexer or a stream exists, so a stranger reaches no other code. Two
    peers that dial each other at once would make two connections; so the smaller key dials, and
    a connection from a larger one is refused, unless ``may_call`` says that this peer cannot dial.
    """

    def __init__(self, key_pair: Any, accept: Accept, may_call: Accept) -> None:
        super().__init__(key_pair, noise_privkey=create_noise_key_pair().private_key)
        self._accept = accept
        self._may_call = may_call

    async def secure_inbound(self, conn: Any) -> Any:
        """Shake hands as the side that was dialled."""
        session = await super().secure_inbound(conn)
        other = session.get_remote_peer()
        key = verify_key_of(other)
        smaller = other.to_bytes() < self.local_peer.to_bytes()
        called = smaller or (key is not None and self._may_call(key))
        return await self._admit(session, conn, called)

    async def secure_outbound(self, conn: Any, peer_id: ID) -> Any:
        """Shake hands as the side that dials."""
        session = await super().secure_outbound(conn, peer_id)
        return await self._admit(session, conn, True)

    async def _admit(self, session: Any, conn: Any, may_dial: bool) -> Any:
        key = verify_key_of(session.get_remote_peer())
        if key is None or not may_dial or not self._accept(key):
            await session.close()
            raise HandshakeFailure(f"{session.get_remote_peer()} is not wanted here")
        session.socket = conn.stream  # for `abort` and `Socket.trust`
        return session


class NoiseAlone(SecurityMultistream):  # type: ignore[misc]
    """Agrees on Noise and nothing else."""

    def __init__(self, noise: MembersOnlyNoise) -> None:
        super().__init__({NOISE: noise})
        self._selector.multiselect_client = DirectSelect()


class SlotReturningSwarm(Swarm):  # type: ignore[misc]
    """A swarm whose inbound slots come back, and that keeps one connection for each peer.

    A connection that carries no link in time is cut, so a half-open one holds nothing.
    """

    def __init__(self, *args: Any, doorstep: Doorstep, limits: Limits, **more: Any) -> None:
        super().__init__(*args, **more)
        # those in the handshake have slots of their own, and cannot take the members'
        self._inbound_limiter = trio.CapacityLimiter(limits.max_connections + limits.max_handshakes)
        self._doorstep = doorstep
        self._link_s = limits.handshake_s

    async def _do_handle_inbound_connection(
        self, read_write_closer: Any, maddr: Any, failure_event: Any
    ) -> None:
        connection = await self.upgrade_inbound_raw_conn(
            RawConnection(read_write_closer, False), maddr
        )
        self._doorstep.leave(read_write_closer)
        for other in self.get_connections(connection.peer_id):
            if other.muxed_conn is not connection:
                abort(other)
        with trio.move_on_after(self._link_s):
            await connection.in_use.wait()
        if not connection.in_use.is_set():
            read_write_closer.abort()
        await connection.event_closed.wait()


class GuardedHost(BasicHost):  # type: ignore[misc]
    """A host that outlives its stream handlers and opens no stream on its own accord."""

    def __init__(self, swarm: Swarm, handlers: Mapping[str, StreamHandler]) -> None:
        super().__init__(swarm, default_protocols={}, disable_identify_address_discovery=True)
        self.multiselect = BriefMultiselect(dict(handlers))
        self.multiselect_client = DirectSelect()

    async def _swarm_stream_handler(self, net_stream: Any) -> None:
        try:
            await super()._swarm_stream_handler(net_stream)
        except Exception:
            logger.debug("a stream ended with an error", exc_info=True)
            await net_stream.reset()
        finally:
            net_stream.muxed_conn.answered()

    async def _on_notifee_connected(self, conn: Any) -> None:
        """Ask nobody to identify: membership has told all that is needed."""


def abort(connection: Any) -> None:
    """Cut a connection of the swarm at its socket; returns at once."""
    connection.muxed_conn.secured_conn.socket.abort()


@asynccontextmanager
async def open_host(
    seed: bytes,
    bound: Mapping[str, trio.SocketListener],
    accept: Accept,
    may_call: Accept,
    limits: Limits,
    handlers: Mapping[str, StreamHandler],
) -> AsyncIterator[GuardedHost]:
    """Run a host for the Ed25519 ``seed`` on sockets from ``bind`` until the block is left.

    ``may_call`` says of which larger keys a connection is taken. ``handlers`` maps protocol ids to
    what answers a stream of that protocol; there are no others.
    On leaving, all connections are cut.
    """
    key_pair = create_new_key_pair(seed)
    identifier = ID.from_pubkey(key_pair.public_key)
    tcp = ExclusiveTcp(bound, limits)
    peerstore = PeerStore()
    peerstore.add_key_pair(identifier, key_pair)
    upgrader = TransportUpgrader({}, {})
    upgrader.security_multistream = NoiseAlone(MembersOnlyNoise(key_pair, accept, may_call))
    upgrader.muxer_multistream = BoundedMuxer()
    swarm = SlotReturningSwarm(
        identifier,
        peerstore,
        upgrader,
        [tcp],
        retry_config=RetryConfig(max_retries=0),  # the transport keeps its own back-off
        connection_config=ConnectionConfig(
            max_connections=limits.max_connections,
            high_watermark=limits.max_connections,
            low_watermark=0,  # the peerstore stays empty: the swarm dials nobody by itself
            min_connections=0,
            inbound_upgrade_timeout=limits.handshake_s,
            outbound_upgrade_timeout=limits.handshake_s,
        ),
        doorstep=tcp.doorstep,
        limits=limits,
    )
    host = GuardedHost(swarm, handlers)
    try:
        async with host.run([Multiaddr(address) for address in bound]):
            try:
                yield host
            finally:
                tcp.abort_all()
    finally:
        for listener in bound.values():
            listener.socket.close()
