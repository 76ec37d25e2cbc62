"""Links over an MQTT broker: no peer needs an address of its own, and the broker sees only seals.

Of two peers that seek each other the one with the smaller verify key makes the link: it answers
no offer of the other. A newcomer, whom nobody seeks yet, is answered whichever key is smaller. A
link is made by a handshake on the two ``to`` topics (mqtt/handshake.py) and lives while heartbeats
come (mqtt/link.py). The broker's retained presence and last will only make things faster: they
wake a dialler, and they tell at once that a peer is gone. It also retains the notice that each
peer left, for those who come while that peer sleeps.

All that a link was lies in the two peers. When either loses its connection to the broker, its
links are cut and made again, with new keys, and nothing of the old session is delivered.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence

import anyio
from anyio.abc import TaskGroup, TaskStatus

from ....crypto.errors import RemoteError, TransportError
from ....crypto.identity import Entropy, Identity, short_id
from ...clock import monotonic_time
from ..base import Accept, Backend, Deliver, Left
from .broadcast import Broadcaster
from .dialling import Dialling
from .feed import Feed
from .handshake import Channel, kind_of
from .limits import MqttLimits
from .link import Link
from .packets import INSTANCE_BYTES, VERSION, Kind
from .session import MqttSession
from .settings import MqttSettings
from .topics import Place, Topics
from .warnings import Warnings
from .waste import Waste

logger = logging.getLogger(__name__)


class MqttTransport:
    """A transport for ``identity`` in the network with this id, over the broker of ``settings``.

    ``warn`` gets in words what a person should know and may be able to mend: the broker is gone,
    its ACL denies a topic, a neighbour does not answer. The same trouble is told once in a while.
    ``entropy`` gives random bytes. Raises ConfigError when the broker's CA file cannot be read.
    """

    def __init__(
        self,
        identity: Identity,
        network_id: bytes,
        settings: MqttSettings,
        accept: Accept,
        limits: MqttLimits | None = None,
        *,
        warn: Callable[[str], None] = logger.warning,
        entropy: Entropy = os.urandom,
    ) -> None:
        self._own_key = identity.verify_key
        self._settings = settings
        self._accept = accept
        self._limits = limits or MqttLimits()
        self._topics = Topics(network_id, self._own_key)
        self._warnings = Warnings(warn, self._limits.warn_every_s)
        self._links: dict[bytes, Link] = {}
        self._sought: frozenset[bytes] = frozenset()
        self._feeds: dict[bytes, Feed] = {}
        self._waste = Waste(self._limits)
        self._notice = b""  # what this peer leaves
        self._found: dict[bytes, bytes] = {}  # notices of others, not yet delivered
        self._finding = asyncio.Event()
        self._tasks: TaskGroup | None = None
        self._deliver: Deliver
        self._session = MqttSession(
            settings,
            self._limits,
            client_id=f"tidings-{network_id.hex()[:8]}-{self._own_key.hex()[:32]}",
            presence=self._topics.here(self._own_key),
            echo=(self._topics.to(self._own_key), bytes([VERSION, Kind.ECHO]) + entropy(8)),
            receive=self._receive,
            came=self._came,
            went=self._went,
            warn=self._warnings.say,
            entropy=entropy,
        )
        self._dialling = Dialling(
            identity, network_id, self._limits, post=self.post, warn=self._warnings, entropy=entropy
        )
        self._broadcaster = Broadcaster(
            self._topics,
            self._session.out,
            self._limits,
            entropy(INSTANCE_BYTES),
            self._warnings.say,
        )

    @property
    def backend(self) -> Backend:
        """aiomqtt runs on asyncio alone."""
        return "asyncio"

    async def run(
        self,
        deliver: Deliver,
        *,
        task_status: TaskStatus[list[str]] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Keep links up until cancelled; see ``Transport.run``.

        ``started`` gets the broker's address. ``deliver`` is called from one task for each link.
        A broker that is away is waited for, however long it takes. ``TransportError`` when it has
        not been reached yet and says that this peer makes a mistake (wrong password, TLS fails),
        or when its name stays unknown.
        """
        self._deliver = deliver
        farewell: list[tuple[str, bytes]] = []
        try:
            await self._session.open()
            async with anyio.create_task_group() as self._tasks:
                self._refollow()
                self._tasks.start_soon(self._session.run)
                self._tasks.start_soon(self._broadcaster.run)
                self._tasks.start_soon(self._tell_of_notices)
                task_status.started([self._settings.url])
                self._seek_all()
                try:
                    await anyio.sleep_forever()
                finally:
                    farewell = self._farewell()
        finally:
            self._tasks = None
            await self._session.close(farewell)

    async def send(self, peer: bytes, frame: bytes) -> None:
        """Queue a frame for ``peer``; see ``Transport.send``."""
        self._limits.check_frame(len(frame))
        link = self._links.get(peer)
        if link is None or not link.up:
            raise TransportError("there is no link to this peer", where=peer.hex()[:16])
        await link.send(frame)

    def reached_together(self, peers: Sequence[bytes]) -> list[bytes]:
        """Those that are linked; see ``Broadcasting``."""
        return [peer for peer in peers if (link := self._links.get(peer)) and link.up]

    async def broadcast(self, peers: Sequence[bytes], frame: bytes) -> None:
        """Hand one frame over for all of ``peers`` that there is a link to, with one publish.

        On each link it keeps its place among the frames that are sent there. Waits while
        broadcasts before it have not reached the broker; a link that has not taken too many of
        them is cut, so that it holds up no other. Raises ``TransportError`` when the frame is
        empty or over the limit.
        """
        self._limits.check_frame(len(frame))
        links = [link for peer in dict.fromkeys(peers) if (link := self._links.get(peer))]
        await self._broadcaster.broadcast([link for link in links if link.up], frame)

    def leave(self, notice: bytes) -> None:
        """Have the broker retain this notice; see ``Retaining``."""
        if len(notice) <= self._limits.max_notice_bytes:
            self._notice = notice
            self._put_up_notice()

    def seek(self, peers: Mapping[bytes, Sequence[str]]) -> None:
        """Name the peers that links are wanted with; a broker needs no addresses of theirs."""
        self._sought = frozenset(peers)
        self._refollow()
        self._seek_all()

    async def disconnect(self, peer: bytes, why: str) -> None:
        """Cut the link to ``peer``; this never waits for the other side."""
        link = self._links.get(peer)
        if link is not None:
            link.cut(why)
        await anyio.lowlevel.checkpoint()

    # -- links -----------------------------------------------------------------------------

    def post(self, peer: bytes, packet: bytes) -> None:
        """Send a small packet to ``peer``; it may be lost."""
        self._session.out.post(self._topics.to(peer), packet)

    async def hand_over(self, peer: bytes, packet: bytes) -> None:
        """Send a chunk to ``peer``, after waiting for room."""
        await self._session.out.hand_over(self._topics.to(peer), packet)

    def _admits(self, key: bytes) -> bool:
        return key != self._own_key and self._accept(key)

    def _seek_all(self) -> None:
        """Have one task for each peer to dial, and none for others."""
        if self._tasks is not None:
            self._dialling.keep(self._tasks, self._sought, self._links, self._admits)

    def _refollow(self) -> None:
        """Subscribe to the topics of those who are sought or linked, and to one's own."""
        followed = self._sought | self._links.keys()
        self._feeds = {peer: self._feeds.get(peer) or Feed(self._limits) for peer in followed}
        self._found = {peer: left for peer, left in self._found.items() if peer in followed}
        filters = {topic for peer in followed for topic in self._topics.of(peer)}
        each = {self._topics.by(peer) for peer in followed}
        muted = self._waste.muted(monotonic_time())
        # there is no way to subscribe to all senders but one: strangers wait meanwhile
        filters |= each if any(map(self._topics.is_to_me, muted)) else {self._topics.mine}
        self._session.follow(filters - muted, stale=each)

    async def _mute(self, topic: str, sender: bytes) -> None:
        """Have the broker keep back what is said on a topic, for a while."""
        for_s = self._limits.mute_s
        self._warnings.say(
            f"{short_id(sender)} sends too much that is of no use: for {for_s:g} s nothing is read"
            f" of {topic}"
        )
        self._refollow()
        await anyio.sleep(for_s)
        self._refollow()

    def _start(self, peer: bytes, channel: Channel) -> Link | None:
        """Begin the link that a handshake made."""
        older = self._links.get(peer)
        if self._tasks is None or (
            older is None and len(self._links) >= self._limits.max_connections
        ):
            return None
        feed = self._feeds.setdefault(peer, Feed(self._limits))
        link = Link(
            peer,
            channel,
            self,
            feed,
            self._deliver,
            self._limits,
            older=older,
            unheard=lambda: self._unheard(peer),
        )
        self._links[peer] = link
        self._tasks.start_soon(self._run_link, link)
        if peer not in self._sought:
            self._refollow()
        return link

    async def _run_link(self, link: Link) -> None:
        try:
            await link.run()
        finally:
            if self._links.get(link.peer) is link:
                del self._links[link.peer]
                if link.peer not in self._sought:
                    self._refollow()

    def _unheard(self, peer: bytes) -> None:
        self._warnings.say(
            f"a broadcast of {short_id(peer)} did not come and was asked for directly: the broker's"
            f" queue for this peer is full, or its ACL denies 'read' of {self._topics.feed(peer)}"
            " to this user or 'write' to that one"
        )

    # -- the broker ------------------------------------------------------------------------

    def _came(self) -> None:
        self._dialling.wake()
        self._put_up_notice()  # a broker that was started anew has lost it

    def _put_up_notice(self) -> None:
        if self._notice:
            self._session.out.hint(self._topics.head(self._own_key), self._notice)

    async def _tell_of_notices(self) -> None:
        while True:
            await self._finding.wait()
            self._finding.clear()
            while self._found:
                peer = next(iter(self._found))
                await self._deliver(Left(peer=peer, notice=self._found.pop(peer)))

    def _went(self, why: str) -> None:
        for link in self._links.values():
            link.cut(f"the connection to the broker broke: {why}", tell=False)

    def _farewell(self) -> list[tuple[str, bytes]]:
        why = "the other side stopped"
        return [(self._topics.to(link.peer), link.bye(why)) for link in self._links.values()]

    def _receive(self, topic: str, payload: bytes) -> None:
        place = self._topics.parse(topic)
        if place is None:
            return
        wasted = len(payload)
        try:
            if self._admits(place.sender):
                wasted = self._take(place, payload)
        except RemoteError as error:
            logger.debug("a message on %s was refused: %s", topic, error)
        if wasted and self._waste.add(topic, wasted, monotonic_time()) and self._tasks is not None:
            self._tasks.start_soon(self._mute, topic, place.sender)

    def _take(self, place: Place, payload: bytes) -> int:
        """Use a message; gives how much came in vain. Presence, notices and handshakes are small
        and rare, so all of them count. Raises RemoteError.
        """
        peer = place.sender
        match place.kind:
            case "to":
                return self._take_packet(peer, payload)
            case "here":
                self._take_presence(peer, present=bool(payload))
            case "feed" if peer in self._feeds:
                wasted = self._feeds[peer].add(payload, anyio.current_time())
                if peer in self._links:
                    self._links[peer].poke()
                return wasted
            case "head" if peer in self._feeds and payload:
                if len(payload) <= self._limits.max_notice_bytes:
                    self._found[peer] = payload
                    self._finding.set()
        return len(payload)

    def _take_packet(self, peer: bytes, packet: bytes) -> int:
        kind = kind_of(packet)
        channel = None
        if kind in (Kind.DATA, Kind.STATE, Kind.BYE):
            link = self._links.get(peer)
            if link is not None:
                before = link.wasted_bytes
                if link.receive(packet):
                    return link.wasted_bytes - before
            channel = self._dialling.proved(peer, packet)
        elif kind == Kind.OFFER:
            is_ours_to_make = self._own_key < peer and peer in self._sought
            has_room = peer in self._links or len(self._links) < self._limits.max_connections
            if has_room and not is_ours_to_make:
                self._dialling.answer(peer, packet)
        elif kind == Kind.ANSWER:
            self._dialling.confirm(peer, packet)
        elif kind == Kind.CONFIRM:
            channel = self._dialling.confirmed(peer, packet)
        if channel is not None:
            link = self._start(peer, channel)
            if link is not None and kind != Kind.CONFIRM:
                link.receive(packet)
        return len(packet)

    def _take_presence(self, peer: bytes, *, present: bool) -> None:
        self._dialling.saw(peer, present=present)
        link = self._links.get(peer)
        if link is not None and not present:
            link.cut("its connection to the broker is gone", tell=False)
