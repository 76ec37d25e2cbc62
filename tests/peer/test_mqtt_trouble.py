"""What goes wrong with a broker is noticed, said and healed; the broker itself can do no harm."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import anyio
import numpy as np
import pytest

from tests.peer.mqtt_kit import (
    IDENTITIES,
    LARGE,
    NETWORK,
    QUICK,
    SMALL,
    A,
    B,
    Mosquitto,
    Relay,
    make_peer,
    mosquitto,
    running,
    sent,
    spying,
)
from tidings.peer.transports.mqtt.broker_config import Bridge, acl
from tidings.peer.transports.mqtt.packets import Kind
from tidings.peer.transports.mqtt.topics import Topics

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


def pair(broker, *, limits=QUICK, **changes):
    return (
        make_peer(SMALL, broker.settings(SMALL, **changes), limits=limits),
        make_peer(LARGE, broker.settings(LARGE, **changes), limits=limits),
    )


async def both_linked(a, b, within_s: float = 10) -> None:
    await a.linked(within_s)
    await b.linked(within_s)


async def exchange(a, b, text: bytes) -> None:
    """Frames go both ways, by the link and by a broadcast."""
    count_a, count_b = len(a.frames()), len(b.frames())
    await a.transport.send(b.key, b"to b " + text)
    await b.transport.send(a.key, b"to a " + text)
    assert (await a.got(count_a + 1))[-1] == b"to a " + text
    assert (await b.got(count_b + 1))[-1] == b"to b " + text


# -- the broker goes and comes ---------------------------------------------------------------


@pytest.mark.parametrize("keep", [False, True], ids=["without persistence", "with persistence"])
async def test_a_broker_that_restarts_is_found_again_and_loses_no_frame_in_silence(tmp_path, keep):
    with mosquitto(tmp_path, keep=keep) as broker:
        a, b = pair(broker)
        async with running(a, b):
            await both_linked(a, b)
            b.gate = anyio.Event()
            await sent(a, B, b"delivered late")
            await exchange_one_way(a, b)
            broker.kill()
            await a.unlinked()
            b.gate.set()
            await b.unlinked()
            assert any("connection to the broker broke" in why for why in a.why())
            await a.warned("the connection to the broker broke")
            await a.warned("nothing listens there")
            assert not await sent(a, B, b"nowhere to go")
            broker.start()
            await both_linked(a, b)
            await exchange(a, b, b"after")
            assert b.frames() == [b"delivered late", b"second", b"to b after"]


async def exchange_one_way(a, b) -> None:
    await a.transport.send(B, b"second")
    await a.until(lambda: not a.transport._links[B]._outflow._under_way)


async def test_a_frozen_broker_is_noticed_by_silence_and_used_again_when_it_wakes(broker):
    a, b = pair(broker)
    async with running(a, b):
        await both_linked(a, b)
        broker.freeze()
        await a.unlinked()
        await b.unlinked()
        await anyio.sleep(1.5)
        broker.thaw()
        await both_linked(a, b, within_s=20)
        await exchange(a, b, b"awake")


async def test_a_line_that_goes_dead_without_a_word_is_given_up_and_made_anew(broker):
    async with Relay(broker.port).running() as relay:
        a = make_peer(SMALL, broker.settings(SMALL, port=relay.port))
        b = make_peer(LARGE, broker.settings(LARGE))
        async with running(a, b):
            await both_linked(a, b)
            relay.silent = True
            await a.warned("nothing was heard for")
            await b.unlinked()
            assert b.why() == ["nothing was heard for 1.2 s"]
            relay.silent = False
            await both_linked(a, b)
            await exchange(a, b, b"healed")


async def test_the_last_will_tells_of_a_killed_peer_at_once(broker, tmp_path):
    a = make_peer(SMALL, broker.settings(SMALL), limits=replace(QUICK, silence_s=60.0))
    a.transport.seek({B: ()})
    code = f"""
import anyio
from tests.peer.mqtt_kit import *
settings = MqttSettings(host="127.0.0.1", port={broker.port}, tls=True,
    ca_file={str(broker.folder / "ca.pem")!r}, password={broker.passwords[B]!r})
