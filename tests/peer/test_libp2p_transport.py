"""The libp2p transport keeps the promises of ``Transport``, and the traps of libp2p stay shut."""

from __future__ import annotations

import logging
import os
import signal
import socket
from contextlib import suppress
from dataclasses import replace
from statistics import median

import anyio
import pytest
import trio
from libp2p.network.exceptions import SwarmException
from libp2p.protocol_muxer.exceptions import MultiselectClientError
from libp2p.stream_muxer.yamux import yamux

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
from tidings.crypto.errors import TransportError
from tidings.peer.transports.addresses import parse
from tidings.peer.transports.base import Delivery, LinkDown, LinkUp
from tidings.peer.transports.framing import header
from tidings.peer.transports.libp2p.host import abort, peer_id
from tidings.peer.transports.libp2p.imports import MultiselectCommunicator
from tidings.peer.transports.libp2p.tcp import Socket
from tidings.peer.transports.libp2p.transport import Libp2pTransport


@pytest.fixture
def anyio_backend():
    return "trio"


pytestmark = pytest.mark.anyio


# ---- links and frames


async def test_frames_of_any_size_go_both_ways_whole_and_in_order():
    sizes = [1, 2, 65_535, 65_536, 3_000_000, 7, 262_144, 300_000]
    async with running(SMALL, LARGE) as (a, b):
        await a.linked()
        await b.linked()
        there = [os.urandom(size) for size in sizes]
        back = [os.urandom(size) for size in reversed(sizes)]
        async with trio.open_nursery() as nursery:
            for sender, receiver, frames in ((a, b, there), (b, a, back)):

                async def send(sender=sender, receiver=receiver, frames=frames):
                    for frame in frames:
                        await sender.transport.send(receiver.key, frame)

                nursery.start_soon(send)
        await b.until(lambda seen: len(seen) == len(sizes) + 1)
        await a.until(lambda seen: len(seen) == len(sizes) + 1)
        assert (b.frames(), a.frames()) == (there, back)
        assert a.seen[0] == LinkUp(peer=b.key)
        assert {d.peer for d in b.seen} == {a.key}


async def test_ten_peers_start_in_seconds_and_exchange_a_round_in_milliseconds():
    async with running(*SEEDS) as peers:
        for peer in peers:
            await peer.until(lambda seen: len(seen) == 9, within_s=15)  # 0.6 s on two idle cores
        rounds = []
        frame = os.urandom(10_000)
        for number in range(1, 6):
            begun = trio.current_time()
            for i, peer in enumerate(peers):
                for step in (1, 2, 3, -1, -2):
                    await peer.transport.send(peers[(i + step) % 10].key, frame)
            for peer in peers:
                await peer.until(lambda seen, number=number: len(seen) == 9 + 5 * number)
            rounds.append(trio.current_time() - begun)
        assert median(rounds) < 0.5  # 0.02 s on two idle cores


async def test_sending_without_a_link_or_too_much_is_refused():
    limits = replace(QUICK, max_frame_bytes=1000)
    async with running(SMALL, LARGE, limits=limits) as (a, b):
        with pytest.raises(TransportError, match="no link"):
            await a.transport.send(key_of(SEEDS[1]), b"x")
        await a.linked()
        for frame in (b"", bytes(1001)):
            with pytest.raises(TransportError, match="1 to 1000"):
                await a.transport.send(b.key, frame)
        await a.transport.send(b.key, bytes(1000))
        await b.until(lambda seen: len(seen) == 2)


async def test_trap_9_of_several_addresses_the_one_that_answers_is_found():
    async with running(LARGE) as (b,):
        a = Peer(Libp2pTransport(SMALL, LOOPBACK, everybody, QUICK), key_of(SMALL))
        with socket.create_server(("127.0.0.1", 0)) as taken:
            dead = f"/ip4/127.0.0.1/tcp/{taken.getsockname()[1]}"
        a.transport.seek({b.key: [dead, b.addresses[0].split("/p2p/")[0]]})
        async with trio.open_nursery() as nursery:
            await nursery.start(a.transport.run, a.deliver)
            await a.linked()
            nursery.cancel_scope.cancel()


async def test_an_address_of_another_peer_is_refused_when_it_is_named():
    transport = Libp2pTransport(SMALL, LOOPBACK, everybody)
    wrong = f"/ip4/127.0.0.1/tcp/4001/p2p/{peer_id(key_of(SEEDS[1])).to_base58()}"
    with pytest.raises(TransportError, match="another peer"):
        transport.seek({key_of(LARGE): [wrong]})


