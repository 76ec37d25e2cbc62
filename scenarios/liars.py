"""Simulated peers that break the protocol: honest inside, lying on the wire.

A liar runs the same core as everybody; what changes are its frames on their way out, and it turns
a deaf ear to its accusers. Its own event log tells what its honest half did. Each behaviour is one
that a real attacker could carry out with the keys it has.

    equivocate     signs two different entries with one number, one for every second of those who
                   hear it, and compares no heads with these
    sign-flip, noise, free-rider, sleeper, label-flip
                   properly signed lies about what it learnt (scenarios/attacks.py; not refused: the
                   protocol cannot tell a lie about data; robust mixing rules are for that)
    garbage        random bytes              flip-bits      one bit of the sealed payload differs
    replay         each frame twice          truncate       frames end in their header
    wrong-shape    a model of another size   wrong-state    a payload that leads elsewhere
    forge          signs in another's name   stranger       signs with a key of no member
    wrong-network  names another network

The behaviours below these come beside the true frames, not instead of them: what a liar
says in vain must not disturb what it says truly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..crypto.envelope import open_body, split_frame
from ..crypto.errors import RemoteError
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
from ..gossip.proof import verify_proof
from ..gossip.state import State
from ..gossip.wire import encode_news
from ..peer.training import Trainer
from .attacks import OWN, alone
from .faults import Liar
from .world import World, seeded_entropy


class Lying:
    """Twists what one node sends, and keeps from it what is said against it."""

    def __init__(self, liar: Liar, world: World) -> None:
        self._liar = liar
        self._world = world
        self._entropy = seeded_entropy(world.seed, "liar", liar.node)
        self._stranger = Identity.generate(self._entropy)
        self._previous: dict[int, bytes] = {}  # sequence -> hash of the false entry

    def hears(self, state: State, event: fx.Input) -> bool:
        """Whether the liar listens: it does not where it is accused."""
        return not (isinstance(event, fx.Received) and self._is_accused(state, event.frame))

    def trained(self, trainer: Trainer, job: fx.Train, answer: fx.Trained) -> fx.Trained:
        """What the liar says that it learnt."""
        behaviour = self._liar.behaviour
        if behaviour not in OWN or job.round < self._liar.from_round:
            return answer
        lie = alone(
            behaviour,
            job.model,
            answer.release.z,
            np.random.default_rng([self._world.seed, self._liar.node, job.round]),
            round=job.round,
            rounds=self._world.scenario.rules.rounds,
        )
        return replace(answer, release=trainer.gate.pass_on(job.round, lie))

    def twist(self, state: State, effects: list[fx.Effect]) -> list[fx.Effect]:
        """The effects with what is sent falsified."""
        if state.round < self._liar.from_round:
            return effects
        return [twisted for effect in effects for twisted in self._twist(state, effect)]

    def _twist(self, state: State, effect: fx.Effect) -> Iterator[fx.Effect]:
        if not isinstance(effect, fx.Send | fx.Broadcast):
            yield effect
            return
        for link in (effect.to,) if isinstance(effect, fx.Send) else effect.to:
            for frame in self._said(state, link, effect.frame):
                yield fx.Send(to=link, frame=frame)

    def _said(self, state: State, link: bytes, frame: fx.Frame) -> Iterator[fx.Frame]:
        """What goes over `link` instead of `frame`."""
        header = parse_header(split_frame(frame, state.me.rules.max_frame_bytes).header)
        if isinstance(header, EntryHeader):
            if header.author == state.me.key:
                yield from self._frames(state, link, frame)
            else:
                yield frame
        elif not (header.kind in ("heads", "witness") and self._deceives(state, link)):
            yield frame

    def _deceives(self, state: State, link: bytes) -> bool:
        """Whether an equivocator tells this neighbour the other story."""
        if self._liar.behaviour != "equivocate":
            return False
        neighbours = state.topology.all_neighbours(state.index)
        hearers = [node for node in neighbours if state.index in state.heard_by(node)]
        return state.index_of(link) in hearers[1::2]

    def _is_accused(self, state: State, frame: fx.Frame) -> bool:
        """Whether a frame shows the liar up, to its face."""
        try:
            envelope = split_frame(frame, state.me.rules.max_frame_bytes)
            kind = getattr(parse_header(envelope.header), "kind", "")
            if kind not in ("witness", "alert"):
                return False
            body = bytes(open_body(envelope, self._world.group_key))
            if kind == "witness":
                return SignedEntry.unpack(body).header.author == state.me.key
            return verify_proof(body, state.door.network_id)[0] == state.me.key
        except RemoteError:
            return False  # its honest half refuses it

    def _frames(self, state: State, link: bytes, frame: fx.Frame) -> Iterator[fx.Frame]:
        """What becomes of the liar's own news on its way to `link`."""
        match self._liar.behaviour:
            case "equivocate":
                lies = self._deceives(state, link)
                yield self._seal(self._false_entry(state, self._news(frame))) if lies else frame
            case lie if lie in OWN:
                yield frame
            case "garbage":
                yield frame
                yield self._entropy(len(frame))
            case "flip-bits":
                yield self._flipped(frame)
                yield frame
            case "replay":
                yield frame
                yield frame
            case "truncate":
                yield frame[:60]
                yield frame
            case _:
                yield self._seal(self._broken_entry(state, self._news(frame)))
                yield frame

    def _news(self, frame: fx.Frame) -> News:
        envelope = split_frame(frame, self._world.scenario.rules.max_frame_bytes)
        header = parse_header(envelope.header)
        assert isinstance(header, EntryHeader)
        payload = open_body(envelope, self._world.group_key)
        entry = SignedEntry(header=header, signature=envelope.signature)
        return News(entry=entry, base=envelope.base, payload=payload)

    def _flipped(self, frame: fx.Frame) -> bytearray:
        """The frame with one bit of its sealed payload turned over."""
        envelope = split_frame(frame, self._world.scenario.rules.max_frame_bytes)
        bit = int.from_bytes(self._entropy(8)) % (8 * len(envelope.sealed))
        flipped = bytearray(frame)
        flipped[len(frame) - len(envelope.sealed) + bit // 8] ^= 1 << bit % 8
        return flipped

    def _seal(self, news: News) -> bytearray:
        return encode_news(news, key=self._world.group_key, entropy=self._entropy)

    def _false_entry(self, state: State, news: News) -> News:
        """A whole, properly signed entry that leads to the opposite of the true copy."""
        header = news.entry.header
        copy = _mirrored(state.own.copy, state.genesis)
        payload = integers.encode(difference(copy, state.genesis))
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
                payload = integers.encode(np.ones(state.genesis.size + 1, dtype=np.int32))
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
                raise ValueError(f"behaviour '{other}' breaks no entry")
        return News(entry=sign_entry(identity, header), base=news.base, payload=payload)


def _mirrored(copy: GridVector, genesis: GridVector) -> GridVector:
    return (genesis - difference(copy, genesis)).astype(np.int32)
