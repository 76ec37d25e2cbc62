"""The MQTT transport keeps the promises of ``Transport``, over mosquitto and over amqtt."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest

from tests.peer.mqtt_kit import (
    IDENTITIES,
    LARGE,
    QUICK,
    SMALL,
    A,
    B,
    caught_up,
    make_peer,
    mosquitto,
    running,
    sent,
    spying,
)
from tidings.crypto.errors import ConfigError, TransportError
from tidings.peer.transports.base import Frame, Left, LinkUp
from tidings.peer.transports.mqtt.broker import embedded_broker

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@asynccontextmanager
async def brokers(kind: str, folder):
    """A broker of either kind, as a function from an identity to its settings."""
    if kind == "amqtt":
        async with embedded_broker() as settings:
            yield lambda identity: settings
    else:
        with mosquitto(folder) as process:
            yield process.settings


both = pytest.mark.parametrize("kind", ["mosquitto", "amqtt"])


@both
async def test_frames_of_any_size_come_whole_in_order_and_both_ways(kind, tmp_path):
    frames = [bytes([n % 251]) * size for n, size in enumerate([1, 3_000_000, 70_000] + [9] * 200)]
    async with brokers(kind, tmp_path) as settings:
        a, b = make_peer(SMALL, settings(SMALL)), make_peer(LARGE, settings(LARGE))
        async with running(a, b):
            await a.linked()
            await b.linked()
            async with anyio.create_task_group() as tasks:
                for one, other in ((a, B), (b, A)):
                    tasks.start_soon(_send_all, one, other, frames)
            await a.got(len(frames))
            await b.got(len(frames))
            assert a.frames() == b.frames() == frames
            assert a.seen[0] == LinkUp(peer=B)
            assert b.seen[0] == LinkUp(peer=A)
            assert a.links() == b.links() == ["up"]
            assert a.warnings == b.warnings == []


async def _send_all(peer, other, frames):
    for frame in frames:
        await peer.transport.send(other, frame)


@both
async def test_one_broadcast_reaches_all_in_its_place_among_the_frames(kind, tmp_path):
    large = [os.urandom(size) for size in (400_000, 1025, 2_000_000)]
    async with brokers(kind, tmp_path) as settings:
        peers = [make_peer(i, settings(i)) for i in IDENTITIES[:4]]
        author, others = peers[2], [peers[0], peers[1], peers[3]]
        async with running(*peers):
            await author.until(lambda: author.links() == ["up"] * 3)
            for peer in others:
                await peer.until(lambda peer=peer: peer.links() == ["up"] * 3)
            keys = [peer.key for peer in others]
            for number, frame in enumerate(large):
                await author.transport.broadcast(keys, frame)
                await author.transport.broadcast(keys, b"small %d" % number)
                await author.transport.send(keys[0], b"only you %d" % number)
            for peer in others:
                only = [b"only you %d"] if peer is others[0] else []
                expected = [
                    part % number if b"%d" in part[:12] else part
                    for number, frame in enumerate(large)
                    for part in [frame, b"small %d", *only]
                ]
                await peer.got(len(expected))
                assert peer.frames() == expected
                assert {d.peer for d in peer.seen if isinstance(d, Frame)} == {author.key}
            assert [peer.warnings for peer in peers] == [[]] * 4


async def test_a_broadcast_crosses_the_line_once_and_only_sealed_bytes_do(broker, tmp_path):
    peers = [make_peer(i, broker.settings(i)) for i in IDENTITIES[:4]]
    secret, public = b"between two alone " * 50, os.urandom(500_000)
    seen = []

    async with spying(broker.allow_spy(), seen) as spy, running(*peers):
        for peer in peers:
            await peer.until(lambda peer=peer: peer.links() == ["up"] * 3)
        await peers[0].transport.send(peers[1].key, secret)
        await peers[0].transport.broadcast([p.key for p in peers[1:]], public)
        for peer in peers[1:]:
            await peer.until(lambda peer=peer: public in peer.frames())
        assert secret in peers[1].frames()
        await caught_up(spy, seen)
    feed = [payload for topic, payload in seen if "/feed/" in topic]
    to = [payload for topic, payload in seen if "/to/" in topic]
    assert len(public) < sum(map(len, feed)) < 1.1 * len(public)
    assert sum(map(len, to)) < 50_000
    assert not any(secret[:40] in payload for payload in to)


async def test_a_late_joiner_finds_the_newest_notice_of_who_is_gone(broker):
    a, b, c = (make_peer(i, broker.settings(i)) for i in IDENTITIES[:3])
    async with running(b, seek=False):
        b.transport.seek({a.key: ()})
        async with running(a, seek=False):
            a.transport.leave(b"the first")
            await b.until(lambda: Left(peer=a.key, notice=b"the first") in b.seen)
            a.transport.leave(b"the second")
            a.transport.leave(bytes(QUICK.max_notice_bytes + 1))  # not kept
            await b.until(lambda: Left(peer=a.key, notice=b"the second") in b.seen)
    async with running(c, seek=False):
        c.transport.seek({a.key: ()})
        await c.until(lambda: c.seen != [])
        assert c.seen == [Left(peer=a.key, notice=b"the second")]


async def test_a_broker_that_forgot_a_notice_is_given_it_again(broker):
    a, b = (make_peer(i, broker.settings(i)) for i in (SMALL, LARGE))
    async with running(a, b):
        await a.linked()
        a.transport.leave(b"notice")
        await b.until(lambda: Left(peer=a.key, notice=b"notice") in b.seen)
        await anyio.sleep(QUICK.silence_s)  # a shorter connection is taken for the ACL's doing
        broker.kill()
        b.seen.clear()
        broker.start()
        await b.until(lambda: Left(peer=a.key, notice=b"notice") in b.seen)


@pytest.mark.parametrize("refuser", [SMALL, LARGE])
async def test_a_key_that_either_end_refuses_gets_no_link(broker, refuser):
    def but(identity):
        other = {SMALL: LARGE, LARGE: SMALL}[identity].verify_key
        return (lambda key: key != other) if identity is refuser else (lambda key: True)

    a, b = (make_peer(i, broker.settings(i), accept=but(i)) for i in (SMALL, LARGE))
    async with running(a, b):
        await anyio.sleep(0.5)
        assert a.seen == b.seen == []
        with pytest.raises(TransportError, match="no link"):
            await a.transport.send(B, b"x")


async def test_links_come_when_they_are_sought_and_stay_when_they_are_not(broker):
    a, b = make_peer(SMALL, broker.settings(SMALL)), make_peer(LARGE, broker.settings(LARGE))
    async with running(a, b, seek=False):
        await anyio.sleep(0.3)
        assert a.seen == b.seen == []
        b.transport.seek({A: ()})
        a.transport.seek({B: ()})
        await a.linked()
        await b.linked()
        a.transport.seek({})
        await b.transport.disconnect(A, "come back")
        await b.until(lambda: b.links() == ["up", "down", "up"])  # one that seeks is enough
        b.transport.seek({})
        await anyio.sleep(0.5)
        assert await sent(b, A, b"still here")
        await a.got(1)
        await b.transport.disconnect(A, "enough")
        await a.unlinked()
        await anyio.sleep(0.5)
        assert a.links() == b.links() == ["up", "down"] * 2


async def test_disconnect_tells_both_ends_why_and_the_sought_link_comes_back(broker):
    a, b = make_peer(SMALL, broker.settings(SMALL)), make_peer(LARGE, broker.settings(LARGE))
    async with running(a, b):
        await a.linked()
        await b.linked()
        await b.transport.disconnect(A, "revoked")
        for peer in (a, b):
            await peer.until(lambda peer=peer: peer.links() == ["up", "down", "up"])
            assert peer.why() == ["revoked"]


@both
async def test_a_peer_that_stops_is_noticed_at_once_and_found_again(kind, tmp_path):
    patient = replace(QUICK, silence_s=60.0)  # so nothing but what is said makes it quick
    async with brokers(kind, tmp_path) as settings:
        a, b = (make_peer(i, settings(i), limits=patient) for i in (SMALL, LARGE))
        async with running(a):
            a.transport.seek({B: ()})
            b.transport.seek({A: ()})
            async with running(b, seek=False):
                await a.linked()
                await b.linked()
            await a.unlinked()
            assert a.why() == ["the other side stopped"]
            again = make_peer(LARGE, settings(LARGE), limits=patient)
            again.transport.seek({A: ()})
            async with running(again, seek=False):
                await a.linked()
                await again.linked()
                assert await sent(again, A, b"back")
                await a.got(1)


async def test_a_restarted_peer_gets_a_new_link_and_nothing_of_the_old_one(broker):
    a, b = make_peer(SMALL, broker.settings(SMALL)), make_peer(LARGE, broker.settings(LARGE))
    async with running(a, b):
        await a.linked()
        await b.linked()
        b.gate = anyio.Event()
        for n in range(30):
            await a.transport.send(B, b"old %d " % n + bytes(200_000))
        await a.transport.disconnect(B, "a new start")
        b.gate.set()
        await a.until(lambda: a.links() == ["up", "down", "up"])
        await b.until(lambda: b.links() == ["up", "down", "up"])
        await a.transport.send(B, b"new")
        await b.until(lambda: b.frames()[-1:] == [b"new"])
        ups = [n for n, d in enumerate(b.seen) if isinstance(d, LinkUp)]
        assert b.seen[ups[1] :] == [LinkUp(peer=A), Frame(peer=A, data=b"new")]


async def test_a_receiver_that_takes_nothing_loses_the_link_not_the_memory(broker):
    limits = replace(QUICK, max_frame_bytes=300_000, max_buffered_bytes=300_000)
    a, b = (make_peer(i, broker.settings(i), limits=limits) for i in (SMALL, LARGE))
    async with running(a, b):
        await a.linked()
        await b.linked()
        with pytest.raises(TransportError, match="1 to 300000"):
            await a.transport.send(B, bytes(300_001))
        with pytest.raises(TransportError, match="1 to 300000"):
            await a.transport.broadcast([B], b"")
        b.gate = anyio.Event()
        for _ in range(3):
            await sent(a, B, bytes(200_000))
        await a.unlinked()
        assert a.why() == ["more was sent than this peer could take"]
        held = b.transport._links[A]._inbox.held_bytes
        assert held < 700_000
        b.gate.set()
        await b.until(lambda: "down" in b.links())


async def test_a_sender_waits_while_its_queue_is_full_and_is_freed_when_the_link_breaks(broker):
    limits = replace(QUICK, max_frame_bytes=2**20, max_buffered_bytes=2**28, max_queued_bytes=2**20)
    a, b = (make_peer(i, broker.settings(i), limits=limits) for i in (SMALL, LARGE))
    async with running(a, b):
        await a.linked()
        await b.linked()
        broker.freeze()
        taken = 0
        with anyio.move_on_after(0.5) as scope:
            while True:
                await a.transport.send(B, bytes(2**18))
                taken += 1
        assert scope.cancelled_caught
        assert taken * 2**18 < 2**20 + 3 * 2**20
        with anyio.fail_after(20):
            while await sent(a, B, bytes(2**18)):
                pass
        broker.thaw()


async def test_a_follower_that_does_not_take_broadcasts_holds_up_nobody(broker):
    limits = replace(
        QUICK, max_frame_bytes=2**20, max_buffered_bytes=2**30, max_queued_bytes=3 * 2**20
    )
    peers = [make_peer(i, broker.settings(i), limits=limits) for i in IDENTITIES[:3]]
    author, quick, slow = peers
    async with running(*peers):
        for peer in peers:
            await peer.until(lambda peer=peer: peer.links() == ["up"] * 2)
        slow.gate = anyio.Event()
        frames = [os.urandom(700_000) for _ in range(8)]
        await slow.transport.send(author.key, b"x")
        for frame in frames:
            await author.transport.broadcast([quick.key, slow.key], frame)
            await quick.until(lambda frame=frame: quick.frames()[-1:] == [frame])
        assert quick.frames() == frames
        await author.until(lambda: bool(author.why()))
        assert "too slow" in author.why()[0]
        slow.gate.set()


async def test_every_link_of_a_peer_is_its_own(broker):
    # on a busy machine 28 handshakes at once may take more than the second that QUICK gives them
    patient = replace(QUICK, handshake_s=6.0, silence_s=6.0)
    peers = [make_peer(i, broker.settings(i), limits=patient) for i in IDENTITIES]
    async with running(*peers):
        for peer in peers:
            await peer.until(lambda peer=peer: peer.links() == ["up"] * 7)
        for peer in peers:
            for other in peers:
                if other is not peer:
                    await peer.transport.send(other.key, peer.key + other.key)
        for peer in peers:
            await peer.got(7)
            assert {d.data for d in peer.seen if isinstance(d, Frame)} == {
                other.key + peer.key for other in peers if other is not peer
            }


async def test_no_more_links_than_the_limit(broker):
    few = replace(QUICK, max_connections=2)
    hub = make_peer(LARGE, broker.settings(LARGE), limits=few)
    others = [make_peer(i, broker.settings(i)) for i in IDENTITIES[:4]]
    for peer in others:
        peer.transport.seek({B: ()})
    async with running(hub, *others, seek=False):
        await hub.until(lambda: hub.links() == ["up", "up"])
        await anyio.sleep(0.8)
        assert hub.links() == ["up", "up"]


async def test_the_embedded_broker_listens_on_loopback_and_says_when_it_cannot():
    async with embedded_broker() as settings:
        assert settings.host == "127.0.0.1"
        with pytest.raises(TransportError, match="cannot listen"):
            async with embedded_broker(settings.port):
                pass


async def test_a_ca_file_that_is_not_there_is_said_at_once(tmp_path, broker):
    with pytest.raises(ConfigError, match="certificate cannot be read"):
        make_peer(SMALL, broker.settings(SMALL, ca_file=str(tmp_path / "none.pem")))


def test_the_other_transports_work_without_aiomqtt():
    code = (
        "import sys, tidings.peer.transports.base, tidings.peer.transports.memory,"
        " tidings.peer.transports.libp2p.transport;"
        "sys.exit(any(name in sys.modules for name in ('aiomqtt', 'paho', 'amqtt')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": "src"})
