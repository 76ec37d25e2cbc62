"""Frames as an attacker with a member's keys would make them: wrong in one place, right in others.

Random bytes end at the first check. So a frame is built from its parts, some of which are changed,
and then signed, digested and sealed as they should be: what lies behind each check is reached as
well. At the end some frames are cut, spliced or flipped as a whole.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np

from tests.gossip.author import Author
from tests.gossip.factor_kit import random_factors
from tests.helpers import Village, entropy_of
from tidings.crypto import canonical
from tidings.crypto.digest import digest
from tidings.crypto.envelope import seal_frame
from tidings.crypto.errors import RemoteError
from tidings.crypto.identity import Identity
from tidings.crypto.membership import Bulletin, Certificate, GroupKey
from tidings.gossip import integers, payload, wire
from tidings.gossip.beacons import Beacon
from tidings.gossip.door import Door
from tidings.gossip.factors import Matrix
from tidings.gossip.feed import Feed
from tidings.gossip.messages import (
    KIND_OF,
    Alert,
    Beacons,
    BulletinNews,
    Control,
    Head,
    Heads,
    Hello,
    News,
    Pull,
    SignedEntry,
    Witness,
    pack_body,
)
from tidings.gossip.proof import make_proof, verify_proof

ODD: list[Any] = [
    *(0, 1, -1, 2, 3, 127, 128, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)),
    *(True, False, None, 1.0, float("nan"), b"", bytes(16), bytes(31), bytes(32), bytes(64)),
    *("", "entry", "hello", "heads", "pull", "witness", "alert", "bulletin", "\0", "é"),
    *([], [[]], [[[[[[[[[[]]]]]]]]]], {}, {1: 2}, [bytes(32), 1, bytes(32)]),
    msgpack.ExtType(1, b"x"),
]


@dataclass
class Parts:
    """A frame before it is put together. ``digest_at`` is where its header names the body."""

    fields: list[Any]
    signer: Identity
    body: bytes
    base: int
    key: GroupKey
    digest_at: int
    domain: str


class Mutations:
    """An endless row of frames that follow from ``seed``, and a door to try them at."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.village = village = Village(5, parameters=24, rounds=50)
        self.village.states[0].take_bulletin(village.issue_bulletin(2, revoked=[3]))
        self.authors = [Author.of(village, index) for index in range(5)]
        self.author = self.authors[1]
        self.past = [self.author.publish(step).entry for step in (5, -3, 2)]
        self.identities = [*village.identities, Identity.generate(entropy_of("stranger"))]
        self.keys = [village.group_key, GroupKey(1, bytes(32)), GroupKey(2, bytes(32))]
        self.held = self.author.feed.copy
        self.honest = [*self._entries(), *self._controls()]
        self.frames = [self._frame(parts) for parts in self.honest]

    # -- honest parts ------------------------------------------------------------------------

    def _entries(self) -> list[Parts]:
        """Roads of all kinds to the author's next two entries, for who is at its third."""
        step, feed = np.arange(24, dtype=np.int32) - 9, self.author.feed
        first = self.author.publish(step)
        second = self.author.publish(step)
        whole = integers.encode(feed.copy - feed.genesis)
        layout = (Matrix(4, 5, 2), Matrix(4, 1, 1))
        factors = random_factors(layout, seed=1, shift=3)
        made = [
            (first, 3, bytes(first.payload)),
            (first, 0, integers.encode(self.held + step - feed.genesis)),
            (first, 3, integers.encode(step * 99)),
            (first, 3, payload.encode(factors, layout)),
            (second, 3, integers.encode(step + step)),
            (second, 0, whole),
            (second, 4, bytes(second.payload)),
        ]
        signer, key = self.author.identity, self.village.group_key
        return [
            Parts(msgpack.unpackb(news.entry.header.pack()), signer, body, base, key, 9, "entry")
            for news, base, body in made
        ]

    def _controls(self) -> list[Parts]:
        village, far = self.village, self.authors[2]
        step = np.ones(24, dtype=np.int32)
        heads = tuple(
            Head(author=key, sequence=3, hash=self.past[2].hash) for key in sorted(village.keys)
        )
        messages: list[Control] = [
            Hello(certificate=village.certificates[1].to_bytes(), heads=heads, serial=1),
            Hello(certificate=b"", heads=(), serial=0),
            Heads(heads=heads),
            Pull(feed=village.keys[1], have=2),
            Witness(entry=self.past[1].pack()),
            Alert(proof=make_proof(far.sign(step), far.sign(step, samples=1))),
            BulletinNews(bulletin=village.issue_bulletin(3).to_bytes()),
            Beacons(beacons=(village.beacon(4, 7, "/ip4/192.0.2.7/tcp/4001"),)),
        ]
        return [self._control(message) for message in messages]

    def _control(self, message: Control) -> Parts:
        identity, body = self.village.identities[1], pack_body(message)
        fields = [
            KIND_OF[type(message)],
            1,
            self.village.network_id,
            identity.verify_key,
            2**32 + 1,
            digest("control-body", body),
            getattr(message, "certificate", b""),
        ]
        return Parts(fields, identity, body, 0, self.village.group_key, 5, "control")

    # -- what is done to them ------------------------------------------------------------------

    def below(self, bound: int) -> int:
        return int(self.rng.integers(bound))

    def pick(self, items: list[Any]) -> Any:
        return items[self.below(len(items))]

    def next(self) -> bytes:
        """The next frame."""
        if self.below(50) == 0:
            return self.rng.bytes(self.below(400))
        if self.below(8) == 0:
            return self._damaged(self.pick(self.frames))
        honest = self.pick(self.honest)
        parts = Parts(**{**vars(honest), "fields": list(honest.fields)})
        for _ in range(self.below(3)):
            self._change(parts)
        frame = self._frame(parts)
        return self._damaged(frame) if self.below(10) == 0 else frame

    def _change(self, parts: Parts) -> None:
        match self.below(10):
            case 0 | 1:
                parts.fields[self.below(len(parts.fields))] = self.pick(ODD)
            case 2:
                place = self.below(len(parts.fields))
                parts.fields[place] = self._near(parts.fields[place])
            case 3:
                parts.fields = self.pick(
                    [parts.fields[:-1], [*parts.fields, 0], parts.fields[::-1], [parts.fields]]
                )
            case 4:
                parts.base = self.pick([0, 1, 2, 3, 4, 2**63, 2**64 - 1])
            case 5:
                parts.signer = self.pick(self.identities)
                if len(parts.fields) > 3 and self.below(2):
                    parts.fields[3] = parts.signer.verify_key
            case 6:
                parts.key = self.pick(self.keys)
            case _:
                parts.body = self._another_body(parts)
                if len(parts.fields) > parts.digest_at and self.below(5):
                    domain = "payload" if parts.domain == "entry" else "control-body"
                    parts.fields[parts.digest_at] = digest(domain, parts.body)

    def _near(self, value: Any) -> Any:
        """Another value of the same kind."""
        if isinstance(value, bytes) and value:
            return self._damaged(value) if self.below(2) else self.rng.bytes(len(value))
        if isinstance(value, int):
            return min(max(-(2**63), value + self.below(5) - 2), 2**64 - 1)
        return self.pick(ODD)

    def _another_body(self, parts: Parts) -> bytes:
        choice = self.below(6)
        if choice == 0:
            return bytes(self.rng.bytes(self.below(300)))
        if choice == 1:
            return bytes(self.pick(self.honest).body)
        if choice == 2 and parts.domain == "control":
            return self._packed(self._odd_list(2))
        if choice == 3 and parts.domain == "entry":
            size = self.pick([0, 1, 23, 24, 24, 24, 25, 5000])
            return integers.encode(self.rng.integers(-(2**31), 2**31, size).astype(np.int32))
        return self._damaged(parts.body)

    def _odd_list(self, depth: int) -> list[Any]:
        items = [self.pick(ODD) for _ in range(self.below(4))]
        if depth:
            items += [self._odd_list(depth - 1) for _ in range(self.below(3))]
        return items

    def _damaged(self, data: bytes) -> bytes:
        changed = bytearray(data)
        for _ in range(1 + self.below(3)):
            place = self.below(len(changed) + 1)
            match self.below(6):
                case 0 | 1 if place < len(changed):
                    changed[place] ^= 1 << self.below(8)
                case 2 if place < len(changed):
                    changed[place] = self.pick([0, 1, 0x7F, 0x80, 0xC0, 0xDD, 0xFF])
                case 3:
                    del changed[place:]
                case 4:
                    changed[place:place] = self.rng.bytes(1 + self.below(8))
                case _:
                    other = self.pick(self.frames) if hasattr(self, "frames") else b""
                    changed[place:] = other[place:]
        return bytes(changed)

    def _packed(self, value: Any) -> bytes:
        """Canonical where it can be; else as any other library would pack it."""
        try:
            return canonical.pack(value)
        except (TypeError, ValueError):
            return bytes(msgpack.packb(value, use_bin_type=True))

    def _frame(self, parts: Parts) -> bytes:
        header = self._packed(parts.fields)
        return bytes(
            seal_frame(
                header=header,
                signature=parts.signer.sign(parts.domain, header),
                base=parts.base,
                body=parts.body,
                key=parts.key,
                nonce=self.rng.bytes(24),
            )
        )

    # -- the door --------------------------------------------------------------------------------

    def door(self) -> Door:
        """A door that has seen nothing yet but the author's first three entries."""
        known = self.village.states[0].door
        feeds = {key: Feed(key, self.village.genesis) for key in known.feeds}
        held = feeds[self.author.identity.verify_key]
        held.append(self.past[2], self.held, b"")
        held._entries.update({entry.header.sequence: entry for entry in self.past})
        return Door(
            network_id=known.network_id,
            roster=known.roster,
            group_keys=known.group_keys,
            feeds=feeds,
            proofs={},
            max_frame_bytes=known.max_frame_bytes,
            max_round=known.max_round,
        )


