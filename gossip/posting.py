"""Handing frames to neighbours: sealed once, noted in the log for each link; leaving notices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..crypto.identity import short_id
from . import wire
from .effects import Broadcast, Effect, Frame, Leave, Record, Send
from .events import Sent
from .messages import KIND_OF, BulletinNews, Control, Hello, News, Pull
from .notice import Notice
from .state import State

PATIENCE = 8  # the same pull is asked and answered once in deadline / PATIENCE


def send_news(state: State, news: News | None, to: Iterable[bytes]) -> Iterator[Effect]:
    """Send a road to some links; the seal is made once."""
    links = tuple(key for key in to if key in state.up)
    key = state.newest_key()
    if news is None or key is None or not links:
        return
    header = news.entry.header
    frame = wire.encode_news(news, key=key, entropy=state.me.entropy)
    if header.author == state.me.key:
        state.known.update(dict.fromkeys(links, header.sequence))
    yield from _send(state, frame, links, "news", header.author, header.sequence)


def send_control(state: State, message: Control, to: Iterable[bytes]) -> Iterator[Effect]:
    """Sign and send a control message to some links."""
    links = tuple(key for key in to if key in state.up)
    # a neighbour without the newest group key must be able to read how to get it
    public = isinstance(message, Hello | BulletinNews)
    key = state.public_key if public else state.newest_key()
    if key is None or not links:
        return
    state.counter += 1
    frame = wire.encode_control(
        message,
        identity=state.me.identity,
        network_id=state.me.certificate.network_id,
        counter=state.counter,
        key=key,
        entropy=state.me.entropy,
    )
    yield from _send(state, frame, links, KIND_OF[type(message)])


def _send(
    state: State,
    frame: Frame,
    links: tuple[bytes, ...],
    kind: str,
    author: bytes | None = None,
    sequence: int = 0,
) -> Iterator[Effect]:
    if len(links) == 1:
        yield Send(to=links[0], frame=frame)
    else:
        yield Broadcast(to=links, frame=frame)
    for link in links:
        yield Record(
            event=Sent(
                to=short_id(link),
                message=kind,
                size_bytes=len(frame),
                author=short_id(author) if author else "",
                sequence=sequence,
            )
        )


def leave_notice(state: State) -> Iterator[Effect]:
    """Leave a notice of our newest entry, sealed with the newest group key, if there are both."""
    entry, key = state.own.entry, state.newest_key()
    if entry is None or key is None or not state.may_publish:
        return
    notice = Notice(certificate=state.me.certificate, entry=entry)
    frame = wire.encode_notice(
        notice, identity=state.me.identity, key=key, entropy=state.me.entropy
    )
    yield Leave(notice=frame)


def pull(state: State, link: bytes, feed: bytes, now: float) -> Iterator[Effect]:
    """Ask `link` for the head of `feed`, unless that was just done."""
    patience = patience_s(state)
    if now - state.pulled.get(feed, -patience) >= patience and feed in state.feeds:
        state.pulled[feed] = now
        yield from send_control(state, Pull(feed=feed, have=state.feeds[feed].sequence), [link])


def patience_s(state: State) -> float:
    """How long the same question is neither asked nor answered again, seconds."""
    return state.me.rules.deadline_s / PATIENCE
