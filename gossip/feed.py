"""A feed: everything that one author has released, as whoever follows it holds it.

The author and every follower keep the same thing: the public copy (an int32 grid vector), the
signed entry that it belongs to, and the latest deltas, to sum them up for others. Whatever a
hostile author publishes and hostile neighbours ask for, there are limits to what is kept. All
arrays are treated as immutable: a new copy is a new array.

An entry's signed header names the destination. So a feed accepts whatever leads from what it holds
to that hash, and offers others the cheapest road to where it is: the single delta, the sum of
several, or the whole copy.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..crypto.digest import digest
from ..crypto.errors import (
    Equivocation,
    Malformed,
    OutOfOrder,
    Replayed,
    StorageError,
    Tampered,
    WrongState,
)
from . import integers
from .grid import GridVector, add, difference, state_hash
from .messages import HASH_BYTES, News, SignedEntry
from .payload import decode
from .proof import contradict, make_proof
from .rice import BLOCK

NO_HASH = bytes(HASH_BYTES)
KEPT_ENTRIES = 64  # signed headers remembered, to recognise a second entry with one number
KEPT_DELTAS = 64  # deltas remembered ...
KEPT_DELTA_COPIES = (
    4  # ... and the copies that they may cost: 16 rounds of int8 in a one-peer graph
)
KEPT_ROADS = 8  # roads made and not yet outdated
KEPT_VERSIONS = 16  # copies of rounds not yet mixed, when an author is ahead of us


class Delta(NamedTuple):
    """One encoded delta of a feed and the number of the entry that it leads to."""

    sequence: int
    payload: bytes | bytearray


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The public copy as it was after the author's entry of `round`."""

    round: int
    copy: GridVector


class EquivocationProven(Equivocation):
    """Two signed entries contradict each other; `proof` shows it to anybody."""

    def __init__(self, detail: str, proof: bytes) -> None:
        super().__init__(detail)
        self.proof = proof


class Gap(OutOfOrder):
    """Entries of `feed` are missing before this one; they can be pulled."""

    def __init__(self, detail: str, feed: bytes) -> None:
        super().__init__(detail)
        self.feed = feed


def payload_digest(payload: bytes | bytearray) -> bytes:
    """The digest of an encoded delta that an entry's header names."""
    return digest("payload", payload)


Road = tuple[int, bytes | bytearray]  # the number of the entry where it starts, its payload


