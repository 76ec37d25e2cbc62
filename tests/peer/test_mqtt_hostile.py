"""Neighbours behind a broker that flood, garble, read slowly, vanish or freeze; a frozen broker.

As test_libp2p_hostile.py, over a real mosquitto: what the victim's memory grows by is bounded, and
its friend, whose frames come over the same connection to the same broker, keeps its pace.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path

import anyio
import pytest

from tests.peer.mqtt_kit import (
    IDENTITIES,
    LARGE,
    NETWORK,
    QUICK,
    Mosquitto,
    Peer,
    Relay,
    free_port,
    make_peer,
    running,
)
from tests.peer.victim import MB, Victim, forget_peak, kept_pace, memory
from tidings.crypto.errors import TransportError
from tidings.peer.transports.libp2p.transport import Libp2pTransport
from tidings.peer.transports.mqtt.packets import Item, ItemKind, Kind, pack_chunk
from tidings.peer.transports.mqtt.settings import MqttSettings
from tidings.peer.transports.mqtt.topics import Topics
from tidings.peer.transports.trio_thread import TrioThread

BOUNDS = replace(
    QUICK,
    max_frame_bytes=MB,
    max_buffered_bytes=4 * MB,
    max_queued_bytes=4 * MB,
    max_unsent_bytes=4 * MB,
    max_inbox_bytes=4 * MB,
    max_broadcast_bytes=4 * MB,
    max_waste_bytes=4 * MB,
    silence_s=3.0,
    handshake_s=3.0,
)
# What one link may hold: frames not taken, one that arrives and its copy, queued, under way; and
# what all links share: not yet with the broker, and as packets of paho's; not yet looked at.
UNDER_WAY = BOUNDS.chunks_in_flight * BOUNDS.chunk_bytes
SHARED_BYTES = 2 * 4 * MB + 4 * MB
LINK_BYTES = 4 * MB + 2 * MB + 4 * MB + UNDER_WAY
SLACK = 4 * MB  # what Python keeps for tasks and freed blocks
FRIEND, ENEMY, *OTHERS = IDENTITIES[:-1]  # eight identities; the last is the victim's
HALF_OPEN = [ENEMY, *OTHERS]

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.nightly,  # its smaller form is test_mqtt_waste.py
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux' /proc"),
]


@pytest.fixture
def anyio_backend():
    return "asyncio"


@contextmanager
def lone_mqtt_peer(
    broker: Mosquitto, identity, peer: bytes, what: str
) -> Iterator[subprocess.Popen[str]]:
    root = Path(__file__).parents[2]
    given = [identity.seed.hex(), json.dumps(asdict(broker.settings(identity)))]
    given += [json.dumps(asdict(BOUNDS)), peer.hex(), what]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.peer.lone_mqtt_peer", *given],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{root / 'src'}"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def is_up(process: subprocess.Popen[str]) -> None:
    line = await anyio.to_thread.run_sync(process.stdout.readline, abandon_on_cancel=True)
    assert line == "up\n"


@asynccontextmanager
async def victim(broker: Mosquitto) -> AsyncIterator[Victim]:
    friend = make_peer(FRIEND, broker.settings(FRIEND), limits=BOUNDS)
    with lone_mqtt_peer(broker, LARGE, friend.key, "echo") as process:
        friend.transport.seek({LARGE.verify_key: ()})
        async with running(friend, seek=False):
            await friend.linked(within_s=30)
            attacked = Victim(process.pid, LARGE.verify_key, friend)
            await attacked.echo()
            yield attacked


@asynccontextmanager
async def linked(identity, settings: MqttSettings, attacked: Victim) -> AsyncIterator[Peer]:
    """A member that is linked with the victim, and may then do what it should not."""
    enemy = make_peer(identity, settings, limits=BOUNDS)
    enemy.transport.seek({attacked.key: ()})
    async with running(enemy, seek=False):
        await enemy.linked()
        yield enemy


# -- what a neighbour may do wrong: each repeats its misdeed until it is cancelled -----------------


async def flood(broker: Mosquitto, attacked: Victim) -> None:
    """Send whole frames without an end, more than may be under way, and take no answer."""
    async with linked(ENEMY, broker.settings(ENEMY), attacked) as enemy:
        while True:
            await enemy.linked(within_s=60)  # it may be muted
            link = enemy.transport._links[attacked.key]
            link._take_chunk = lambda sequence, data: None
            frame = Item(ItemKind.FRAME, 0, bytes(200_000))
            with suppress(TransportError):
                for number in count():
                    if link.gone.is_set():
                        break
                    chunk = pack_chunk(number, frame.header() + frame.body)
                    packet = link._channel.seal(Kind.DATA, chunk)
                    await enemy.transport.hand_over(attacked.key, packet)
            await anyio.sleep(0.05)


async def flood_feed(broker: Mosquitto, attacked: Victim) -> None:
    """Broadcast without an end what is never announced."""
    feed = Topics(NETWORK, ENEMY.verify_key).my_feed
    async with linked(ENEMY, broker.settings(ENEMY), attacked) as enemy:
        for number in count():
            head = bytes([1, Kind.FEED]) + bytes(8) + number.to_bytes(8, "big")
            piece = head + bytes(4) + (MB).to_bytes(4, "big") + bytes(250_000)
            with suppress(TransportError):
                await enemy.transport._session.out.hand_over(feed, piece)
            await anyio.sleep(0)


async def flood_noise(broker: Mosquitto, attacked: Victim) -> None:
    """Say without an end to the victim what is of no session."""
    to = Topics(NETWORK, ENEMY.verify_key).to(attacked.key)
    async with linked(ENEMY, broker.settings(ENEMY), attacked) as enemy:
        while True:
            with suppress(TransportError):
                noise = bytes([1, Kind.DATA]) + bytes(250_000)
                await enemy.transport._session.out.hand_over(to, noise)
            await anyio.sleep(0)


async def read_slowly(broker: Mosquitto, attacked: Victim) -> None:
    """Ask for many answers, and take some 20 kB of them a second from the broker."""
    async with Relay(broker.port, down_bytes_per_s=20_000).running() as relay:
        settings = broker.settings(ENEMY, port=relay.port)
        async with linked(ENEMY, settings, attacked) as enemy:
            frame, asked = Item(ItemKind.FRAME, 0, bytes(20_000)), {}
            while True:
                link = enemy.transport._links.get(attacked.key)
                if link is not None and link.up:
                    link._silent_beats = 0  # what is said to it comes late
                    asked[link] = asked.get(link, -1) + 1
                    chunk = pack_chunk(asked[link], frame.header() + frame.body)
                    enemy.transport.post(attacked.key, link._channel.seal(Kind.DATA, chunk))
                await anyio.sleep(0.005)


async def garble(broker: Mosquitto, attacked: Victim) -> None:
    """Send noise in place of handshakes, packets, chunks, pieces, notices and presence.

    Not so much of it that it would be muted, and linked again and again.
    """
    topics = Topics(NETWORK, ENEMY.verify_key)
    to, feed = topics.to(attacked.key), topics.my_feed
    head, here = topics.head(ENEMY.verify_key), topics.here(ENEMY.verify_key)
    async with linked(ENEMY, broker.settings(ENEMY), attacked) as enemy:
        out = enemy.transport._session.out
        for turn in count():
            with suppress(TransportError):
                for kind in (*Kind, 0, 255):
                    out.post(to, bytes([1, kind]) + os.urandom(turn % 2000))
                await out.hand_over(to, bytes([1, Kind.DATA]) + os.urandom(10_000))
                await out.hand_over(feed, bytes([1, Kind.FEED]) + os.urandom(10_000))
                for topic in (head, here):
                    out.hint(topic, os.urandom(turn % 6000))
                link = enemy.transport._links.get(attacked.key)
                if turn % 5 == 0 and link is not None and link.up:
                    for noise in (os.urandom(32), pack_chunk(turn % 80, os.urandom(20_000))):
                        for kind in (Kind.DATA, Kind.STATE):
                            out.post(to, link._channel.seal(kind, noise))
            await anyio.sleep(0.05)


async def half_open(broker: Mosquitto, attacked: Victim) -> None:
    """Be linked, begin a frame, and vanish: the connection to the broker stays, and is dead.

    Six members do so at once, as machines do whose power fails.
    """
    while True:
        async with AsyncExitStack() as machines:
            for identity in HALF_OPEN:
                relay = await machines.enter_async_context(Relay(broker.port).running())
                settings = broker.settings(identity, port=relay.port)
                enemy = await machines.enter_async_context(linked(identity, settings, attacked))
                link = enemy.transport._links[attacked.key]
                header = Item(ItemKind.FRAME, 0, bytes(MB)).header()
                for number in range(2):
                    chunk = pack_chunk(number, (b"" if number else header) + bytes(MB // 4))
                    await enemy.transport.hand_over(
                        attacked.key, link._channel.seal(Kind.DATA, chunk)
                    )
                await anyio.sleep(0.1)
                relay.silent = True
            await anyio.sleep(BOUNDS.silence_s + 0.5)


async def freeze(broker: Mosquitto, attacked: Victim) -> None:
    """Ask for much in a process of one's own, and be stopped by SIGSTOP in mid-sentence."""
    while True:
        with lone_mqtt_peer(broker, ENEMY, attacked.key, "ask") as process:
            await is_up(process)
            await anyio.sleep(0.3)
            os.kill(process.pid, signal.SIGSTOP)
            await anyio.sleep(BOUNDS.silence_s + 1)


