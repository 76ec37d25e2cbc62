"""Members learn of each other over the links that there are; who is revoked is shut out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import Village, entropy_of
from tidings.crypto.errors import RemoteError
from tidings.crypto.membership import GroupKey
from tidings.gossip import effects as fx
from tidings.gossip import wire
from tidings.gossip.acquaintance import BEACONS, BEACONS_A_MESSAGE, INTERVAL_S
from tidings.gossip.beacons import Beacon
from tidings.gossip.events import MemberFound, MembersChanged, Received, Sent
from tidings.gossip.messages import Beacons

HOME = "/ip4/192.0.2.{}/tcp/4001"


def tick(village: Village, beats: int = 1) -> None:
    """Let timers for beacons fire, a heartbeat at a time."""
    for _ in range(beats):
        village.now += INTERVAL_S
        for index, timers in enumerate(village.timers):
            if timers.get(BEACONS, np.inf) <= village.now:
                del timers[BEACONS]
                village.give(index, fx.TimerFired(timer=BEACONS))
        village.exchange()


def announce_all(village: Village) -> None:
    for index in range(len(village.states)):
        village.give(index, fx.Listening(addresses=(HOME.format(index),)))


def book(village: Village, index: int) -> dict[bytes, tuple[int, tuple[str, ...]]]:
    beacons = village.states[index].beacons
    return {key: (each.number, each.addresses) for key, each in beacons.items()}


@settings(max_examples=20)
@given(st.integers(2, 7), st.booleans(), st.integers(0, 99))
def test_everybody_learns_of_everybody(members: int, early: bool, seed: int) -> None:
    village = Village(members, seed=seed)
    if early:
        announce_all(village)
    village.start()
    announce_all(village)
    tick(village, members)
    for index in range(members):
        assert book(village, index) == book(village, 0)
        assert len(book(village, index)) == members
        found = {event.index for event in village.seen(index, MemberFound)}
        assert found == set(range(members)) - {index}


def test_it_falls_silent_when_all_is_told() -> None:
    village = Village(5)
    village.start()
    announce_all(village)
    tick(village, 6)
    before = [len(events) for events in village.events]
    tick(village, 10)
    assert [len(events) for events in village.events] == before


def test_neighbours_alone_are_sought_and_where_they_say() -> None:
    village = Village(6)
    village.start()
    announce_all(village)
    tick(village, 6)
    for index in range(6):
        around = [(index - 1) % 6, (index + 1) % 6]
        assert village.sought[index] == {
            village.keys[other]: (HOME.format(other),) for other in around
        }


def test_a_peer_that_moved_is_sought_where_it_is_now() -> None:
    village = Village(4)
    village.start()
    announce_all(village)
    tick(village, 4)
    village.give(0, fx.Listening(addresses=("/dns4/elsewhere.example/tcp/9",)))
    tick(village, 4)
    for neighbour in (1, 3):
        assert village.sought[neighbour][village.keys[0]] == ("/dns4/elsewhere.example/tcp/9",)


def test_the_same_place_again_is_no_news() -> None:
    village = Village(3)
    village.start()
    announce_all(village)
    tick(village, 3)
    before = village.states[0].counter
    announce_all(village)
    assert village.states[0].counter == before


@given(st.permutations(range(6)), st.lists(st.integers(0, 5), max_size=6))
def test_the_order_of_arrival_does_not_matter(order: list[int], again: list[int]) -> None:
    village = Village(3)
    village.start()
    beacons = [village.beacon(1 + i % 2, 10 + i, HOME.format(i)) for i in range(6)]
    frames = itertools.count()
    for i in [*order, *again]:
        village.now += INTERVAL_S
        say(village, 1, 0, beacons[i], boot=next(frames) + 9)
    assert {number for number, _ in book(village, 0).values()} == {14, 15}


def say(village: Village, author: int, to: int, *beacons: bytes, boot: int = 9) -> None:
    """A member says beacons that its honest core would not."""
    frame = wire.encode_control(
        Beacons(beacons=beacons),
        identity=village.identities[author],
        network_id=village.network_id,
        counter=boot << 32,
        key=village.group_key,
        entropy=entropy_of("say", boot),
    )
    village.give(to, fx.Received(link=village.keys[author], frame=bytes(frame)))


def test_a_member_that_announces_without_end_is_heard_once_a_heartbeat() -> None:
    village = Village(3)
    village.start()
    for number in range(1, 50):
        say(village, 1, 0, village.beacon(1, number), boot=9 + number)
    assert village.states[0].beacons[village.keys[1]].number == 1
    village.now += INTERVAL_S
    say(village, 1, 0, village.beacon(1, 99), boot=99)
    assert village.states[0].beacons[village.keys[1]].number == 99


@pytest.mark.parametrize("bad", ["garbage", "forged"])
def test_one_lie_spoils_the_message(bad: str) -> None:
    village, other = Village(3), Village(3, seed=1)
    village.start()
    lie = b"?" if bad == "garbage" else other.beacon(2, 5)
    say(village, 1, 0, village.beacon(2, 5), lie)
    assert village.states[0].beacons == {}
    assert village.refusals(0) == ["malformed" if bad == "garbage" else "wrong-network"]


def test_messages_stay_small_and_one_a_heartbeat() -> None:
    village = Village(40)
    state = village.states[0]
    for index in range(1, 40):
        packed = village.beacon(index, 1, *[f"/dns4/{'x' * 100}/tcp/1"] * 8)
        state.beacons[village.keys[index]] = Beacon.from_bytes(packed)
    village.join(0, 1)
    village.exchange()
    for beat in range(1, 6):
        tick(village)
        sent = [e for e in village.seen(0, Sent) if e.message == "beacons"]
        assert len(sent) == min(beat, -(-38 // BEACONS_A_MESSAGE))
        assert all(event.size_bytes <= 2**14 for event in sent)
    heard = [e for e in village.seen(1, Received) if e.message == "beacons"]
    assert len(heard) == 4
    assert len(village.states[1].beacons) == 38


# -- newcomers and revoked members -----------------------------------------------------------------


def test_a_newcomer_is_greeted_by_who_was_told_of_it() -> None:
    village = Village(4)
    everybody = village.certificates
    village.certificates = everybody[:3]
    first = village.issue_bulletin(2)
    village.certificates = everybody
    second = village.issue_bulletin(3)
    state = village.states[0]
    state.take_bulletin(first)
    village.give(0, fx.Started())
    village.give(0, fx.Told(bulletin=second))
    assert village.keys[3] in state.guests
    assert village.keys[3] in village.sought[0]
    village.join(0, 3)
    village.exchange()
    assert not state.guests


@settings(max_examples=25)
@given(st.integers(3, 9), st.data())
def test_a_revoked_member_is_shut_out_by_all_in_a_moment(members: int, data: st.DataObject) -> None:
    """The bulletin needs no heartbeat: it runs over the links as fast as they carry it."""
    village = Village(members)
    village.start()
    out = data.draw(st.integers(0, members - 1))
    told = data.draw(st.integers(0, members - 1).filter(lambda i: i != out))
    new_key = GroupKey.generate(2, entropy_of("new"))
    bulletin = village.issue_bulletin(2, revoked=[out], key=new_key)
    village.give(told, fx.Told(bulletin=bulletin))
    village.exchange(lambda a, b, frame: [frame] if out not in (a, b) else [])
    ring = {(out - 1) % members, (out + 1) % members}
    others = set(range(members)) - {out}
    assert {a for a, b in village.cut if b == out} == ring
    for index in others:
        state = village.states[index]
        assert not state.may_link(village.keys[out])
        assert village.keys[out] not in village.sought[index]
        newest = state.newest_key()
        assert newest == new_key
        (changed,) = village.seen(index, MembersChanged)
        assert changed.key_epoch == 2

    # what is published from now on is closed to it, whatever it holds and gets
    for index in others:
        village.give(index, fx.TimerFired(timer="heads"))
        if village.jobs[index] is not None:
            village.train(index)
    published = [bytes(frame) for _, _, frame in village.mail]
    news = 0
    revoked = village.states[out]
    revoked.take_bulletin(bulletin)
    for frame in published:
        try:
            arrival = wire.decode(frame, revoked.door)
        except RemoteError as error:
            news += error.reason == "unknown-key"
        else:  # a hello or a bulletin: what everybody may read
            assert arrival.message.__class__.__name__ in ("Hello", "BulletinNews")
    assert news >= 1


def test_a_frame_under_a_newer_key_leads_to_the_bulletin() -> None:
    village = Village(2, deadline_s=8.0)
    village.start()
    new_key = GroupKey.generate(2, entropy_of("new"))
    bulletin = village.issue_bulletin(2, key=new_key)
    village.give(0, fx.Told(bulletin=bulletin))
    village.mail.clear()  # the bulletin is lost on its way
    village.now += 2.0
    village.train(0)
    village.exchange()
    assert "unknown-key" in village.refusals(1)
    assert village.states[1].newest_key() == new_key
