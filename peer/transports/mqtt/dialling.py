"""Handshakes under way: who is dialled and when, and who is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

import anyio
from anyio.abc import TaskGroup

from ....crypto.identity import Entropy, Identity, short_id
from .handshake import Answered, Channel, Dial, Pair, answer
from .limits import MqttLimits
from .link import Link
from .warnings import Warnings

_FAILURES_TO_WARN = 3


class Dialling:
    """The handshakes of one peer; ``post`` sends a small packet to another."""

    def __init__(
        self,
        identity: Identity,
        network_id: bytes,
        limits: MqttLimits,
        *,
        post: Callable[[bytes, bytes], None],
        warn: Warnings,
        entropy: Entropy,
    ) -> None:
        self._identity = identity
        self._network_id = network_id
        self._limits = limits
        self._post = post
        self._warn = warn
        self._entropy = entropy
        self._keepers: dict[bytes, anyio.CancelScope] = {}
        self._stirred: dict[bytes, asyncio.Event] = {}
        self._present: set[bytes] = set()
        # Each is used once: a channel that began twice would repeat its nonces.
        self._dials: dict[bytes, Dial] = {}
        self._confirmed: dict[bytes, Channel] = {}
        self._answered: dict[bytes, tuple[Answered, float]] = {}

    # -- dialling --------------------------------------------------------------------------

    def keep(
        self,
        tasks: TaskGroup,
        peers: Collection[bytes],
        links: Mapping[bytes, Link],
        admits: Callable[[bytes], bool],
    ) -> None:
        """Keep links to exactly these peers up, with one task for each."""
        for peer in self._keepers.keys() - peers:
            self._keepers.pop(peer).cancel()
            for known in (self._stirred, self._dials, self._confirmed):
                known.pop(peer, None)
        self._present &= set(peers)
        for peer in peers - self._keepers.keys():
            self._keepers[peer] = scope = anyio.CancelScope()
            self._stirred[peer] = asyncio.Event()
            tasks.start_soon(self._keep, peer, scope, links, admits)

    def wake(self) -> None:
        """Dial all again now: the broker is back."""
        self._present.clear()
        self._confirmed.clear()
        for stirred in self._stirred.values():
            stirred.set()

    def saw(self, peer: bytes, *, present: bool) -> None:
        """Note that ``peer`` came or went; who came is dialled at once."""
        if peer not in self._stirred:
            return
        if not present:
            self._present.discard(peer)
            self._confirmed.pop(peer, None)
            return
        self._present.add(peer)
        if peer not in self._confirmed:  # else the handshake is all but done
            self._stirred[peer].set()

    async def _keep(
        self,
        peer: bytes,
        scope: anyio.CancelScope,
        links: Mapping[bytes, Link],
        admits: Callable[[bytes], bool],
    ) -> None:
        limits, stirred = self._limits, self._stirred[peer]
        wait_s, failures = limits.backoff_min_s, 0
        with scope:
            while True:
                if peer not in links and admits(peer):
                    self._dials[peer] = dial = Dial(self._identity, self._pair(peer), self._entropy)
                    self._post(peer, dial.offer())
                    with anyio.move_on_after(limits.handshake_s) as patience:
                        await self._handshake_over(peer, stirred)
                    failures += patience.cancelled_caught
                    self._confirmed.pop(peer, None)
                link = links.get(peer)
                if link is not None:
                    failures, since = 0, anyio.current_time()
                    await link.gone.wait()
                    # A link that breaks at once is no reason to dial faster.
                    if anyio.current_time() - since > limits.backoff_max_s:
                        wait_s = limits.backoff_min_s
                elif failures >= _FAILURES_TO_WARN and peer in self._present:
                    self._warn.say(
                        f"{short_id(peer)} is connected to the broker and does not answer: it does"
                        " not seek this peer, does not know its certificate, or the broker's ACL"
                        " denies what one of the two says to the other"
                    )
                share = int.from_bytes(self._entropy(4), "big") / 2**32
                await _wait(stirred, wait_s * (0.5 + share / 2))
                wait_s = min(2 * wait_s, limits.backoff_max_s)

    async def _handshake_over(self, peer: bytes, stirred: asyncio.Event) -> None:
        """Return when the link is there, or when something happened that makes it worth dialling
        again; not when the other side may have begun the link already.
        """
        while True:
            stirred.clear()
            await stirred.wait()
            if peer not in self._confirmed:
                return

    def confirm(self, peer: bytes, packet: bytes) -> None:
        """Take an answer and confirm it; raises RemoteError when it is none."""
        dial = self._dials.get(peer)
        if dial is not None:
            channel, confirmation = dial.confirm(packet)
            del self._dials[peer]
            self._confirmed[peer] = channel
            self._post(peer, confirmation)

    def proved(self, peer: bytes, packet: bytes) -> Channel | None:
        """The channel to ``peer`` whose other end this packet proves to be there, if any."""
        channel = self._confirmed.get(peer)
        if channel is None:
            return None
        channel.open(packet)
        del self._confirmed[peer]
        self._stirred[peer].set()
        return channel

    # -- answering -------------------------------------------------------------------------

    def answer(self, peer: bytes, packet: bytes) -> None:
        """Answer an offer; raises RemoteError when it is none."""
        now = anyio.current_time()
        for other, (_, at) in list(self._answered.items()):
            if now - at > self._limits.handshake_s:
                del self._answered[other]
        if peer not in self._answered and len(self._answered) >= self._limits.max_connections:
            return
        pair = Pair(network_id=self._network_id, dialler=peer, answerer=self._identity.verify_key)
        answered = answer(self._identity, pair, packet, self._entropy)
        self._answered[peer] = answered, now
        self._post(peer, answered.answer)

    def confirmed(self, peer: bytes, packet: bytes) -> Channel | None:
        """The channel that a confirmation completes; raises RemoteError when it is none."""
        waiting = self._answered.get(peer)
        if waiting is None:
            return None
        waiting[0].check(packet)
        del self._answered[peer]
        return waiting[0].channel

    def _pair(self, peer: bytes) -> Pair:
        return Pair(network_id=self._network_id, dialler=self._identity.verify_key, answerer=peer)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with anyio.move_on_after(seconds):
        await event.wait()
    event.clear()
