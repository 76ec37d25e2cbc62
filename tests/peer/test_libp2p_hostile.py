"""Neighbours that flood, send garbage, read slowly, stay silent or freeze: bounded, and apart.

The victim is a process of its own, so that its memory can be measured; the friend is linked with
it and counts how long an echo takes while others misbehave.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import trio

from tests.peer.libp2p_kit import (
    LARGE,
    LOOPBACK,
    QUICK,
    SEEDS,
    SMALL,
    Peer,
    bare_host,
    dial,
    everybody,
    key_of,
    lone_peer,
    open_frames,
    running,
)
from tests.peer.victim import MB, Victim, forget_peak, kept_pace, memory
from tidings.peer.transports.addresses import parse
from tidings.peer.transports.framing import header
from tidings.peer.transports.libp2p.host import abort
from tidings.peer.transports.libp2p.imports import MultiselectCommunicator
from tidings.peer.transports.libp2p.transport import Libp2pTransport

BOUNDS = replace(
    QUICK,
    max_frame_bytes=MB,
    max_buffered_bytes=4 * MB,
    max_queued_bytes=4 * MB,
    silence_s=3,
    handshake_s=3,
)
# what one link may hold: frames not taken, one that arrives and its copy, unread, being sent twice
LINK_BYTES = 4 * MB + 2 * MB + 2 * 2**20 + 4 * MB + 2 * MB
ENEMY = SEEDS[1]
HALF_OPEN = SEEDS[1:9]

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux' /proc"),
]


@pytest.fixture
def anyio_backend():
    return "trio"


@asynccontextmanager
async def victim(limits=BOUNDS) -> AsyncIterator[Victim]:
    async with running(SMALL, limits=limits) as (friend,):
        with lone_peer(LARGE, LOOPBACK, friend, limits) as process:
            line = await trio.to_thread.run_sync(process.stdout.readline)
            attacked = Victim(process.pid, key_of(LARGE), friend, [line.strip()])
            friend.transport.seek({attacked.key: attacked.addresses})
            await friend.linked()
            await attacked.echo()
            yield attacked


# ---- what a neighbour may do wrong: each repeats its misdeed until it is cancelled


async def flood(attacked: Victim) -> None:
    """Send whole frames without an end, more than is credited, and read no answer."""
    async with bare_host(ENEMY, BOUNDS) as host:
        while True:
            with suppress(Exception):
                connection = await dial(host, attacked)
                stream = await open_frames(host, connection)
                muxed, number = connection.muxed_conn, stream.muxed_stream.stream_id
                piece = header(60_000 - 4) + bytes(60_000 - 4)
                while not muxed.event_shutting_down.is_set():  # a write on a closed one is silent
                    await muxed._write_frame(struct.pack("!BBHII", 0, 0, 0, number, 60_000) + piece)
            await trio.sleep(0.05)


async def flood_streams(attacked: Victim) -> None:
    """Open streams without an end, with something on each that is never a whole word."""
    async with bare_host(ENEMY, BOUNDS) as host:
        while True:
            with suppress(Exception):
                connection = await dial(host, attacked)
                await open_frames(host, connection)
                numbers = count(101, 2)
                while not connection.muxed_conn.event_shutting_down.is_set():
                    number = next(numbers)
                    syn = struct.pack("!BBHII", 0, 0, 1, number, 1000) + b"\x80" * 1000
                    await connection.muxed_conn._write_frame(syn)
            await trio.sleep(0.05)


async def read_slowly(attacked: Victim) -> None:
    """Ask for many answers, and take a few bytes of them a second."""
    async with bare_host(ENEMY, BOUNDS) as host:
        while True:
            with suppress(Exception):
                stream = await open_frames(host, await dial(host, attacked))
                while True:
                    await stream.write(header(20_000) + bytes(20_000))
                    await trio.sleep(0.005)
            await trio.sleep(0.05)


async def garble(attacked: Victim) -> None:
    """Send noise in place of Noise, of yamux, of names and of frames."""
    address = parse(attacked.addresses[0])
    async with bare_host(ENEMY, BOUNDS) as host:
        for turn in range(10**9):
            with suppress(Exception):
                if turn % 4 == 0:
                    connection = await dial(host, attacked)
                    await connection.muxed_conn.secured_conn.write(os.urandom(60_000))
                elif turn % 4 == 1:
                    stream = await (await dial(host, attacked)).new_stream()
                    await stream.write(b"\xff\xff\xff\xff\x7f" + bytes(200_000))
                elif turn % 4 == 2:
                    stream = await open_frames(host, await dial(host, attacked))
                    await stream.write(os.urandom(100_000))
                else:
                    async with await trio.open_tcp_stream(address.host, address.port) as raw:
                        while True:  # a name of 16 EiB is announced and sent
                            await raw.send_all(b"\xff" * 9 + b"\x01" + bytes(100_000))
            await trio.sleep(0.02)


async def stay_silent(attacked: Victim) -> None:
    """Connect and say nothing: 300 times without a word, and once after the handshake."""
    address = parse(attacked.addresses[0])
    async with bare_host(ENEMY, BOUNDS) as host:
        sockets: list[trio.SocketStream] = []
        while True:
            with suppress(Exception):
                await dial(host, attacked)
            while len(sockets) < 300:
                sockets += [await trio.open_tcp_stream(address.host, address.port)]
            await trio.sleep(1)
            for raw in sockets:
                await raw.aclose()
            sockets.clear()


async def half_open(attacked: Victim) -> None:
    """Be linked, begin a frame, and nothing more ever comes, nor is anything closed.

    Eight members do so at once, as machines do whose power fails.
    """
    async with AsyncExitStack() as machines:
        hosts = [await machines.enter_async_context(bare_host(s, BOUNDS)) for s in HALF_OPEN]
        while True:
            for host in hosts:
                stream = await open_frames(host, await dial(host, attacked))
                await stream.write(header(MB) + bytes(MB // 2))
            await trio.sleep(BOUNDS.silence_s + 0.5)


@contextmanager
def lone_asker(seed: bytes, attacked: Victim) -> Iterator[subprocess.Popen[str]]:
    root, (address,) = Path(__file__).parents[2], attacked.addresses
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.peer.lone_asker", seed.hex(), attacked.key.hex(), address],
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


async def freeze(attacked: Victim) -> None:
    """Ask for much in a process of one's own, and be stopped by SIGSTOP in mid-sentence."""
    while True:
        with lone_asker(ENEMY, attacked) as process:
            line = await trio.to_thread.run_sync(process.stdout.readline, abandon_on_cancel=True)
            assert line == "linked\n"
            await trio.sleep(0.3)
            os.kill(process.pid, signal.SIGSTOP)
            await trio.sleep(BOUNDS.silence_s + 1)


