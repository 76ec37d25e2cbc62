"""Simulated peers that break the protocol: honest inside, lying on the wire.

A liar runs the same core as everybody; what changes are its frames on their way out. Each
behaviour is one that a real attacker could carry out with the keys it has.

    equivocate     signs two different entries with one number, one for half of its neighbours
    sign-flip      publishes the opposite of what it learnt, properly signed (not refused: the
                   protocol cannot tell a lie about data; robust mixing rules are for that)
    garbage        random bytes              flip-bits      one bit of the sealed payload differs
    replay         each frame twice          truncate       frames end in their header
    wrong-shape    a model of another size   wrong-state    a payload that leads elsewhere
    forge          signs in another's name   stranger       signs with a key of no member
    wrong-network  names another network
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from ..crypto.envelope import open_body, split_frame
from ..crypto.errors import Malformed
from ..crypto.identity import Identity
from ..gossip import effects as fx
from ..gossip import integers
from ..gossip.feed import NO_HASH, payload_digest
from ..gossip.grid import GridVector, difference, state_hash
from ..gossip.messages import (
    EntryHeader,
    News,
    SignedEntry,
    parse_header,
    sign_entry,
)
from ..gossip.state import State
from ..gossip.wire import encode_news
from .faults import Liar
from .world import World, seeded_entropy

Lie = Callable[[State, News, bytes], bytes | bytearray]


class Lying:
    """Twists what one node sends."""

    def __init__(self, liar: Liar, world: World) -> None:
        self._liar = liar
        self._world = world
        self._entropy = seeded_entropy(world.seed, "liar", liar.node)
        self._stranger = Identity.generate(self._entropy)
        self._previous: dict[int, bytes] = {}  # sequence -> hash of the false entry

    def twist(self, state: State, effects: list[fx.Effect]) -> list[fx.Effect]:
        """The effects with their news falsified."""
        if state.round < self._liar.from_round:
            return effects
        return [twisted for effect in effects for twisted in self._twist(state, effect)]

    def _twist(self, state: State, effect: fx.Effect) -> Iterator[fx.Effect]:
        if not isinstance(effect, fx.Send | fx.Broadcast):
            yield effect
            return
        links = (effect.to,) if isinstance(effect, fx.Send) else effect.to
        news = self._news_in(state, effect.frame)
        if news is None:
            yield effect
            return
        for link in links:
            for frame in self._frames(state, news, link, effect.frame):
                yield fx.Send(to=link, frame=frame)

    def _news_in(self, state: State, frame: fx.Frame) -> News | None:
        """The liar's own news in its own frame; None for control messages and others' entries."""
        envelope = split_frame(frame, state.me.rules.max_frame_bytes)
        header = parse_header(envelope.header)
        if not isinstance(header, EntryHeader) or header.author != state.me.key:
            return None
        payload = open_body(envelope, self._world.group_key)
        entry = SignedEntry(header=header, signature=envelope.signature)
        return News(entry=entry, base=envelope.base, payload=payload)

    def _frames(self, state: State, news: News, link: bytes, frame: fx.Frame) -> Iterator[fx.Frame]:
        match self._liar.behaviour:
            case "garbage":
                yield frame
                yield self._entropy(len(frame))
            case "flip-bits":
                flipped = bytearray(frame)
                flipped[-1 - self._entropy(1)[0] % 16] ^= 1
                yield flipped
                yield frame
            case "replay":
                yield frame
                yield frame
            case "truncate":
                yield frame[:60]
                yield frame
            case "equivocate":
                index = state.index_of(link) or 0
                lie = self._seal(self._false_entry(state, news)) if index % 2 else frame
                yield lie
            case "sign-flip":
                yield self._seal(self._false_entry(state, news))
            case _:
                yield self._seal(self._broken_entry(state, news))
                yield frame

    def _seal(self, news: News) -> bytearray:
        return encode_news(news, key=self._world.group_key, entropy=self._entropy)

    def _false_entry(self, state: State, news: News) -> News:
        """A whole, properly signed entry that leads to the opposite of the true copy."""
        header = news.entry.header
        copy = _mirrored(state.own.copy, state.me.genesis)
        payload = integers.encode(difference(copy, state.me.genesis))
        previous = self._previous.get(header.sequence - 1, header.previous)
        entry = sign_entry(
            state.me.identity,
            replace(
                header,
                previous=previous if header.sequence > 1 else NO_HASH,
                state=state_hash(copy),
                payload_digest=payload_digest(payload),
            ),
        )
        self._previous[header.sequence] = entry.hash
        return News(entry=entry, base=0, payload=payload)

    def _broken_entry(self, state: State, news: News) -> News:
        header, identity = news.entry.header, state.me.identity
        payload: bytes | bytearray = news.payload
        match self._liar.behaviour:
            case "wrong-shape":
                payload = integers.encode(np.ones(state.me.genesis.size + 1, dtype=np.int32))
                header = replace(header, payload_digest=payload_digest(payload))
            case "wrong-state":
                header = replace(header, state=self._entropy(32))
            case "forge":
                victim = (state.index + 1) % self._world.scenario.peers
                header = replace(header, author=self._world.citizens[victim].identity.verify_key)
            case "stranger":
                identity = self._stranger
                header = replace(header, author=identity.verify_key)
            case "wrong-network":
                header = replace(header, network_id=self._entropy(16))
            case other:
                raise Malformed(f"no such behaviour: {other}")
        return News(entry=sign_entry(identity, header), base=news.base, payload=payload)


def _mirrored(copy: GridVector, genesis: GridVector) -> GridVector:
    return (genesis - difference(copy, genesis)).astype(np.int32)