@pytest.mark.parametrize(
    ("misdeed", "most_bytes"),
    [
        (flood, LINK_BYTES + SHARED_BYTES + SLACK),
        (flood_noise, SHARED_BYTES + SLACK),
        (flood_feed, 4 * MB + SHARED_BYTES + SLACK),
        (read_slowly, LINK_BYTES + SHARED_BYTES + SLACK),
        (garble, SHARED_BYTES + SLACK),
        (half_open, len(HALF_OPEN) * 2 * MB + SHARED_BYTES + SLACK),
        (freeze, LINK_BYTES + SHARED_BYTES + SLACK),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_memory_stays_bounded_and_others_keep_their_pace(
    broker, misdeed, most_bytes, record_property
):
    async with victim(broker) as attacked:
        idle = await attacked.pace(0.5)
        before, queued = memory(attacked.pid), memory(broker.process.pid)
        forget_peak(attacked.pid)
        forget_peak(broker.process.pid)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(misdeed, broker, attacked)
            # those who fall silent are watched until they are given up
            under_attack = await attacked.pace(6 if misdeed in (half_open, freeze) else 3)
            tasks.cancel_scope.cancel()
        grown = memory(attacked.pid, "VmHWM") - before
        at_broker = memory(broker.process.pid, "VmHWM") - queued
        record_property("grown_MB", round(grown / MB, 1))
        record_property("echo_ms", (round(idle * 1e3, 1), round(under_attack * 1e3, 1)))
        print(f"{misdeed.__name__}: +{grown / MB:.1f} MB of {most_bytes / MB:.0f},", end=" ")
        print(f"broker +{at_broker / MB:.1f} MB, echo {idle * 1e3:.1f} ms idle,", end=" ")
        print(f"{under_attack * 1e3:.1f} ms under attack")
        assert grown < most_bytes
        assert kept_pace(idle, under_attack)


async def test_a_frozen_broker_costs_bounded_memory_and_holds_up_no_direct_link(broker):
    """A gateway sends without an end over the broker, which stops by SIGSTOP and wakes."""
    home = f"/ip4/127.0.0.1/tcp/{free_port()}"
    direct = TrioThread(
        Libp2pTransport(FRIEND.seed, "/ip4/127.0.0.1/tcp/0", lambda key: True, BOUNDS)
    )
    friend = Peer(direct, FRIEND.verify_key)
    friend.transport.seek({LARGE.verify_key: [home]})
    with lone_mqtt_peer(broker, LARGE, friend.key, home) as process:
        async with running(friend, seek=False):
            await friend.linked(within_s=30)
            attacked = Victim(process.pid, LARGE.verify_key, friend)
            idle = await attacked.pace(0.5)
            async with linked(ENEMY, broker.settings(ENEMY), attacked) as board:
                before = memory(attacked.pid)
                forget_peak(attacked.pid)
                await board.transport.send(attacked.key, b"pour")
                await board.got(20)
                broker.freeze()
                frozen = await attacked.pace(BOUNDS.silence_s + 2)
                await board.unlinked()
                broker.thaw()
                begun, so_far = anyio.current_time(), len(board.frames())
                await board.linked(within_s=20)
                back_s = anyio.current_time() - begun
                await board.got(so_far + 20)
            grown = memory(attacked.pid, "VmHWM") - before
    most = LINK_BYTES + SHARED_BYTES + SLACK
    print(f"frozen broker: +{grown / MB:.1f} MB of {most / MB:.0f},", end=" ")
    print(f"direct echo {idle * 1e3:.1f} ms idle, {frozen * 1e3:.1f} ms frozen,", end=" ")
    print(f"linked {back_s:.2f} s after it woke")
    assert grown < most
    assert kept_pace(idle, frozen)