@pytest.mark.parametrize(
    ("misdeed", "most_bytes"),
    [
        (flood, LINK_BYTES + 4 * MB),  # and what Python keeps for tasks and freed blocks
        (flood_streams, 10 * MB),
        (read_slowly, LINK_BYTES + 4 * MB),
        (garble, 10 * MB),
        (stay_silent, 10 * MB),
        (half_open, 8 * 2 * MB + 10 * MB),  # what has come of each frame, and its copy
        (freeze, LINK_BYTES + 4 * MB),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_memory_stays_bounded_and_others_keep_their_pace(
    misdeed, most_bytes, record_property
):
    async with victim() as attacked:
        idle = await attacked.pace(0.5)
        before = memory(attacked.pid)
        forget_peak(attacked.pid)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(misdeed, attacked)
            # those who fall silent are watched until they are given up
            under_attack = await attacked.pace(6 if misdeed in (half_open, freeze) else 3)
            nursery.cancel_scope.cancel()
        grown = memory(attacked.pid, "VmHWM") - before
        record_property("grown_MB", round(grown / MB, 1))
        record_property("echo_ms", (round(idle * 1e3, 1), round(under_attack * 1e3, 1)))
        print(f"{misdeed.__name__}: +{grown / MB:.1f} MB, echo {idle * 1e3:.1f} ms idle,", end=" ")
        print(f"{under_attack * 1e3:.1f} ms under attack")
        assert grown < most_bytes
        assert kept_pace(idle, under_attack)


async def test_a_frozen_neighbour_holds_up_nobody():
    """Its links are cut by their silence, and what is queued for it goes with them."""
    async with victim() as attacked, running(ENEMY, limits=BOUNDS) as (other,):
        other.transport.seek({attacked.key: attacked.addresses})
        await other.linked()
        os.kill(attacked.pid, signal.SIGSTOP)
        sent = 0
        with trio.fail_after(20):
            while "down" not in other.links():
                with suppress(Exception), trio.move_on_after(0.2):
                    await other.transport.send(attacked.key, bytes(500_000))
                    sent += 500_000
        assert sent <= BOUNDS.max_queued_bytes + 2 * MB
        os.kill(attacked.pid, signal.SIGCONT)
        await other.linked()
        await attacked.friend.linked()


# ---- traps 4 and 11


async def unread(muxed) -> int:
    return sum(map(len, muxed.stream_buffers.values()))


@pytest.mark.parametrize("streams", [1, 12])
async def test_trap_4_what_nobody_reads_is_bounded_over_all_streams_of_a_connection(streams):
    async def never_read(stream) -> None:
        stream.muxed_conn.in_use.set()
        await trio.sleep_forever()

    async with running(LARGE) as (b,), bare_host(SMALL) as host:
        b.host.set_stream_handler("/never", never_read)
        connection = await dial(host, b)
        numbers = []
        for _ in range(streams):
            stream = await connection.new_stream()
            await host.multiselect_client.select_one_of(
                ["/never"], MultiselectCommunicator(stream), 2
            )
            numbers.append(stream.muxed_stream.stream_id)
        (theirs,) = b.host.get_network().get_connections()
        most = sent = 0
        piece = bytes(16_000)
        with suppress(Exception), trio.move_on_after(5):
            # 12 streams of 200 kB each keep to their windows, and are too much together
            while sent < (200_000 * 12 if streams == 12 else 10**9):
                for number in numbers:
                    frame = struct.pack("!BBHII", 0, 0, 0, number, len(piece)) + piece
                    await connection.muxed_conn._write_frame(frame)
                    sent += len(piece)
                most = max(most, await unread(theirs.muxed_conn))
        await b.connected(0)
        assert 500_000 < most <= QUICK.max_unread_bytes


async def test_streams_that_wait_for_an_answer_are_bounded():
    limits = replace(QUICK, silence_s=9)
    async with running(LARGE, limits=limits) as (b,), bare_host(SMALL, limits) as host:
        connection = await dial(host, b)
        await open_frames(host, connection)
        await b.linked()
        with suppress(Exception):
            for _ in range(17):
                await connection.new_stream()
                await trio.sleep(0.01)
        await b.until(lambda seen: b.links() == ["up", "down"])


async def test_short_streams_are_not_counted_for_ever():
    async with running(LARGE) as (b,), bare_host(SMALL) as host:
        connection = await dial(host, b)
        await open_frames(host, connection)
        for _ in range(40):
            stream = await connection.new_stream()
            await stream.reset()
            await trio.sleep(0.01)
        await trio.sleep(0.2)
        assert b.links() == ["up"]


async def test_trap_11_silent_connections_keep_no_member_out():
    limits = replace(QUICK, handshake_s=10, dial_s=10)
    async with running(LARGE, limits=limits) as (b,):
        address = parse(b.addresses[0])
        silent = []
        for _ in range(300):
            raw = socket.create_connection((address.host, address.port))
            silent.append(raw)
            await trio.sleep(0)
        doorstep = b.host.get_network()._doorstep
        await b.until(lambda seen: len(doorstep) == limits.max_handshakes)
        a = Peer(Libp2pTransport(SMALL, LOOPBACK, everybody, limits), key_of(SMALL))
        a.transport.seek({b.key: b.addresses})
        async with trio.open_nursery() as nursery:
            await nursery.start(a.transport.run, a.deliver)
            begun = trio.current_time()
            await a.linked()
            print(f"linked past 300 silent connections in {trio.current_time() - begun:.3f} s")
            nursery.cancel_scope.cancel()
        for raw in silent:
            raw.close()
        await b.until(lambda seen: len(doorstep) == 0)  # sooner than by their time


async def test_a_connection_that_says_too_much_before_it_is_known_is_cut():
    async with running(LARGE, limits=replace(QUICK, handshake_s=10)) as (b,):
        address = parse(b.addresses[0])
        async with await trio.open_tcp_stream(address.host, address.port) as raw:
            with pytest.raises(trio.BrokenResourceError), trio.fail_after(8):  # noqa: PT012
                while True:
                    await raw.send_all(b"\xff" * 9 + b"\x01" + bytes(100_000))


async def test_a_member_that_connects_and_uses_nothing_is_let_go():
    limits = replace(QUICK, handshake_s=0.5)
    async with running(LARGE, limits=limits) as (b,), bare_host(SMALL) as host:
        await dial(host, b)
        await b.connected(1)
        await b.connected(0, within_s=8)


# ---- reconnects


# Garbage in circles waits for the collector's oldest generation, which comes after some 1,000
# connections: what is left behind for good shows beyond them.
@pytest.mark.parametrize(
    "times", [60, pytest.param(3000, marks=[pytest.mark.nightly, pytest.mark.timeout(900)])]
)
async def test_reconnecting_leaves_nothing_behind(times, record_property):
    async with victim() as attacked, bare_host(ENEMY, BOUNDS) as host:

        async def reconnect(number: int) -> None:
            connection = await dial(host, attacked)
            stream = await open_frames(host, connection)
            await stream.write(header(4) + number.to_bytes(4, "big"))
            with trio.fail_after(5):
                while await stream.read(64) == header(0):
                    pass
            abort(connection)

        for number in range(times // 3):
            await reconnect(number)
        await trio.sleep(0.5)
        before, files = memory(attacked.pid), attacked.files()
        for number in range(times // 3, times):
            await reconnect(number)
        await attacked.friend.until(lambda seen: attacked.files() <= files)
        grown = memory(attacked.pid) - before
        record_property("grown_MB", round(grown / MB, 2))
        print(f"{times} reconnects: +{grown / MB:.2f} MB in the last two thirds")
        assert grown < 3 * MB
        assert attacked.friend.links() == ["up"]
