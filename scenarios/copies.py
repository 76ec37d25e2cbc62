"""Do the followers of an author hold the public copy that the author published?

Each entry names the hash of the copy that it leads to, so two logs are enough to tell: what the
author noted as published, and what its followers noted as received.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress

from .summary_values import Copies, CopyDifference

STATE_BYTES = 32


class PublishedStates:
    """The states that one author published, by sequence number: 32 bytes for each entry.

    An author numbers its entries one by one; whatever does not fit (a gap, a state that is no
    hash) is kept by itself.
    """

    __slots__ = ("_first", "_next", "_odd", "_row", "last")

    def __init__(self) -> None:
        self._first = self._next = 0
        self._row = bytearray()
        self._odd: dict[int, str] = {}
        self.last = 0

    def __contains__(self, sequence: int) -> bool:
        return sequence in self._odd or self._first <= sequence < self._next

    def __getitem__(self, sequence: int) -> str:
        if sequence in self._odd:
            return self._odd[sequence]
        place = (sequence - self._first) * STATE_BYTES
        return self._row[place : place + STATE_BYTES].hex()

    def add(self, sequence: int, state: str) -> None:
        """Note an entry that was not there."""
        self.last = max(self.last, sequence)
        if not self._row:
            self._first = self._next = sequence
        if sequence == self._next and len(state) == 2 * STATE_BYTES and state.islower():
            with suppress(ValueError):
                packed = bytes.fromhex(state)
                if len(packed) == STATE_BYTES:  # blanks are allowed in hex
                    self._row += packed
                    self._next += 1
                    return
        self._odd[sequence] = state


class CopyChecker:
    """Collects states while a log is read; authors publish by name, followers name them by id."""

    def __init__(self) -> None:
        self.published_by: dict[str, PublishedStates] = {}
        self._held: dict[str, dict[str, tuple[int, str]]] = {}
        self._reused: dict[tuple[str, int], None] = {}

    def published(self, author: str, sequence: int, state: str) -> None:
        """``author`` (a name) appended an entry of its own."""
        states = self.published_by.get(author)
        if states is None:
            states = self.published_by[author] = PublishedStates()
        if sequence not in states:
            states.add(sequence, state)
        elif states[sequence] != state:
            self._reused[author, sequence] = None

    def received(self, follower: str, author: str, sequence: int, state: str) -> None:
        """``follower`` (a name) came to this state of the feed of ``author`` (an id)."""
        held = self._held.setdefault(follower, {})
        if author not in held or sequence >= held[author][0]:
            held[author] = (sequence, state)

    def verdict(self, name_of: Callable[[str], str], convicted: Collection[str]) -> Copies:
        """Compare each follower's last copy with its author's and with the other followers'.

        ``name_of`` turns ids to names; ``convicted`` are the ids of authors who provably signed
        two entries with one number, so that there is no one copy to agree on.
        """
        compared = behind = 0
        differences = []
        states: dict[tuple[str, int], set[str]] = {}
        for follower, author_id, sequence, held in self.held():
            if author_id in convicted:
                continue
            states.setdefault((author_id, sequence), set()).add(held)
            author = name_of(author_id)
            entries = self.published_by.get(author)
            if entries is None or sequence not in entries:
                continue
            compared += 1
            behind += sequence < entries.last
            if held != entries[sequence]:
                differences.append(
                    CopyDifference(
                        author=author,
                        follower=follower,
                        sequence=sequence,
                        published=entries[sequence],
                        held=held,
                    )
                )
        return Copies(
            agree=not differences if compared else None,
            followers_agree=all(len(held) == 1 for held in states.values()) if states else None,
            compared=compared,
            behind=behind,
            differences=tuple(differences),
            reused=tuple(self._reused),
        )

    def held(self) -> Iterator[tuple[str, str, int, str]]:
        """Follower (a name), author (an id), sequence number and state of each last copy."""
        for follower, copies in self._held.items():
            for author, (sequence, state) in copies.items():
                yield follower, author, sequence, state