async def test_it_runs_under_anyio_and_an_error_of_the_driver_comes_out():
    async def broken(delivery: Delivery) -> None:
        raise ZeroDivisionError

    async def drive() -> None:
        async with running(LARGE) as (b,), anyio.create_task_group() as tasks:
            transport = Libp2pTransport(SMALL, LOOPBACK, everybody, QUICK)
            transport.seek({b.key: b.addresses})
            await tasks.start(transport.run, broken)
            await trio.sleep(5)

    with pytest.raises(ExceptionGroup) as caught:
        await drive()
    assert caught.value.subgroup(ZeroDivisionError)


# ---- the door


async def test_trap_1_nothing_but_noise_is_offered():
    async with running(SMALL) as (a,):
        address = parse(a.addresses[0])
        async with await trio.open_tcp_stream(address.host, address.port) as stream:

            async def say(text: str) -> bytes:
                line = text.encode() + b"\n"
                await stream.send_all(bytes([len(line)]) + line)
                size = (await stream.receive_some(1))[0]
                return (await stream.receive_some(size)).strip()

            assert await say("/multistream/1.0.0") == b"/multistream/1.0.0"
            for protocol in ("/plaintext/2.0.0", "/secio/1.0.0", "/tls/1.0.0"):
                assert await say(protocol) == b"na"
            assert await say("/noise") == b"/noise"


@pytest.mark.parametrize("stranger_dials", [True, False])
async def test_a_stranger_is_refused_in_the_handshake_before_a_multiplexer_exists(
    stranger_dials, monkeypatch
):
    stranger, member = (SMALL, LARGE) if stranger_dials else (LARGE, SMALL)
    asked = []

    def members_only(key: bytes) -> bool:
        asked.append(key)
        return key != key_of(stranger)

    async with running(member, accept=members_only) as (peer,):
        muxed = []
        upgrader = peer.host.get_network().upgrader
        monkeypatch.setattr(upgrader, "upgrade_connection", lambda *args: muxed.append(args))
        other = Peer(Libp2pTransport(stranger, LOOPBACK, everybody, QUICK), key_of(stranger))
        async with trio.open_nursery() as nursery:
            other.addresses = await nursery.start(other.transport.run, other.deliver)
            # The member looks for the stranger by the name of a friend, too.
            other.transport.seek({peer.key: peer.addresses})
            peer.transport.seek({other.key: other.addresses})
            if not stranger_dials:
                with pytest.raises(Exception, match=r"not wanted|upgrade security"):
                    await dial(peer.host, other)
            with trio.fail_after(5):
                while key_of(stranger) not in asked:
                    await trio.sleep(0.01)
            await trio.sleep(0.3)
            nursery.cancel_scope.cancel()
        assert muxed == []
        assert peer.seen == other.seen == []


async def test_a_member_that_is_withdrawn_is_cut_and_stays_out():
    withdrawn: set[bytes] = set()
    patient = replace(QUICK, silence_s=60)  # so nothing but the cut tells the other end
    accept = lambda key: key not in withdrawn
    async with running(SMALL, LARGE, limits=patient, accept=accept) as (a, b):
        await b.linked()
        withdrawn.add(a.key)
        await b.transport.disconnect(a.key, "revoked")
        await a.until(lambda seen: len(seen) == 2)
        await trio.sleep(0.5)
        assert b.seen == [LinkUp(peer=a.key), LinkDown(peer=a.key, why="revoked")]
        assert a.links() == ["up", "down"]


# ---- the traps


async def test_trap_2_what_a_stream_does_never_ends_the_host():
    async def boom(stream) -> None:
        raise ZeroDivisionError

    async with running(LARGE) as (b,), bare_host(SMALL) as host:
        b.host.set_stream_handler("/boom", boom)
        for attempt in range(2):
            connection = await dial(host, b)
            stream = await connection.new_stream()
            await stream.write(b"\x13/multistream/1.0.0\n\x03\xff\xfe\n")  # not UTF-8
            stream = await connection.new_stream()
            with suppress(Exception):  # the reset may come before the answer
                await host.multiselect_client.select_one_of(
                    ["/boom"], MultiselectCommunicator(stream), 2
                )
            await trio.sleep(0.1)
            await open_frames(host, connection)
            await b.until(lambda seen, attempt=attempt: b.links().count("up") == attempt + 1)


