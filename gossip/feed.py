"""A feed: everything that one author has released, as whoever follows it holds it.

The author and every follower keep the same thing: the public copy (an int32 grid vector), the
signed entry that it belongs to, and as many of the latest deltas as cost less than the copy
itself. All arrays are treated as immutable: a new copy is a new array.

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
    Tampered,
    WrongState,
)
from . import integers
from .grid import GridVector, add, difference, state_hash
from .messages import HASH_BYTES, News, SignedEntry
from .proof import contradict, make_proof

NO_HASH = bytes(HASH_BYTES)
KEPT_ENTRIES = 64  # signed headers remembered, to recognise a second entry with one number
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
        self._roads: dict[int, tuple[int, bytes | bytearray]] = {}

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

    def hash_at(self, sequence: int) -> bytes | None:
        """The hash of the entry with that number, None when it is not remembered."""
        entry = self._entries.get(sequence)
        return entry.hash if entry else None

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
        # a single delta has a digest of its own, so a flipped bit is told from a lie
        is_delta = news.base == header.sequence - 1
        if is_delta and payload_digest(news.payload) != header.payload_digest:
            raise Tampered("the payload has not the digest that its author signed")
        step = integers.decode(news.payload, self.copy.size)
        start = self.copy if news.base == self.sequence else self.genesis
        try:
            copy = add(start, step)
        except OverflowError:
            raise WrongState("the payload leads off the grid") from None
        if state_hash(copy) != header.state:
            raise WrongState("the payload leads to another copy than its author signed")
        self._advance(news.entry, copy, Delta(header.sequence, news.payload) if is_delta else None)

    def append(self, entry: SignedEntry, copy: GridVector, payload: bytes) -> None:
        """Add an entry of one's own."""
        self._advance(entry, copy, Delta(entry.header.sequence, payload))

    def restore(self, entry: SignedEntry, copy: GridVector, deltas: list[Delta]) -> None:
        """Take up a stored feed again, with the stored deltas that lead to its head."""
        self._advance(entry, copy, None)
        self.deltas.extend(deltas)

    def _advance(self, entry: SignedEntry, copy: GridVector, delta: Delta | None) -> None:
        contiguous = entry.header.sequence == self.sequence + 1
        if delta is None or not contiguous:
            self.deltas.clear()
        if delta is not None:
            self.deltas.append(delta)
        self.copy, self.entry = copy, entry
        self._entries[entry.header.sequence] = entry
        if len(self._entries) > KEPT_ENTRIES:
            del self._entries[min(self._entries)]
        self.versions.append(Version(round=entry.header.round, copy=copy))
        del self.versions[:-KEPT_VERSIONS]
        self._roads.clear()
        # deltas that together cost more than the copy are never the cheapest road
        while len(self.deltas) > 1 and sum(len(d.payload) for d in self.deltas) > copy.nbytes:
            self.deltas.popleft()

    def version(self, round_: int) -> Version | None:
        """The copy to mix with in `round_`, None while the author has not come so far.

        The copy of that very round if it is there, else (the author skipped it, or we were away)
        the next one after it.
        """
        return next((v for v in self.versions if v.round >= round_), None)

    def forget_versions(self, up_to_round: int) -> None:
        """Let go of the copies of rounds that are mixed."""
        self.versions = [v for v in self.versions if v.round > up_to_round]

    def road_from(self, base: int) -> News | None:
        """The cheapest road for somebody who holds this feed up to `base`.

        None when there is nothing newer. Roads are cached until the next entry.
        """
        if self.entry is None or base >= self.sequence:
            return None
        if base not in self._roads:
            self._roads[base] = min(self._possible_roads(base), key=lambda road: len(road[1]))
        start, payload = self._roads[base]
        return News(entry=self.entry, base=start, payload=payload)

    def _possible_roads(self, base: int) -> list[tuple[int, bytes | bytearray]]:
        missed = [d for d in self.deltas if d.sequence > base]
        complete = bool(missed) and missed[0].sequence == base + 1
        if complete and len(missed) == 1:
            return [(base, missed[0].payload)]
        whole = integers.encode(difference(self.copy, self.genesis))
        if not complete:
            return [(0, whole)]
        total = np.zeros_like(self.copy)
        try:
            for delta in missed:
                total = add(total, integers.decode(delta.payload, total.size))
        except OverflowError:  # from one end of the grid to the other: no honest model does that
            return [(0, whole)]
        return [(base, integers.encode(total)), (0, whole)]
