"""What neighbours say to each other besides the rounds: hellos, news, pulls, alerts, bulletins.

A link begins with a hello from both sides: who I am (the certificate), which feeds I hold up to
where. Whoever is behind is brought up to date by one road. Now and then neighbours compare the
hashes of feeds that both follow; two hashes for one number uncover an author that says different
things to different people, and the proof goes round.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from ..crypto.errors import RemoteError
from ..crypto.identity import short_id
from ..crypto.membership import Bulletin, Certificate
from . import wire
from .effects import Broadcast, Disconnect, Effect, Frame, Keep, Record, Send, SetTimer
from .events import Equivocated, LinkDown, LinkUp, MembersChanged, Refused, RolledBack, Sent
from .events import Received as ReceivedEvent
from .feed import NO_HASH, EquivocationProven, Feed, Gap
from .messages import (
    KIND_OF,
    Alert,
    BulletinNews,
    Control,
    Head,
    Heads,
    Hello,
    News,
    Pull,
    SignedEntry,
    Witness,
)
from .state import Phase, State

HEADS = "heads"
CLAIMS = "claims"
WITNESS_EVERY = 8  # rounds between two comparisons of heads
PATIENCE = 8  # the same pull is asked and answered once in deadline / PATIENCE
CLAIM_TRIES = 4  # how often within a deadline the proof of a claim is asked for


# -- sending -----------------------------------------------------------------------------------


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


def pull(state: State, link: bytes, feed: bytes, now: float) -> Iterator[Effect]:
    """Ask `link` for the head of `feed`, unless that was just done."""
    patience = _patience_s(state)
    if now - state.pulled.get(feed, -patience) >= patience and feed in state.feeds:
        state.pulled[feed] = now
        yield from send_control(state, Pull(feed=feed, have=state.feeds[feed].sequence), [link])


def _patience_s(state: State) -> float:
    return state.me.rules.deadline_s / PATIENCE


def tell_heads(state: State) -> Iterator[Effect]:
    """Tell each neighbour where we are in the feeds that both of us follow."""
    by_heads: dict[tuple[Head, ...], list[bytes]] = {}
    for link in sorted(state.greeted & state.up):
        heads = tuple(_head(feed) for feed in _common_feeds(state, link))
        if heads:
            by_heads.setdefault(heads, []).append(link)
    for heads, links in by_heads.items():
        yield from send_control(state, Heads(heads=heads), links)


def _common_feeds(state: State, link: bytes) -> list[Feed]:
    index = state.index_of(link)
    if index is None:
        return []
    theirs = state.heard_by(index) | {index}
    ours = state.heard_by(state.index) | {state.index}
    feeds = [state.feeds[key] for key in state.keys_at(sorted(theirs & ours))]
    return [feed for feed in feeds if feed.entry is not None]


def _head(feed: Feed) -> Head:
    return Head(author=feed.author, sequence=feed.sequence, hash=feed.head_hash)


# -- links -------------------------------------------------------------------------------------


def neighbour_up(state: State, link: bytes, now: float) -> Iterator[Effect]:
    """Greet whoever is there."""
    state.up.add(link)
    yield Record(event=LinkUp(neighbour=short_id(link)))
    yield from _greet(state, link, now)


def greet_again(state: State, now: float) -> Iterator[Effect]:
    """Repeat the hello to those who have not answered: one of the two may have been lost."""
    for link in sorted(state.up - state.greeted):
        yield from _greet(state, link, now)


def _greet(state: State, link: bytes, now: float) -> Iterator[Effect]:
    state.hailed[link] = now
    hello = Hello(
        certificate=state.me.certificate.to_bytes(),
        heads=tuple(_head(feed) for feed in state.feeds.values() if feed.entry is not None),
        serial=state.roster.bulletin.serial if state.roster.bulletin else 0,
    )
    yield from send_control(state, hello, [link])


def neighbour_down(state: State, link: bytes, why: str) -> Iterator[Effect]:
    """Nobody waits for who is gone."""
    state.up.discard(link)
    state.greeted.discard(link)
    state.known.pop(link, None)
    state.hailed.pop(link, None)
    state.told.pop(link, None)
    state.heard.pop(link, None)
    state.absent.add(link)
    yield Record(event=LinkDown(neighbour=short_id(link), why=why))


# -- receiving ---------------------------------------------------------------------------------


def received(state: State, link: bytes, frame: Frame, now: float) -> Iterator[Effect]:
    """Believe a frame or refuse it with a reason; never raises."""
    try:
        arrival = wire.decode(frame, state.door, link)
        if isinstance(arrival, News):
            effects = list(_news(state, link, arrival, len(frame)))
        else:
            effects = list(_letter(state, link, arrival, len(frame), now))
    except RemoteError as error:
        yield Record(
            event=Refused(
                sender=short_id(link),
                reason=error.reason,
                detail=str(error),
                size_bytes=len(frame),
            )
        )
        if isinstance(error, EquivocationProven):
            yield from _convict(state, error.proof)
        if isinstance(error, Gap):
            yield from pull(state, link, error.feed, now)
    else:
        yield from effects


def _accepted(
    link: bytes, kind: str, size_bytes: int, author: bytes, news: News | None = None
) -> Record:
    header = news.entry.header if news else None
    return Record(
        event=ReceivedEvent(
            sender=short_id(link),
            message=kind,
            size_bytes=size_bytes,
            author=short_id(author),
            sequence=header.sequence if header else 0,
            road=news.road if news else "",
            state=header.state.hex() if header else "",
        )
    )


def _news(state: State, link: bytes, news: News, size: int) -> Iterator[Effect]:
    author = news.entry.header.author
    before = state.own.sequence
    state.feeds[author].extend(news)
    yield _accepted(link, "news", size, author, news)
    if author == state.me.key:
        # our own signature on an entry that this folder never made: it is a copy or a backup,
        # and its ledger has missed what the real one released
        state.rolled_back = True
        state.observe_only()
        yield Record(event=RolledBack(own_sequence=before, seen_sequence=state.own.sequence))
        yield Keep(checkpoint=state.checkpoint())
        return
    # what it published before the link came up, or others bring, does not show that it keeps up
    if author in state.up and news.entry.header.sequence > state.told.get(author, 0):
        state.absent.discard(author)


def _letter(
    state: State, link: bytes, letter: wire.Letter, size: int, now: float
) -> Iterator[Effect]:
    message = letter.message
    yield _accepted(link, KIND_OF[type(message)], size, letter.author)
    match message:
        case Hello():
            yield from _hello(state, link, message, now)
        case Heads():
            yield from _compare(state, link, message.heads, now)
        case Pull():
            yield from _answer(state, link, message, now)
        case Witness():
            yield from _weigh(state, SignedEntry.unpack(message.entry))
        case Alert():
            yield from _convict(state, message.proof)
        case BulletinNews():
            yield from _bulletin(state, link, message)


def _hello(state: State, link: bytes, hello: Hello, now: float) -> Iterator[Effect]:
    state.admit(Certificate.from_bytes(hello.certificate))
    if link in state.greeted and now - state.hailed.get(link, now) > state.me.rules.deadline_s / 2:
        yield from _greet(state, link, now)  # it says hello again: ours was lost
    state.greeted.add(link)
    if state.phase is Phase.GATHERING:
        state.absent.discard(link)  # later on, only fresh news makes others wait for it
    lengths = {head.author: head.sequence for head in hello.heads}
    state.known[link] = lengths.get(state.me.key, 0)
    state.told[link] = lengths.get(link, 0)
    if now - state.heard.get(link, -math.inf) >= _patience_s(state):
        state.heard[link] = now  # one that greets without end costs its neighbours nothing
        yield from _bring_up_to_date(state, link, hello)
    # its own feed the neighbour brings unasked, as we do ours
    others = [head for head in hello.heads if head.author != link]
    yield from _compare(state, link, others, now)


def _bring_up_to_date(state: State, link: bytes, hello: Hello) -> Iterator[Effect]:
    bulletin = state.roster.bulletin
    if bulletin is not None and hello.serial < bulletin.serial:
        yield from send_control(state, BulletinNews(bulletin=bulletin.to_bytes()), [link])
    for proof in state.proofs.values():
        yield from send_control(state, Alert(proof=proof), [link])
    index = state.index_of(link)
    if index is not None and state.index in state.heard_by(index) and not state.excluded(link):
        yield from send_news(state, state.own.road_from(state.known[link]), [link])


def _compare(state: State, link: bytes, heads: Iterable[Head], now: float) -> Iterator[Effect]:
    """Where the neighbour is ahead, pull; where it holds another entry, show ours."""
    for head in heads:
        feed = state.feeds.get(head.author)
        if feed is None or head.author in state.proofs or head.hash == NO_HASH:
            continue
        ours = feed.entry_at(head.sequence)
        if ours is not None and ours.hash != head.hash:
            yield from send_control(state, Witness(entry=ours.pack()), [link])
        if head.sequence <= feed.sequence:
            continue
        if feed is state.own:
            yield from _doubt(state, link, now)
        elif head.author == link or head.author not in state.up:
            # else the author itself brings its news: it can reach us
            yield from pull(state, link, head.author, now)


def _doubt(state: State, link: bytes, now: float) -> Iterator[Effect]:
    """A neighbour says that our own feed is longer than we know: this folder may be a backup.

    Until it has shown the entry, or has had a deadline's time to, nothing new is published. Each
    neighbour is waited for once.
    """
    if not state.may_publish or link in state.claims or link in state.disbelieved:
        return
    if not state.claims:
        yield SetTimer(timer=CLAIMS, at=now + state.me.rules.deadline_s / CLAIM_TRIES)
    state.claims[link] = 1
    yield from _ask_for_own(state, link)


def press_claims(state: State, now: float) -> Iterator[Effect]:
    """Ask again for entries of our own that we are said to have published."""
    for link, asked in list(state.claims.items()):
        if asked >= CLAIM_TRIES:
            del state.claims[link]
            state.disbelieved.add(link)
        else:
            state.claims[link] = asked + 1
            yield from _ask_for_own(state, link)
    if state.claims:
        yield SetTimer(timer=CLAIMS, at=now + state.me.rules.deadline_s / CLAIM_TRIES)


def _ask_for_own(state: State, link: bytes) -> Iterator[Effect]:
    yield from send_control(state, Pull(feed=state.me.key, have=state.own.sequence), [link])


def _answer(state: State, link: bytes, request: Pull, now: float) -> Iterator[Effect]:
    feed = state.feeds.get(request.feed)
    if feed is None or request.feed in state.proofs:
        return
    asked = (link, request.feed)
    head, at = state.answered.get(asked, (-1, now))
    if head == feed.sequence and now - at < _patience_s(state):
        return  # a peer that asks without end costs its neighbours nothing
    state.answered[asked] = (feed.sequence, now)
    yield from send_news(state, feed.road_from(request.have), [link])


# -- trust -------------------------------------------------------------------------------------


def _weigh(state: State, entry: SignedEntry) -> Iterator[Effect]:
    """Compare a signed entry with what is held; two that contradict each other convict."""
    feed = state.feeds.get(entry.header.author)
    if feed is None:
        return
    try:
        feed.check_honest(entry)
    except EquivocationProven as error:
        yield from _convict(state, error.proof)


def _convict(state: State, proof: bytes) -> Iterator[Effect]:
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


def _bulletin(state: State, link: bytes, message: BulletinNews) -> Iterator[Effect]:
    bulletin = Bulletin.from_bytes(message.bulletin)
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
    yield from send_control(state, message, sorted(state.greeted - {link}))
    for revoked in sorted(state.up & set(bulletin.revoked)):
        yield Disconnect(link=revoked, why="its certificate was revoked")