async def test_trap_3_inbound_slots_come_back():
    limits = replace(QUICK, max_connections=3, max_handshakes=1)
    async with running(LARGE, limits=limits) as (b,), bare_host(SMALL) as host:
        for number in range(1, 11):
            connection = await dial(host, b)
            stream = await open_frames(host, connection)
            await stream.write(header(1) + bytes([number]))
            await b.until(lambda seen, number=number: len(b.frames()) == number)
            abort(connection)
            await b.connected(0)
        assert b.links() == ["up", "down"] * 10
        assert b.host.get_network()._inbound_limiter.borrowed_tokens == 0


async def test_trap_5_a_driver_that_is_slow_to_take_frames_loses_no_link(monkeypatch):
    hurry_yamux(monkeypatch)
    limits = replace(QUICK, heartbeat_s=0.5, silence_s=5)
    async with running(LARGE, limits=limits) as (b,), bare_host(SMALL, limits) as host:
        stream = await open_frames(host, await dial(host, b))
        b.gate = trio.Event()
        for _ in range(20):
            await stream.write(header(100_000) + bytes(100_000))  # as libp2p itself writes
        await trio.sleep(1.5)
        b.gate.set()
        await b.until(lambda seen: len(b.frames()) == 20)
        assert b.links() == ["up"]


async def test_a_driver_that_takes_nothing_loses_the_link_not_the_memory():
    limits = replace(
        QUICK,
        max_frame_bytes=100_000,
        max_buffered_bytes=1_000_000,
        backoff_min_s=9,
        backoff_max_s=9,
    )
    async with running(SMALL, LARGE, limits=limits) as (a, b):
        await a.linked()
        b.gate = trio.Event()
        with suppress(TransportError), trio.fail_after(5):
            while True:
                await a.transport.send(b.key, bytes(100_000))
        await a.until(lambda seen: "down" in a.links())
        b.gate.set()
        await b.until(lambda seen: "down" in b.links())
        assert 10 <= len(b.frames()) <= 14  # 1,000,000 bytes and what one read brings more
        assert "more was sent" in b.why()[0]


async def test_the_send_queue_is_bounded_and_waiting_senders_are_told_of_a_break(monkeypatch):
    limits = replace(
        QUICK,
        max_queued_bytes=500_000,
        max_frame_bytes=500_000,
        heartbeat_s=5,
        silence_s=10,
    )
    async with running(SMALL, LARGE, limits=limits) as (a, b):
        await b.linked()
        await a.linked()
        freeze(monkeypatch)
        told: list[str] = []

        async def keep_sending() -> None:
            try:
                while True:
                    await a.transport.send(b.key, bytes(250_000))
            except TransportError as error:
                told.append(str(error))

        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.deadline = trio.current_time() + 5
            for _ in range(3):
                nursery.start_soon(keep_sending)
            await trio.sleep(0.3)
            link = a.transport._links[b.key]
            assert 250_000 <= link._outbox_bytes <= 500_000
            assert told == []
            await a.transport.disconnect(b.key, "enough")
        assert len(told) == 3
        assert all("enough" in text for text in told)


async def test_trap_6_a_write_that_takes_too_long_costs_the_connection_not_the_peer(monkeypatch):
    limits = replace(QUICK, heartbeat_s=5, silence_s=10, send_base_s=0.3, send_bytes_per_s=1e9)
    async with running(SMALL, LARGE, limits=limits) as (a, b):
        await a.linked()
        await b.linked()
        thaw = freeze(monkeypatch)
        await a.transport.send(b.key, bytes(20_000_000))
        await a.until(lambda seen: "down" in a.links())
        assert "took too long" in a.why()[0]
        await a.connected(0)
        thaw.set()
        await a.linked()
        await b.until(lambda seen: b.links() == ["up", "down", "up"])
        await a.transport.send(b.key, b"again")
        await b.until(lambda seen: b.frames() == [b"again"])
        await a.connected(1)
        await b.connected(1)


async def test_trap_7_a_silent_peer_is_noticed_and_left_at_once(monkeypatch):
    async with running(SMALL, LARGE) as (a, b):
        await a.linked()
        await b.linked()
        thaw = freeze(monkeypatch)
        for peer in (a, b):
            await peer.until(lambda seen, peer=peer: "down" in peer.links())
        # both are frozen: the first to notice cuts, and the other may see that before its own time
        assert any("nothing was heard for 1 s" in peer.why()[0] for peer in (a, b))
        thaw.set()
        await a.linked()
        await b.linked()
        await trio.sleep(1.5)  # an idle link lives by its heartbeats
        assert a.links() == ["up", "down", "up"]