class Feed:
    """The feed of `author`, starting from the network's initial model `genesis`."""

    def __init__(self, author: bytes, genesis: GridVector) -> None:
        self.author = author
        self.genesis = genesis
        self.copy: GridVector = genesis
        self.entry: SignedEntry | None = None
        self.deltas: deque[Delta] = deque()
        self.versions: list[Version] = []
        self._entries: dict[int, SignedEntry] = {}
        self._roads: dict[int, Road] = {}
        self._snapshot: bytes | None = None

    @property
    def sequence(self) -> int:
        """The number of the newest entry; 0 before the first."""
        return self.entry.header.sequence if self.entry else 0

    @property
    def round(self) -> int:
        """The round of the newest entry; 0 before the first."""
        return self.entry.header.round if self.entry else 0

    @property
    def samples(self) -> int:
        """How many records the author says that it has; 0 when it does not say."""
        return self.entry.header.samples if self.entry else 0

    @property
    def head_hash(self) -> bytes:
        """The hash of the newest entry; zeros before the first."""
        return self.entry.hash if self.entry else NO_HASH

    @property
    def max_payload_bytes(self) -> int:
        """How long a payload may be: none that `encode` makes is longer."""
        blocks = -(-self.genesis.size // BLOCK)
        return 5 + 4 * self.genesis.size + 4 * blocks

    def entry_at(self, sequence: int) -> SignedEntry | None:
        """The entry with that number, None when it is not remembered."""
        return self._entries.get(sequence)

    def check_new(self, entry: SignedEntry) -> None:
        """Look at a signed entry before its payload is touched.

        Raises Replayed when it is known or older than what is held, EquivocationProven when it
        contradicts an entry that is held, Malformed when its round does not advance.
        """
        self.check_honest(entry)
        header = entry.header
        if header.sequence <= self.sequence:
            raise Replayed(f"entry {header.sequence}, held up to {self.sequence}")
        if header.round <= self.round:
            raise Malformed(f"round {header.round} after round {self.round}")

    def check_honest(self, entry: SignedEntry) -> None:
        """Raises EquivocationProven when `entry` contradicts one that is remembered."""
        for sequence in (
            entry.header.sequence - 1,
            entry.header.sequence,
            entry.header.sequence + 1,
        ):
            known = self._entries.get(sequence)
            if known is not None and contradict(known, entry):
                raise EquivocationProven(
                    f"two entries contradict each other at number {entry.header.sequence}",
                    make_proof(known, entry),
                )

    def extend(self, news: News) -> None:
        """Follow the author to the state that `news` names.

        Raises what `check_new` does; OutOfOrder when the road starts where this feed never was;
        Tampered, Malformed, WrongShape or WrongState when the road does not lead there. The feed
        is unchanged then.
        """
        header = news.entry.header
        self.check_new(news.entry)
        if news.base not in (0, self.sequence):
            raise Gap(
                f"the road starts at entry {news.base}, held up to {self.sequence}", self.author
            )
        # a single delta has a digest of its own, so a flipped bit is told from a lie; but from
        # the start of a feed to its first entry leads the whole copy as well
        is_delta = news.base == header.sequence - 1
        as_signed = is_delta and payload_digest(news.payload) == header.payload_digest
        if is_delta and not as_signed and news.base:
            raise Tampered("the payload has not the digest that its author signed")
        step = decode(news.payload, self.copy.size)
        start = self.copy if news.base == self.sequence else self.genesis
        try:
            copy = add(start, step, out=step)
        except OverflowError:
            raise WrongState("the payload leads off the grid") from None
        if state_hash(copy) != header.state:
            raise WrongState("the payload leads to another copy than its author signed")
        self._advance(news.entry, copy, Delta(header.sequence, news.payload) if as_signed else None)

    def append(self, entry: SignedEntry, copy: GridVector, payload: bytes) -> None:
        """Add an entry of one's own."""
        self._advance(entry, copy, Delta(entry.header.sequence, payload))

    def restore(self, entry: SignedEntry, copy: GridVector, deltas: list[Delta]) -> None:
        """Take up a stored feed again, with those of the stored `deltas` that lead to its head.

        Raises StorageError when `copy` is not the one that `entry` names.
        """
        if state_hash(copy) != entry.header.state:
            raise StorageError(
                f"the stored public copy is not the one of entry {entry.header.sequence}",
                fix="the disk may be failing; restore the peer's folder, or make a new peer",
            )
        self._advance(entry, copy, None)
        for delta in sorted(deltas, reverse=True, key=lambda d: d.sequence):
            if delta.sequence == self.sequence - len(self.deltas):
                self.deltas.appendleft(delta)
        self._trim()

    def _advance(self, entry: SignedEntry, copy: GridVector, delta: Delta | None) -> None:
        if delta is None:
            self.deltas.clear()
        else:
            self.deltas.append(delta)
        self.copy, self.entry = copy, entry
        self._entries[entry.header.sequence] = entry
        if len(self._entries) > KEPT_ENTRIES:
            del self._entries[min(self._entries)]
        self.versions.append(Version(round=entry.header.round, copy=copy))
        del self.versions[:-KEPT_VERSIONS]
        self._roads.clear()
        self._snapshot = None
        self._trim()

    def _trim(self) -> None:
        size = sum(len(delta.payload) for delta in self.deltas)
        limit = KEPT_DELTA_COPIES * self.copy.nbytes
        while len(self.deltas) > 1 and (size > limit or len(self.deltas) > KEPT_DELTAS):
            size -= len(self.deltas.popleft().payload)

    def version(self, round_: int) -> Version | None:
        """The copy to mix with in `round_`, None while the author has not come so far.

        The copy of that very round if it is there, else (the author skipped it, or we were away)
        the next one after it.
        """
        return next((v for v in self.versions if v.round >= round_), None)

    def newest(self) -> Version | None:
        """The copy as it is now, whatever its round; None before the first entry."""
        return Version(round=self.round, copy=self.copy) if self.entry else None

    def forget_versions(self, up_to_round: int) -> None:
        """Let go of the copies of rounds that are mixed."""
        self.versions = [v for v in self.versions if v.round > up_to_round]

    def road_from(self, base: int) -> News | None:
        """The cheapest road for somebody who holds this feed up to `base`.

        None when there is nothing newer. Roads are kept until the next entry, the latest
        KEPT_ROADS of them, so asking for many does not fill the memory.
        """
        if self.entry is None or base >= self.sequence:
            return None
        road = self._roads.pop(base, None) or self._cheapest_road(base)
        self._roads[base] = road
        if len(self._roads) > KEPT_ROADS:
            del self._roads[next(iter(self._roads))]
        start, payload = road
        return News(entry=self.entry, base=start, payload=payload)

    def _cheapest_road(self, base: int) -> Road:
        missed = [delta for delta in self.deltas if delta.sequence > base]
        if not missed or missed[0].sequence != base + 1:
            return 0, self._whole()
        if len(missed) == 1:  # to compare it, the whole copy would be encoded in every round
            return base, missed[0].payload
        total = np.zeros_like(self.copy)
        try:
            for delta in missed:
                add(decode(delta.payload, total.size), total, out=total)
        except OverflowError:  # from one end of the grid to the other: no honest model does
            return 0, self._whole()
        step = integers.encode(total)
        return min((base, step), (0, self._whole()), key=lambda road: len(road[1]))

    def _whole(self) -> bytes:
        if self._snapshot is None:
            self._snapshot = integers.encode(difference(self.copy, self.genesis))
        return self._snapshot