def outcome_of(frame: bytes, door: Door) -> str:
    """The reason for which a frame is refused, or what it was; any other exception gets out.

    Everything that a peer parses on its account is parsed, behind the door as well.
    """
    try:
        arrival = wire.decode(frame, door)
        if isinstance(arrival, News):
            door.feeds[arrival.entry.header.author].extend(arrival)
            return f"news by {arrival.road}"
        message = arrival.message
        match message:
            case Hello() if message.certificate:
                Certificate.from_bytes(message.certificate)
            case Witness():
                entry = SignedEntry.unpack(message.entry)
                if entry.header.author in door.feeds:
                    door.feeds[entry.header.author].check_honest(entry)
            case Alert():
                verify_proof(message.proof, door.network_id)
            case BulletinNews():
                Bulletin.from_bytes(message.bulletin).verify(door.roster.root_key, door.network_id)
            case Beacons():
                for packed in message.beacons:
                    beacon = Beacon.from_bytes(packed)
                    beacon.verify(door.roster.root_key, door.network_id)
            case _:
                pass
        return KIND_OF[type(message)]
    except RemoteError as error:
        return error.reason


def try_many(seed: int, count: int) -> Counter[str]:
    """How often each outcome came, of ``count`` frames; a failure names the frame's seed."""
    mutations, outcomes = Mutations(seed), Counter[str]()
    door, clean = mutations.door(), True
    for number in range(count):
        if not clean:  # what was accepted has left its trace; the next one finds none
            door = mutations.door()
        frame = mutations.next()
        try:
            outcome = outcome_of(frame, door)
        except Exception as error:
            error.add_note(f"frame {number} of seed {seed}: {frame.hex()}")
            raise
        outcomes[outcome] += 1
        clean = outcome not in ACCEPTED
    return outcomes


ACCEPTED = {"news by delta", "news by sum", "news by snapshot", *KIND_OF.values()}