async def test_trap_8_a_failed_dial_is_forgotten_before_the_next():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: dials are refused
        port = held.getsockname()[1]
        async with running(SMALL) as (a,):
            a.transport.seek({key_of(LARGE): [f"/ip4/127.0.0.1/tcp/{port}"]})
            await trio.sleep(1)
            assert a.seen == []
            held.close()
            b = Peer(
                Libp2pTransport(LARGE, f"/ip4/127.0.0.1/tcp/{port}", everybody, QUICK),
                key_of(LARGE),
            )
            async with trio.open_nursery() as nursery:
                await nursery.start(b.transport.run, b.deliver)
                await a.linked()  # libp2p alone would not dial for a minute
                nursery.cancel_scope.cancel()


async def test_trap_12_two_peers_that_seek_each_other_make_one_connection():
    async with running(*SEEDS[:4]) as peers:
        for peer in peers:
            await peer.until(lambda seen: len(seen) == 3)
        await trio.sleep(0.3)
        assert [peer.links() for peer in peers] == [["up"] * 3] * 4
        assert [peer.connections() for peer in peers] == [3] * 4


async def test_trap_12_a_larger_key_that_dials_is_refused():
    async with running(SMALL) as (a,), bare_host(LARGE) as host, trio.open_nursery() as nursery:
        silent = await nursery.start(trio.serve_tcp, lambda stream: trio.sleep_forever(), 0)
        port = silent[0].socket.getsockname()[1]
        a.transport.seek({key_of(LARGE): [f"/ip4/127.0.0.1/tcp/{port}"]})  # so a is dialling
        connected = False
        with suppress(SwarmException, MultiselectClientError), trio.fail_after(3):
            connection = await dial(host, a)
            await open_frames(host, connection)
            connected = True
        await trio.sleep(0.2)
        assert (connected, a.links()) == (False, [])
        nursery.cancel_scope.cancel()


async def test_a_larger_key_may_call_where_its_address_leads_nowhere():
    """It has moved, and this peer knows only where it was."""
    async with running(SMALL) as (a,), bare_host(LARGE) as host:
        a.transport.seek({key_of(LARGE): ["/ip4/127.0.0.1/tcp/1"]})
        await trio.sleep(0.3)
        await open_frames(host, await dial(host, a))
        await a.linked()


async def test_a_second_connection_of_a_peer_takes_the_place_of_the_first():
    async with running(LARGE) as (b,), bare_host(SMALL) as host:
        first = await dial(host, b)
        await open_frames(host, first)
        await b.linked()
        second = await dial(host, b)
        stream = await open_frames(host, second)
        await stream.write(header(2) + b"hi")
        await b.until(lambda seen: b.frames() == [b"hi"])
        assert b.links() == ["up", "down", "up"]
        await b.connected(1)


async def test_a_member_cannot_gather_connections_by_opening_no_stream():
    async with running(LARGE) as (b,), bare_host(SMALL) as host:
        for _ in range(4):
            await dial(host, b)
        await b.connected(1)


async def test_a_frame_that_is_announced_too_long_cuts_the_link_and_says_so():
    limits = replace(QUICK, max_frame_bytes=1000)
    async with running(LARGE, limits=limits) as (b,), bare_host(SMALL) as host:
        stream = await open_frames(host, await dial(host, b))
        await stream.write(header(3) + b"abc" + header(2**32 - 1))
        await b.until(lambda seen: len(seen) == 3)
        assert b.frames() == [b"abc"]
        assert "4294967295" in b.why()[0]


# ---- the port


async def test_trap_10_a_port_in_use_is_one_clear_error_even_if_its_owner_would_share_it():
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        transport = Libp2pTransport(SMALL, f"/ip4/127.0.0.1/tcp/{port}", everybody)
        with (
            pytest.raises(TransportError, match=f"port {port} is in use") as caught,
            trio.fail_after(3),
        ):
            await transport.run(lambda delivery: trio.sleep(0))
        assert caught.value.fix


async def test_trap_10_nobody_can_share_the_port_of_a_running_peer():
    async with running(SMALL) as (a,):
        address = parse(a.addresses[0])
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            with pytest.raises(OSError, match="in use"):
                other.bind((address.host, address.port))


