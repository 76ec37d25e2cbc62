"""What neighbours say to each other besides the rounds: hellos, news, heads, pulls.

A link begins with a hello from both sides: who I am (the certificate), which feeds I hold up to
where. Whoever is behind is brought up to date by one road. Now and then neighbours compare the
hashes of feeds that both follow; two hashes for one number uncover an author that says different
things to different people, and the proof goes round.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from ..crypto.errors import RemoteError, UnknownKey
from ..crypto.identity import short_id
from ..crypto.membership import Bulletin, Certificate
from . import acquaintance, noticing, wire
from .checkpoint import Phase
from .effects import Effect, Frame, Keep, Record, SetTimer
from .events import LinkDown, LinkUp, Refused, RolledBack
from .events import Received as ReceivedEvent
from .feed import NO_HASH, EquivocationProven, Feed, Gap
from .messages import (
    KIND_OF,
    Alert,
    Beacons,
    BulletinNews,
    Head,
    Heads,
    Hello,
    News,
    Pull,
    SignedEntry,
    Witness,
)
from .posting import patience_s, pull, send_control, send_news
from .state import State
from .trust import convict, take_bulletin, weigh

HEADS = "heads"
CLAIMS = "claims"
WITNESS_EVERY = 8  # rounds between two comparisons of heads
CLAIM_TRIES = 4  # how often within a deadline the proof of a claim is asked for


# -- heads ----------------------------------------------------------------------------------


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
    yield from noticing.ask(state, link, now)


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
    state.untold.pop(link, None)
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
            yield from convict(state, error.proof)
        if isinstance(error, UnknownKey) and now - state.hailed.get(link, now) >= patience_s(state):
            yield from _greet(state, link, now)  # whoever has a newer key answers with its bulletin
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
            yield from weigh(state, SignedEntry.unpack(message.entry))
        case Alert():
            yield from convict(state, message.proof)
        case BulletinNews():
            yield from take_bulletin(state, Bulletin.from_bytes(message.bulletin), link)
            yield from acquaintance.seek(state)
        case Beacons():
            yield from acquaintance.heard(state, link, message, now)


def _hello(state: State, link: bytes, hello: Hello, now: float) -> Iterator[Effect]:
    state.admit(Certificate.from_bytes(hello.certificate))
    if link in state.greeted and now - state.hailed.get(link, now) > state.me.rules.deadline_s / 2:
        yield from _greet(state, link, now)  # it says hello again: ours was lost
    if link not in state.greeted:
        state.greeted.add(link)
        state.guests.discard(link)
        yield from acquaintance.introduce(state, link, now)
        yield from acquaintance.seek(state)
    if state.phase is Phase.GATHERING:
        state.absent.discard(link)  # later on, only fresh news makes others wait for it
    lengths = {head.author: head.sequence for head in hello.heads}
    state.known[link] = lengths.get(state.me.key, 0)
    state.told[link] = lengths.get(link, 0)
    if now - state.heard.get(link, -math.inf) >= patience_s(state):
        state.heard[link] = now  # one that greets without end costs its neighbours nothing
        yield from _bring_up_to_date(state, link, hello)
    noticing.compare(state, hello)
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
    if head == feed.sequence and now - at < patience_s(state):
        return  # a peer that asks without end costs its neighbours nothing
    state.answered[asked] = (feed.sequence, now)
    yield from send_news(state, feed.road_from(request.have), [link])
