"""Getting to know the others: beacons go from link to link, and neighbours are sought.

Each peer keeps the newest beacon of every member and hands on what is news, to all links but the
one that it came by: at most one message of 16 kB a second on each. A new link gets all that is
held. Whoever is linked with one member so learns of all, but links only with its neighbours in
the graph, wherever they are now.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..crypto.errors import NotAMember
from ..crypto.identity import short_id
from .beacons import Beacon
from .effects import Effect, Record, Seek, SetTimer
from .events import MemberFound
from .messages import Beacons
from .posting import send_control
from .state import State

BEACONS = "beacons"
INTERVAL_S = 1.0  # between two messages on a link, and two beacons of one member
BEACONS_A_MESSAGE = 10  # of at most 1.5 kB each: a message stays below 16 kB


def announce(state: State, addresses: Iterable[str], now: float) -> Iterator[Effect]:
    """Tell everybody where this peer is, if that is news."""
    places = tuple(addresses)
    held = state.beacons.get(state.me.key)
    if held is not None and held.addresses == places:
        return
    state.counter += 1
    own = Beacon.make(state.me.identity, state.me.certificate, state.counter, places)
    yield from _note(state, own, None, now)


def heard(state: State, link: bytes, message: Beacons, now: float) -> Iterator[Effect]:
    """Take up what is news in a neighbour's beacons.

    Raises RemoteError when one of them is no beacon of this network; none of them counts then.
    """
    beacons = [Beacon.from_bytes(packed) for packed in message.beacons]
    news = [beacon for beacon in beacons if _is_news(state, beacon, now)]
    for beacon in news:
        beacon.verify(state.roster.root_key, state.roster.network_id)
    for beacon in beacons:
        held = state.beacons.get(beacon.key)
        if held is not None and held.number <= beacon.number:
            state.untold.get(link, {}).pop(beacon.key, None)  # it knows
    for beacon in news:
        try:
            state.admit(beacon.certificate)
        except NotAMember:  # the number of a node that another has: its bearer is to blame
            continue
        state.beacon_heard[beacon.key] = now
        yield from _note(state, beacon, link, now)
    yield from seek(state)


def introduce(state: State, link: bytes, now: float) -> Iterator[Effect]:
    """Tell a new neighbour of everybody."""
    state.untold[link] = dict.fromkeys(key for key in state.beacons if key != link)
    yield from _plan(state, now)


def hand_on(state: State, now: float) -> Iterator[Effect]:
    """Send each link some of what it has not heard; what is left waits for the next time."""
    state.is_telling = False
    for link in sorted(state.untold):
        waiting = state.untold[link]
        if link not in state.greeted:
            continue
        chosen = list(waiting)[:BEACONS_A_MESSAGE]
        for key in chosen:
            del waiting[key]
        packed = tuple(state.beacons[key].to_bytes() for key in chosen if key in state.beacons)
        if packed:
            yield from send_control(state, Beacons(beacons=packed), [link])
    yield from _plan(state, now + INTERVAL_S)


def seek(state: State) -> Iterator[Effect]:
    """Name the peers to link with and where they are, when that has changed.

    These are the neighbours in the graph, and members that this peer was told to greet.
    """
    wanted = {
        key: state.beacons[key].addresses if key in state.beacons else ()
        for key in (*state.neighbours(), *sorted(state.guests))
        if not state.excluded(key) and key != state.me.key
    }
    if wanted != state.sought:
        state.sought = wanted
        yield Seek(peers=wanted)


def _is_news(state: State, beacon: Beacon, now: float) -> bool:
    held = state.beacons.get(beacon.key)
    if beacon.key == state.me.key or (held is not None and held.number >= beacon.number):
        return False
    if state.roster.is_revoked(beacon.key):  # whoever hands it on may not know yet
        return False
    # a member that announces itself without end costs the others nothing
    return now - state.beacon_heard.get(beacon.key, -INTERVAL_S) >= INTERVAL_S


def _note(state: State, beacon: Beacon, link: bytes | None, now: float) -> Iterator[Effect]:
    state.beacons[beacon.key] = beacon
    if link is not None:
        yield Record(
            event=MemberFound(
                member=short_id(beacon.key),
                name=beacon.certificate.name,
                index=beacon.certificate.index,
                addresses=beacon.addresses,
            )
        )
    for other in state.greeted - {link, beacon.key}:
        state.untold.setdefault(other, {})[beacon.key] = None
    yield from _plan(state, now)


def _plan(state: State, at: float) -> Iterator[Effect]:
    if not state.is_telling and any(state.untold.get(link) for link in state.greeted):
        state.is_telling = True
        yield SetTimer(timer=BEACONS, at=at)
