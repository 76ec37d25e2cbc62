"""What is of no use is muted at the broker: by topic, for a while, and nobody else is."""

from __future__ import annotations

import os
from dataclasses import replace

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.peer.mqtt_kit import (
    IDENTITIES,
    LARGE,
    NETWORK,
    QUICK,
    SMALL,
    A,
    B,
    make_peer,
    mosquitto,
    running,
)
from tidings.peer.transports.mqtt.limits import MqttLimits
from tidings.peer.transports.mqtt.packets import Kind
from tidings.peer.transports.mqtt.topics import Topics
from tidings.peer.transports.mqtt.waste import Waste

LIMITS = MqttLimits(max_waste_bytes=10_000, waste_bytes_per_s=1000.0, mute_s=30.0)
ARRIVALS = st.lists(st.tuples(st.floats(0, 20, allow_nan=False), st.integers(0, 5000)), max_size=60)


@given(ARRIVALS)
def test_a_topic_is_muted_when_it_brings_more_than_the_bucket_holds(arrivals):
    waste, now, came, muted_at = Waste(LIMITS), 0.0, 0.0, None
    for wait_s, size in arrivals:
        now += wait_s
        came += size + 512
        if waste.add("a", size, now):
            muted_at = now
            break
    if muted_at is None:
        assert waste.muted(now) == frozenset()
    else:
        assert came > LIMITS.max_waste_bytes
        assert not waste.add("a", 10**9, now), "it is said once"
        assert waste.muted(now + 29) == {"a"}
        assert waste.muted(now + 31) == frozenset()
        assert not waste.add("b", 100, now), "nor is another"


@given(st.lists(st.tuples(st.floats(1, 10), st.floats(0, 1)), max_size=60))
def test_what_keeps_to_the_rate_is_never_muted(arrivals):
    waste, now = Waste(LIMITS), 0.0
    for wait_s, share in arrivals:
        now += wait_s
        assert not waste.add("a", int(share * (1000 * wait_s - 512)), now)


def test_an_unending_row_of_topics_is_forgotten():
    waste = Waste(LIMITS)
    for number in range(5000):
        waste.add(f"topic {number}", 1, 0.0)
    assert len(waste._spent) <= 1000


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.anyio
@pytest.mark.parametrize("is_member", [True, False], ids=["a member", "who was revoked"])
async def test_who_floods_is_not_heard_for_a_while_and_the_others_are(tmp_path, is_member):
    # muted for longer than a link lives in silence
    limits = replace(QUICK, max_waste_bytes=10**6, mute_s=3 * QUICK.silence_s)
    loud = IDENTITIES[1]

    def accept(key: bytes) -> bool:
        return is_member or key != loud.verify_key

    with mosquitto(tmp_path) as broker:
        a = make_peer(SMALL, broker.settings(SMALL), limits=limits)
        b = make_peer(LARGE, broker.settings(LARGE), limits=limits, accept=accept)
        c = make_peer(loud, broker.settings(loud), limits=limits)
        a.transport.seek({B: ()})
        b.transport.seek({A: ()})
        c.transport.seek({B: ()})
        async with running(a, b, c, seek=False):
            await a.linked()
            await b.until(lambda: b.links() == ["up"] * (1 + is_member))
            for _ in range(8):
                noise = bytes([1, Kind.DATA]) + os.urandom(200_000)
                await c.transport._session.out.hand_over(Topics(NETWORK, c.key).to(B), noise)
            await b.warned("sends too much that is of no use")
            if is_member:
                await c.unlinked()
            for number in range(3):
                await a.transport.send(B, b"still heard %d" % number)
            assert [frame[:11] for frame in await b.got(3)] == [b"still heard"] * 3
            if is_member:
                await c.linked()
            assert a.links() == ["up"]
            # strangers may speak again, and nothing is heard twice
            mine = Topics(NETWORK, B).mine
            await b.until(lambda: mine in b.transport._session._filters)
            assert Topics(NETWORK, B).by(A) not in b.transport._session._filters


@pytest.mark.anyio
async def test_a_muted_feed_costs_no_link_and_broadcasts_come_by_the_link(tmp_path):
    limits = replace(QUICK, max_waste_bytes=10**6, mute_s=20.0)
    author, one, other = IDENTITIES[:3]
    with mosquitto(tmp_path) as broker:
        peers = [make_peer(i, broker.settings(i), limits=limits) for i in (author, one, other)]
        sender, *followers = peers
        async with running(*peers):
            for peer in peers:
                await peer.until(lambda peer=peer: peer.links() == ["up", "up"])
            piece = bytes([1, Kind.FEED]) + bytes(20) + (10**6).to_bytes(4, "big")
            for _ in range(8):  # the same again and again
                feed = Topics(NETWORK, sender.key).my_feed
                await sender.transport._session.out.hand_over(feed, piece + bytes(200_000))
            for peer in followers:
                await peer.warned("sends too much that is of no use")
            frame = os.urandom(20_000)
            await sender.transport.broadcast([peer.key for peer in followers], frame)
            for peer in followers:
                assert await peer.got(1) == [frame]
                assert peer.links() == ["up", "up"]


@pytest.mark.anyio
async def test_what_the_broker_remembers_of_a_run_before_is_not_heard_twice(tmp_path):
    with mosquitto(tmp_path) as broker:
        for _ in range(2):
            b = make_peer(LARGE, broker.settings(LARGE))
            b.transport.seek({A: ()})
            async with running(b, seek=False):
                await b.until(lambda b=b: b.transport._session._tasks is not None)
                b.transport._session.follow({Topics(NETWORK, B).by(A)}, stale=())
                await anyio.sleep(0.2)  # and it is killed, all but its farewell
        a, b = make_peer(SMALL, broker.settings(SMALL)), make_peer(LARGE, broker.settings(LARGE))
        heard = []
        receive = b.transport._session._receive
        b.transport._session._receive = lambda topic, data: (
            heard.append(data),
            receive(topic, data),
        )
        async with running(a, b):
            await a.linked()
            await a.transport.send(B, b"once")
            await b.got(1)
            await anyio.sleep(0.3)
        packets = [data for data in heard if data[1:2] == bytes([Kind.DATA])]
        assert len(packets) == len(set(packets)) == 1


@pytest.mark.anyio
async def test_a_topic_that_is_wanted_again_at_once_is_still_heard(tmp_path):
    with mosquitto(tmp_path) as broker:
        a, b = make_peer(SMALL, broker.settings(SMALL)), make_peer(LARGE, broker.settings(LARGE))
        async with running(b, seek=False):
            session = b.transport._session
            await b.until(lambda: session._tasks is not None)
            await anyio.sleep(0.2)
            before = set(session._filters)
            session.follow({Topics(NETWORK, B).by(SMALL.verify_key[::-1])}, stale=())
            session.follow(before, stale=())
            a.transport.seek({B: ()})
            async with running(a, seek=False):
                await a.linked()
            assert b.warnings == []  # else it was deaf, and healed by a new connection