@pytest.mark.parametrize(
    ("listen", "problem"),
    [
        ("/ip4/192.0.2.1/tcp/0", "not an address of this machine"),
        ("/ip4/300.1.1.1/tcp/0", "cannot be listened on"),
    ],
)
async def test_an_address_that_cannot_be_used_is_one_clear_error(listen, problem):
    with pytest.raises(TransportError, match=problem), trio.fail_after(3):
        await Libp2pTransport(SMALL, listen, everybody).run(lambda delivery: trio.sleep(0))


# ---- processes


@pytest.mark.parametrize(
    ("survivor", "victim"),
    [(SMALL, LARGE), (LARGE, SMALL)],
    ids=str.split("survivor-dials victim-dials"),
)
async def test_a_killed_peer_is_noticed_and_linked_again_when_it_comes_back(survivor, victim):
    patient = replace(QUICK, silence_s=60)  # so nothing but the closed socket tells of it
    async with running(survivor, limits=patient) as (peer,):
        with lone_peer(victim, LOOPBACK, peer, patient) as process:
            address = (await trio.to_thread.run_sync(process.stdout.readline)).strip()
            peer.transport.seek({key_of(victim): [address]})
            await peer.linked()
            await peer.transport.send(key_of(victim), b"one")
            await peer.until(lambda seen: peer.frames() == [b"echo:one"])
            os.kill(process.pid, signal.SIGKILL)
            await peer.until(lambda seen: peer.links() == ["up", "down"])
            errors = (await trio.to_thread.run_sync(process.communicate))[1]
        with lone_peer(victim, address.split("/p2p/")[0], peer, patient) as process:
            await peer.until(lambda seen: peer.links() == ["up", "down", "up"], within_s=20)
            await peer.transport.send(key_of(victim), b"two")
            await peer.until(lambda seen: peer.frames()[-1] == b"echo:two")
            assert (await trio.to_thread.run_sync(process.stdout.readline)).strip() == address
        assert errors == ""  # libp2p said nothing on standard error


async def test_trap_7_a_frozen_process_is_cut_without_waiting_for_it():
    async with running(SMALL) as (peer,):
        with lone_peer(LARGE, LOOPBACK, peer) as process:
            address = (await trio.to_thread.run_sync(process.stdout.readline)).strip()
            peer.transport.seek({key_of(LARGE): [address]})
            await peer.linked()
            os.kill(process.pid, signal.SIGSTOP)
            with trio.fail_after(5):  # libp2p's own way waits for 20 s
                await peer.transport.disconnect(key_of(LARGE), "tired of it")
                await peer.until(lambda seen: peer.why() == ["tired of it"])
                await peer.connected(0)
            await trio.sleep(0.5)
            os.kill(process.pid, signal.SIGCONT)
            await peer.linked()
            os.kill(process.pid, signal.SIGSTOP)
            await peer.until(lambda seen: len(peer.why()) == 2)
            os.kill(process.pid, signal.SIGCONT)
            await peer.linked()


async def test_libp2p_leaves_the_log_of_the_program_alone():
    handlers = list(logging.getLogger().handlers)
    async with running(SMALL, LARGE) as (a, b):
        await a.linked()
        await a.transport.disconnect(b.key, "done")
        await trio.sleep(0.3)
    assert logging.getLogger().handlers == handlers
    assert not logging.getLogger("libp2p.network.swarm").isEnabledFor(logging.ERROR)


# ---- what the tests do to the library


def freeze(monkeypatch) -> trio.Event:
    """Have no socket of this process read anything until the event is set; old ones stay dumb."""
    thaw = trio.Event()
    original = Socket.read

    async def read(self: Socket, n: int | None = None) -> bytes:
        data = await original(self, n)
        if not thaw.is_set() or getattr(self, "frozen", False):
            self.frozen, data = True, b""
            while self.stream.socket.fileno() != -1:
                await trio.sleep(0.02)
        return data

    monkeypatch.setattr(Socket, "read", read)
    return thaw


def hurry_yamux(monkeypatch) -> None:
    """Have a libp2p sender give up on a receiver after 0.5 s rather than 5 s."""

    class Hurried:
        def __getattr__(self, name: str):
            return getattr(trio, name)

        @staticmethod
        def move_on_after(seconds: float):
            return trio.move_on_after(seconds / 10)

    monkeypatch.setattr(yamux, "trio", Hurried())
