"""Whom to believe: proofs of equivocation, and the bulletins of the network's root."""

from __future__ import annotations

from collections.abc import Iterator

from ..crypto.identity import short_id
from ..crypto.membership import Bulletin
from .effects import Disconnect, Effect, Keep, Record
from .events import Equivocated, MembersChanged
from .feed import EquivocationProven
from .messages import Alert, BulletinNews, SignedEntry
from .posting import leave_notice, send_control
from .state import State


def weigh(state: State, entry: SignedEntry) -> Iterator[Effect]:
    """Compare a signed entry with what is held; two that contradict each other convict."""
    feed = state.feeds.get(entry.header.author)
    if feed is None:
        return
    try:
        feed.check_honest(entry)
    except EquivocationProven as error:
        yield from convict(state, error.proof)


def convict(state: State, proof: bytes) -> Iterator[Effect]:
    """Shut an equivocator out and pass the proof on; once."""
    verdict = state.shun(proof)
    if verdict is None:
        return
    author, sequence = verdict
    if author == state.me.key:  # our key is in use elsewhere: whatever we publish makes it worse
        state.rolled_back = True
        state.observe_only()
    yield Record(event=Equivocated(author=short_id(author), sequence=sequence, proof=proof.hex()))
    yield Keep(checkpoint=state.checkpoint())
    yield from send_control(state, Alert(proof=proof), sorted(state.greeted))


def take_bulletin(state: State, bulletin: Bulletin, link: bytes | None) -> Iterator[Effect]:
    """Apply a bulletin that came over `link` (None: from the peer's owner) and pass it on.

    Raises RemoteError when this network's root did not sign it.
    """
    key = state.newest_key()
    if not state.take_bulletin(bulletin):
        return
    yield Record(
        event=MembersChanged(
            serial=bulletin.serial,
            revoked=tuple(short_id(key) for key in bulletin.revoked),
            key_epoch=bulletin.key_epoch,
        )
    )
    if not state.may_publish:
        state.observe_only()
    yield Keep(checkpoint=state.checkpoint())
    news = BulletinNews(bulletin=bulletin.to_bytes())
    yield from send_control(state, news, sorted(state.greeted - {link}))
    yield from shut_out(state)
    if state.newest_key() != key:  # who was revoked holds the one that our notice is sealed with
        yield from leave_notice(state)


def shut_out(state: State) -> Iterator[Effect]:
    """Cut the links to all whose word counts no more."""
    for key in sorted(state.up):
        if state.roster.is_revoked(key):
            yield Disconnect(link=key, why="its certificate was revoked")