peer = make_peer(LARGE, settings)
peer.transport.seek({{A: ()}})
async def main():
    async with running(peer, seek=False):
        await anyio.sleep(60)
anyio.run(main)
"""
    child = subprocess.Popen([sys.executable, "-c", code], env=_environment())
    try:
        async with running(a, seek=False):
            await a.linked(within_s=20)
            child.kill()
            await a.unlinked()
            assert a.why() == ["its connection to the broker is gone"]
    finally:
        child.kill()
        child.wait()


def _environment() -> dict[str, str]:
    root = Path(__file__).parents[2]
    return {**os.environ, "PYTHONPATH": f"{root / 'src'}:{root}"}


async def test_two_runs_of_one_peer_do_not_shut_out_its_neighbour(broker):
    a, b = pair(broker)
    async with running(a, b):
        await both_linked(a, b)
        twin = make_peer(LARGE, broker.settings(LARGE))
        twin.transport.seek({A: ()})
        async with running(twin, seek=False):
            await b.warned("the connection to the broker broke")
        await both_linked(a, b)
        await a.until(lambda: a.links()[-1] == "up")
        await exchange(a, b, b"alone again")


# -- what the ACL denies -----------------------------------------------------------------------


def denying(*lines: str) -> str:
    rules = acl(NETWORK).splitlines()
    return "\n".join(rule for rule in rules if not any(line in rule for line in lines)) + "\n"


@pytest.mark.parametrize("lines", [("write tidings/", "/to/+/%u"), ("read tidings/", "/to/%u/+")])
async def test_an_acl_that_denies_links_is_said_and_healed(broker, lines):
    rule = "".join((lines[0], NETWORK.hex(), lines[1]))
    broker.write_acl(denying(rule))
    a, b = pair(broker)
    async with running(a, b):
        await a.warned("its ACL denies")
        if lines[0].startswith("read"):
            await a.warned("is connected to the broker and does not answer")
            assert sum("does not answer" in warning for warning in a.warnings) == 1
        assert a.links() == b.links() == []
        broker.write_acl(acl(NETWORK))
        await both_linked(a, b)
        await exchange(a, b, b"allowed")


async def test_an_acl_that_takes_links_away_later_cuts_them(broker):
    a, b = pair(broker)
    async with running(a, b):
        await both_linked(a, b)
        broker.write_acl(denying("/to/"))
        await a.unlinked()
        await b.unlinked()
        broker.write_acl(acl(NETWORK))
        await both_linked(a, b)
        await exchange(a, b, b"allowed")


async def three(broker):
    peers = [make_peer(i, broker.settings(i)) for i in IDENTITIES[:3]]
    return peers[0], peers[1:], [peer.key for peer in peers[1:]]


async def test_broadcasts_that_a_follower_may_not_read_come_by_the_link_in_their_place(broker):
    broker.write_acl(denying(f"read tidings/{NETWORK.hex()}/feed"))
    author, followers, keys = await three(broker)
    frame = os.urandom(300_000)
    async with running(author, *followers):
        await author.until(lambda: author.links() == ["up", "up"])
        for peer in followers:
            await peer.until(lambda peer=peer: peer.links() == ["up", "up"])
        await author.transport.broadcast(keys, frame)
        for key in keys:
            await author.transport.send(key, b"behind it")
        for peer in followers:
            assert await peer.got(2) == [frame, b"behind it"]
            await peer.warned("denies 'read'")
            assert peer.links() == ["up", "up"]
        await author.until(lambda: not any(li._held for li in author.transport._links.values()))


async def test_broadcasts_that_the_author_may_not_write_come_by_the_links(broker):
    broker.write_acl(denying(f"write tidings/{NETWORK.hex()}/feed"))
    author, followers, keys = await three(broker)
    frame = os.urandom(300_000)
    async with running(author, *followers):
        await author.until(lambda: author.links() == ["up", "up"])
        for peer in followers:
            await peer.until(lambda peer=peer: peer.links() == ["up", "up"])
        await author.transport.broadcast(keys, frame)
        await author.warned("the broker's ACL denies 'write'")
        # mosquitto 2.0.11 closes the connection as well, and then the links come again
        with anyio.fail_after(30):
            while not all(frame in peer.frames() for peer in followers):
                await anyio.sleep(0.5)
                await author.transport.broadcast(keys, frame)


async def test_presence_that_the_acl_denies_costs_no_link(broker):
    broker.write_acl(denying("/here/", "/head/"))
    a, b = pair(broker)
    async with running(a, b):
        await both_linked(a, b)
        await exchange(a, b, b"without presence")


# -- lost, repeated and forged messages --------------------------------------------------------


def losing(peer, share: float, seed: int) -> None:
    """Have this peer lose a share of the messages that the broker sends it."""
    chance = np.random.default_rng(seed)
    receive = peer.transport._session._receive

    def maybe(topic: str, payload: bytes) -> None:
        if chance.random() >= share:
            receive(topic, payload)

    peer.transport._session._receive = maybe


async def test_what_the_broker_loses_is_sent_again_and_nothing_comes_twice(broker):
    limits = replace(QUICK, target_delay_s=0.05, chunk_bytes=32 * 1024)
    peers = [make_peer(i, broker.settings(i), limits=limits) for i in IDENTITIES[:3]]
    author, *followers = peers
    async with running(*peers):
        for peer in peers:
            await peer.until(lambda peer=peer: peer.links() == ["up", "up"])
        for seed, peer in enumerate(peers):
            losing(peer, 0.2, seed)
        frames = [os.urandom(size) for size in (200_000, 10, 300_000, 5_000, 150_000)]
        for number, frame in enumerate(frames):
            if number % 2:
                for peer in followers:
                    await author.transport.send(peer.key, frame)
            else:
                await author.transport.broadcast([peer.key for peer in followers], frame)
        for peer in followers:
            await peer.got(len(frames))
            assert peer.frames() == frames
            assert peer.links() == ["up", "up"]


async def test_a_broker_that_repeats_and_forges_delivers_nothing_and_breaks_nothing(broker):
    heard: list[tuple[str, bytes]] = []
    a, b = pair(broker)
    async with spying(broker.allow_spy(), heard) as spy, running(a, b):
        await both_linked(a, b)
        await exchange(a, b, b"recorded")
        await a.transport.disconnect(B, "a new session")
        await a.until(lambda: a.links() == ["up", "down", "up"])
        await b.until(lambda: b.links() == ["up", "down", "up"])
        await exchange(a, b, b"again")
        tape = [
            (topic, payload) for topic, payload in heard if "/to/" in topic and len(payload) > 26
        ]
        assert {payload[1] for _, payload in tape} >= {Kind.OFFER, Kind.CONFIRM, Kind.DATA}
        to_b, feed = Topics(NETWORK, A).to(B), Topics(NETWORK, A).feed(A)
        for kind in (Kind.CONFIRM, Kind.ANSWER):  # of the session that is up
            topic, payload = [(t, packet) for t, packet in tape if packet[1] == kind][-1]
            await spy.publish(topic, payload, 1)
        for topic, payload in tape:
            await spy.publish(topic, payload, 1)  # word by word
            for at in (1, 10, 20, len(payload) - 1):
                forged = bytearray(payload)
                forged[at] ^= 1
                await spy.publish(topic, bytes(forged), 0)
        for junk in (b"", b"\x01", bytes(1000), os.urandom(500_000)):
            for topic in (to_b, feed, Topics(NETWORK, A).head(A), "tidings/other"):
                await spy.publish(topic, junk, 1)
        await anyio.sleep(0.3)
        frames_a, frames_b = [b"to a recorded", b"to a again"], [b"to b recorded", b"to b again"]
        assert (a.frames(), b.frames()) == (frames_a, frames_b)
        await exchange(a, b, b"unharmed")
        assert a.links() == b.links() == ["up", "down", "up"]


async def test_repeated_heartbeats_do_not_keep_a_link_alive(broker):
    heard: list[tuple[str, bytes]] = []
    a, b = pair(broker)
    async with spying(broker.allow_spy(), heard) as spy, running(a, b):
        await both_linked(a, b)
        await anyio.sleep(0.6)
        to_a = Topics(NETWORK, B).to(A)
        beats = [p for topic, p in heard if topic == to_a and p[1] == Kind.STATE]
        assert beats
        b.transport._session.out.post = lambda topic, payload: None
        with anyio.fail_after(20):
            while "down" not in a.links():
                await spy.publish(to_a, beats[-1], 0)
                await anyio.sleep(0.1)
        assert a.why()[0] == "nothing was heard for 1.2 s"


async def test_a_forged_broadcast_is_replaced_by_the_announced_one(broker):
    peers = [make_peer(i, broker.settings(i)) for i in IDENTITIES[:3]]
    author, *followers = peers
    frame = os.urandom(20_000)
    async with spying(broker.allow_spy(), None) as spy, running(*peers):
        for peer in peers:
            await peer.until(lambda peer=peer: peer.links() == ["up", "up"])

        async def forged(topic, payload):
            await spy.publish(topic, payload[:-1] + bytes([payload[-1] ^ 1]), 1)

        author.transport._session.out.publish = forged
        await author.transport.broadcast([peer.key for peer in followers], frame)
        for peer in followers:
            assert await peer.got(1) == [frame]


async def test_nobody_speaks_for_another_even_where_the_acl_allows_it(broker):
    """A member with the topics of another, but not with its key, gets no link in its name."""
    broker.write_acl(acl(NETWORK) + f"user {IDENTITIES[1].verify_key.hex()}\ntopic readwrite #\n")
    thief = make_peer(IDENTITIES[1], broker.settings(IDENTITIES[1]))
    thief.transport._dialling._network_id = NETWORK
    victim_topics = Topics(NETWORK, A)
    thief.transport._topics = victim_topics  # speaks and listens as A
    b = make_peer(LARGE, broker.settings(LARGE))
    b.transport.seek({A: ()})
    thief.transport.seek({B: ()})
    async with running(thief, b, seek=False):
        await anyio.sleep(1)
        assert b.seen == []


# -- boards that sleep, and two brokers --------------------------------------------------------


async def test_a_board_that_slept_gets_a_new_link_and_the_broker_kept_its_subscriptions(broker):
    a = make_peer(SMALL, broker.settings(SMALL))
    a.transport.seek({B: ()})
    async with running(a, seek=False):
        for day in range(3):
            b = make_peer(LARGE, broker.settings(LARGE))
            b.transport.seek({A: ()})
            async with running(b, seek=False):
                await both_linked(a, b)
                await exchange(a, b, b"day %d" % day)
            await a.unlinked()
        assert "sessions" not in " ".join(a.warnings)
    log = (broker.folder / "log").read_text()
    client = f"tidings-{NETWORK.hex()[:8]}-{B.hex()[:32]}"
    connects = [line for line in log.splitlines() if "as " + client in line and "connected" in line]
    assert len(connects) == 3
    assert all("c0" in line for line in connects)  # clean_start=False


async def test_two_bridged_brokers_survive_the_restart_of_either(tmp_path):
    one = Mosquitto(tmp_path / "one", bridge_password="across")
    ca = (one.folder / "ca.pem").read_bytes()
    bridge = Bridge(host="127.0.0.1", port=one.port, ca=ca, password="across")
    two = Mosquitto(tmp_path / "two", bridge=bridge)
    with one, two:
        a = make_peer(SMALL, one.settings(SMALL))
        b = make_peer(LARGE, two.settings(LARGE))
        async with running(a, b):
            await both_linked(a, b)
            await exchange(a, b, b"across")
            for broker in (one, two):
                broker.kill()
                await a.unlinked()
                await b.unlinked()
                broker.start()
                await both_linked(a, b, within_s=20)
                await exchange(a, b, b"again")
