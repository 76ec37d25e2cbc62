"""Making use of the notices that are found: what to pull, and from whom.

An author's notice outlives its connection where a broker keeps it. Whoever comes while the author
sleeps learns from it how far the feed is, and asks a neighbour that hears the author as soon as it
is linked, before that has said what it holds.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..crypto.errors import RemoteError
from ..crypto.identity import short_id
from . import acquaintance, wire
from .effects import Effect, Frame, Record
from .events import Received, Refused
from .feed import EquivocationProven
from .messages import Hello
from .posting import pull
from .state import State
from .trust import convict


def found(state: State, author: bytes, frame: Frame, now: float) -> Iterator[Effect]:
    """Believe a notice or refuse it with a reason; never raises."""
    try:
        notice = wire.decode_notice(frame, state.door, author)
        if author == state.me.key:
            return
        state.admit(notice.certificate)
        feed = state.feeds.get(author)
        if feed is not None:
            feed.check_honest(notice.entry)
    except RemoteError as error:
        yield Record(
            event=Refused(
                sender=short_id(author),
                reason=error.reason,
                detail=str(error),
                size_bytes=len(frame),
            )
        )
        if isinstance(error, EquivocationProven):
            yield from convict(state, error.proof)
        return
    sequence = notice.entry.header.sequence
    yield from acquaintance.seek(state)
    if feed is None or sequence <= max(feed.sequence, state.foretold.get(author, 0)):
        return
    state.foretold[author] = sequence
    yield Record(
        event=Received(
            sender=short_id(author),
            message="notice",
            size_bytes=len(frame),
            author=short_id(author),
            sequence=sequence,
        )
    )
    for link in sorted(state.up):
        yield from ask(state, link, now)


def ask(state: State, link: bytes, now: float) -> Iterator[Effect]:
    """Ask a neighbour for what is known to be there and its author cannot bring itself."""
    index = state.index_of(link)
    if index is None or state.excluded(link):
        return
    heard = set(state.keys_at(state.heard_by(index)))
    for author in missing(state):
        if author in heard and author not in state.up:
            yield from pull(state, link, author, now)


def missing(state: State) -> list[bytes]:
    """The authors whose feeds are longer than what is held of them."""
    for author in list(state.foretold):
        if state.feeds[author].sequence >= state.foretold[author] or author in state.proofs:
            del state.foretold[author]
    return sorted(state.foretold)


def compare(state: State, hello: Hello) -> None:
    """Let others be asked for what this neighbour turns out not to hold."""
    held = {head.author: head.sequence for head in hello.heads}
    for author in missing(state):
        if held.get(author, 0) <= state.feeds[author].sequence:
            state.pulled.pop(author, None)
