"""Links over libp2p: TCP, Noise, yamux, and one stream for each link.

Of two peers the one with the smaller verify key dials, so both need not dial and never make two
connections; both must seek each other. Only to bootstrap peers a larger key dials as well, and a
bootstrap peer with a smaller key admits it when it has no address to dial itself. Other programs
that speak libp2p can take part with the protocol named below and the frames of ``framing.py``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import anyio
import trio
from anyio.abc import TaskStatus

from ....crypto.errors import Malformed, TransportError
from ....crypto.identity import peer_id_to_verify_key
from ..addresses import parse
from ..base import Accept, Backend, Deliver
from ..discovery import Discovery
from ..limits import Limits
from .host import abort, open_host, peer_id, verify_key_of
from .imports import Multiaddr, MultiselectCommunicator, create_new_key_pair
from .link import Link
from .mdns import MOST_ADDRESSES, check_dialable, mdns
from .muxer import Brief
from .tcp import bind

logger = logging.getLogger(__name__)

PROTOCOL = "/tidings/frames/1.0.0"


def _by_key(addresses: Sequence[str]) -> dict[bytes, tuple[str, ...]]:
    """Addresses under the verify keys that they name."""
    known: dict[bytes, tuple[str, ...]] = {}
    for address in addresses:
        try:
            key = peer_id_to_verify_key(parse(address).peer_id or "")
        except Malformed:
            raise TransportError(
                "the address does not say whose it is",
                where=address,
                fix="add /p2p/ and the peer id",
            ) from None
        known[key] = (*known.get(key, ()), address)
    return known


class Libp2pTransport:
    """A transport for the identity with this Ed25519 ``seed``, listening on ``listen``.

    ``listen`` is like ``/ip4/127.0.0.1/tcp/4001``; port 0 takes any that is free. ``entropy``
    gives random bytes for the jitter of the back-off and for the name in mDNS. Raises
    ``TransportError`` when an address is not one.
    """

    def __init__(
        self,
        seed: bytes,
        listen: str,
        accept: Accept,
        limits: Limits | None = None,
        *,
        discovery: Discovery | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._seed = seed
        self._listen = parse(listen)
        self._accept = accept
        self._limits = limits or Limits()
        self._entropy = entropy
        self._own_key: bytes = create_new_key_pair(seed).public_key.to_bytes()
        self._mdns = discovery is not None and discovery.mdns
        self._bootstrap = _by_key(discovery.bootstrap if discovery else ())
        self._found: dict[bytes, tuple[str, ...]] = {}  # by mDNS; members only
        self._links: dict[bytes, Link] = {}
        self._unreached: set[bytes] = set()  # whose addresses led nowhere when last tried
        self._sought = dict(self._bootstrap)
        self._keepers: dict[bytes, trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None
        self._host: Any = None
        self._deliver: Deliver

    @property
    def backend(self) -> Backend:
        """libp2p runs on trio alone."""
        return "trio"

    async def run(
        self,
        deliver: Deliver,
        *,
        task_status: TaskStatus[list[str]] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen and keep links up until cancelled; see ``Transport.run``.

        ``deliver`` is called from one task for each link. ``TransportError`` when the port is in
        use or the address is not of this machine.
        """
        self._deliver = deliver
        if self._mdns:
            check_dialable(self._listen)
        bound = await bind(self._listen)
        handlers = {PROTOCOL: self._answer}
        async with (
            open_host(
                self._seed, bound, self._admits, self._may_call, self._limits, handlers
            ) as self._host,
            trio.open_nursery() as self._nursery,
        ):
            own = peer_id(self._own_key).to_base58()
            addresses = [f"{address}/p2p/{own}" for address in bound]
            announcing = mdns(addresses, self._entropy(16).hex(), self._hear)
            async with announcing if self._mdns else nullcontext():
                task_status.started(addresses)
                self._seek_all()
                await trio.sleep_forever()

    async def send(self, peer: bytes, frame: bytes) -> None:
        """Queue a frame for ``peer``; see ``Transport.send``."""
        link = self._links.get(peer)
        if link is None:
            raise TransportError("there is no link to this peer", where=peer.hex()[:16])
        await link.send(frame)

    def send_now(self, peer: bytes, frame: bytes) -> bool:
        """See ``Prompt``."""
        link = self._links.get(peer)
        return link is not None and self._limits.allows(len(frame)) and link.send_now(frame)

    def seek(self, peers: Mapping[bytes, Sequence[str]]) -> None:
        """Name the peers that links are wanted with and where; see ``Transport.seek``."""
        for peer, addresses in peers.items():
            for address in addresses:
                named = parse(address).peer_id
                if named is not None and named != peer_id(peer).to_base58():
                    raise TransportError(
                        "the address names another peer than it is meant for",
                        where=address,
                        fix=f"the peer meant is {peer_id(peer).to_base58()}",
                    )
        self._sought = {peer: tuple(addresses) for peer, addresses in peers.items()}
        for peer, addresses in self._bootstrap.items():
            self._sought[peer] = (*self._sought.get(peer, ()), *addresses)
        self._seek_all()

    async def disconnect(self, peer: bytes, why: str) -> None:
        """Cut the link to ``peer`` at its socket; this never waits for the other side."""
        link = self._links.get(peer)
        if link is not None:
            link.cut(why)
        await trio.lowlevel.checkpoint()

    def _admits(self, key: bytes) -> bool:
        return key != self._own_key and self._accept(key)

    def _may_call(self, key: bytes) -> bool:
        """Whether a larger key may dial this peer: when this peer does not reach it."""
        return not self._where(key) or key in self._unreached

    def _where(self, peer: bytes) -> tuple[str, ...]:
        """Where a peer may be dialled: as was configured, and if nothing was, as was heard."""
        return self._sought.get(peer) or (self._found.get(peer, ()) if peer in self._sought else ())

    def _hear(self, peer: bytes, addresses: tuple[str, ...]) -> None:
        # kept beside the older ones: anybody on the network may announce what is not so
        if self._admits(peer):
            known = dict.fromkeys((*addresses, *self._found.get(peer, ())))
            self._found[peer] = tuple(known)[:MOST_ADDRESSES]

    def _seek_all(self) -> None:
        """Have one task for each peer to dial, and none for others."""
        if self._nursery is None:
            return
        for peer in self._keepers.keys() - self._sought.keys():
            self._keepers.pop(peer).cancel()
        for peer in self._sought.keys() - self._keepers.keys():
            if self._own_key < peer or peer in self._bootstrap:
                self._keepers[peer] = scope = trio.CancelScope()
                self._nursery.start_soon(self._keep, peer, scope)

    async def _keep(self, peer: bytes, scope: trio.CancelScope) -> None:
        """Keep a link to ``peer`` up for as long as it is sought."""
        limits = self._limits
        wait_s = limits.backoff_min_s
        with scope:
            while True:
                since = trio.current_time()
                link = self._links.get(peer)
                if link is None and self._accept(peer):
                    link = await self._dial(peer)
                    if link is None:
                        self._unreached.add(peer)
                    else:
                        self._unreached.discard(peer)
                if link is not None:
                    since = trio.current_time()
                    await link.gone.wait()
                    # A link that breaks at once is no reason to dial faster.
                    if trio.current_time() - since > limits.backoff_max_s:
                        wait_s = limits.backoff_min_s
                    since = trio.current_time()
                # A dial that lasted has been the pause: a line that heals is found by the next.
                share = int.from_bytes(self._entropy(4), "big") / 2**32
                await trio.sleep_until(since + wait_s * (0.5 + share / 2))
                wait_s = min(2 * wait_s, limits.backoff_max_s)

    async def _dial(self, peer: bytes) -> Link | None:
        """Try the peer's addresses one after another."""
        for address in self._where(peer):
            with trio.move_on_after(self._limits.dial_s + self._limits.handshake_s):
                link = await self._open(peer, address)
                if link is not None:
                    return link
        return None

    async def _open(self, peer: bytes, address: str) -> Link | None:
        """Connect, open the stream and start the link; None when any of it fails."""
        connection = None
        link: Link | None = None
        try:
            # dial_addr rather than connect: connect tries one TCP address of several, and
            # remembers a failure for a minute.
            connection = await self._host.get_network().dial_addr(Multiaddr(address), peer_id(peer))
            stream = await connection.new_stream()
            await self._host.multiselect_client.select_one_of(
                [PROTOCOL], MultiselectCommunicator(Brief(stream)), self._limits.handshake_s
            )
            link = await self._start(peer, stream, connection)
        except Exception:  # libp2p raises many kinds; all mean that this address does not work now
            logger.debug("%s could not be dialled", address, exc_info=True)
        finally:
            if connection is not None and link is None:
                abort(connection)
        return link

    async def _answer(self, stream: Any) -> None:
        """Take a stream that a smaller peer opened as its link to this one."""
        peer = verify_key_of(stream.muxed_conn.peer_id)
        called = peer is not None and (peer < self._own_key or self._may_call(peer))
        if peer is None or not called or not self._admits(peer):
            await stream.reset()
            return
        stream.muxed_conn.in_use.set()
        link = await self._start(peer, stream, stream.swarm_conn)
        await link.gone.wait()

    async def _start(self, peer: bytes, stream: Any, connection: Any) -> Link:
        """Start the link on an open stream, after the end of the one before."""
        assert self._nursery is not None
        while (older := self._links.get(peer)) is not None:
            older.cut("a newer connection took its place")
            await older.gone.wait()
        link = Link(
            peer, stream.muxed_stream, partial(abort, connection), self._deliver, self._limits
        )
        self._links[peer] = link
        self._nursery.start_soon(self._run_link, link)
        return link

    async def _run_link(self, link: Link) -> None:
        try:
            await link.run()
        finally:
            del self._links[link.peer]
