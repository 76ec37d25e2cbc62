"""Do the followers of an author hold the public copy that the author published?

Each entry names the hash of the copy that it leads to, so two logs are enough to tell: what the
author noted as published, and what its followers noted as received.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from .summary_values import Copies, CopyDifference


class CopyChecker:
    """Collects states while a log is read; authors publish by name, followers name them by id."""

    def __init__(self) -> None:
        self._published: dict[str, dict[int, str]] = {}
        self._held: dict[tuple[str, str], tuple[int, str]] = {}
        self._reused: dict[tuple[str, int], None] = {}

    def published(self, author: str, sequence: int, state: str) -> None:
        """``author`` (a name) appended an entry of its own."""
        if self._published.setdefault(author, {}).setdefault(sequence, state) != state:
            self._reused[author, sequence] = None

    def received(self, follower: str, author: str, sequence: int, state: str) -> None:
        """``follower`` (a name) came to this state of the feed of ``author`` (an id)."""
        if sequence >= self._held.get((follower, author), (0, ""))[0]:
            self._held[follower, author] = (sequence, state)

    def verdict(self, name_of: Callable[[str], str], convicted: Collection[str]) -> Copies:
        """Compare each follower's last copy with its author's and with the other followers'.

        ``name_of`` turns ids to names; ``convicted`` are the ids of authors who provably signed
        two entries with one number, so that there is no one copy to agree on.
        """
        compared = behind = 0
        differences = []
        states: dict[tuple[str, int], set[str]] = {}
        for (follower, author_id), (sequence, held) in self._held.items():
            if author_id in convicted:
                continue
            states.setdefault((author_id, sequence), set()).add(held)
            author = name_of(author_id)
            entries = self._published.get(author, {})
            if sequence not in entries:
                continue
            compared += 1
            behind += sequence < max(entries)
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
