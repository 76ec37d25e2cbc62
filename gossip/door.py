"""What the door knows when a frame arrives: who is in, which keys open, what was seen before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..crypto.errors import Equivocation, NotAMember, Replayed
from ..crypto.identity import short_id
from ..crypto.membership import GroupKey, Roster
from .feed import Feed

WINDOW = 64
# The key epoch of a seal that everybody who knows the network can open: a member without the
# newest group key must be able to read how it gets it. Only hellos and bulletins may bear it.
PUBLIC_EPOCH = 2**32 - 1


@dataclass(slots=True)
class ReplayWindow:
    """Which of the last 64 counters of an author were seen (RFC 4303, section 3.4.3)."""

    newest: int = 0
    seen: int = 0  # bit k: newest - k

    def check(self, counter: int) -> None:
        """Raises Replayed when `counter` was seen, or is too old to tell."""
        behind = self.newest - counter
        if behind >= WINDOW or (behind >= 0 and self.seen >> behind & 1):
            raise Replayed(f"message {counter} was seen before")

    def mark(self, counter: int) -> None:
        """Remember that `counter` was seen."""
        ahead = counter - self.newest
        if ahead > 0:
            self.seen = (self.seen << min(ahead, WINDOW)) & (2**WINDOW - 1)
            self.newest = counter
        self.seen |= 1 << (self.newest - counter)


@dataclass(slots=True, kw_only=True)
class Door:
    """What `wire.decode` asks; shared with the state that it belongs to."""

    network_id: bytes
    roster: Roster
    group_keys: Mapping[int, GroupKey]
    feeds: Mapping[bytes, Feed]
    proofs: Mapping[bytes, bytes]  # author -> proof that it equivocated
    max_frame_bytes: int
    max_round: int
    windows: dict[bytes, ReplayWindow] = field(default_factory=dict)

    def check_counter(self, author: bytes, counter: int) -> None:
        """Raises Replayed when a message with this counter was accepted from its author before."""
        if author in self.windows:
            self.windows[author].check(counter)

    def mark_counter(self, author: bytes, counter: int) -> None:
        """Remember that a member's message was accepted."""
        self.windows.setdefault(author, ReplayWindow()).mark(counter)

    def require_known(self, author: bytes) -> None:
        """Raises NotAMember for a key that the root never let in, as far as is known here.

        Wider than `Roster.require`: far members show their certificates to others, and are known
        here by the bulletin alone.
        """
        roster = self.roster
        if roster.certificate(author) is not None or roster.is_revoked(author):
            return
        listed = roster.bulletin.sealed_keys if roster.bulletin is not None else ()
        if all(author != key for key, _ in listed):
            raise NotAMember(f"{short_id(author)} is on no list of this network")

    def require_unconvicted(self, author: bytes) -> None:
        """Raises Equivocation for an author that was proven to have signed two truths."""
        if author in self.proofs:
            raise Equivocation("its author was proven to have equivocated before")
