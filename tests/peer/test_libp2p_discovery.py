"""Peers find each other by mDNS and bootstrap peers, and link with those that they seek alone."""

from __future__ import annotations

import socket

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.peer.libp2p_kit import LARGE, LOOPBACK, QUICK, SEEDS, SMALL, Peer, everybody, key_of
from tidings.crypto.errors import TransportError
from tidings.crypto.identity import libp2p_peer_id
from tidings.peer.transports.addresses import parse
from tidings.peer.transports.discovery import Discovery
from tidings.peer.transports.libp2p.mdns import announced, mdns
from tidings.peer.transports.libp2p.transport import Libp2pTransport


@pytest.fixture
def anyio_backend():
    return "trio"


def made(seed: bytes, discovery: Discovery, accept=everybody, listen: str = LOOPBACK) -> Peer:
    return Peer(Libp2pTransport(seed, listen, accept, QUICK, discovery=discovery), key_of(seed))


def line(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


@given(st.binary(max_size=300))
def test_any_text_records_give_addresses_or_nothing(text: bytes) -> None:
    for key, where in announced(text).items():
        assert len(key) == 32
        assert all(parse(address).peer_id for address in where)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=50))
def test_what_is_announced_is_heard_among_rubbish(key: bytes, rubbish: bytes) -> None:
    address = f"/ip4/192.0.2.7/tcp/4001/p2p/{libp2p_peer_id(key)}"
    useless = [
        "dnsaddr=/ip4/0.0.0.0/tcp/1/p2p/" + libp2p_peer_id(key),
        "dnsaddr=/ip4/192.0.2.8/tcp/1",
        "dnsaddr=/ip4/192.0.2.8/udp/1/quic-v1/p2p/" + libp2p_peer_id(key),
        "id=x",
    ]
    head = b"".join(map(line, useless)) + bytes([len(rubbish)]) + rubbish
    assert announced(head + line("dnsaddr=" + address)) == {key: (address,)}


@pytest.mark.anyio
async def test_trap_mdns_refuses_to_announce_what_nobody_can_dial() -> None:
    peer = made(SMALL, Discovery(mdns=True), listen="/ip4/0.0.0.0/tcp/0")
    with trio.fail_after(5):
        with pytest.raises(TransportError, match="cannot dial"):
            await peer.transport.run(peer.deliver)


def multicast_works() -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.setsockopt(
                socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1")
            )
            probe.sendto(b"", ("224.0.0.251", 5353))
        except OSError:
            return False
    return True


needs_multicast = pytest.mark.skipif(not multicast_works(), reason="no multicast on loopback")


@needs_multicast
@pytest.mark.anyio
async def test_callbacks_of_mdns_come_in_the_event_loop() -> None:
    heard: dict[bytes, tuple[str, ...]] = {}
    here: list[object] = []

    def found(key: bytes, where: tuple[str, ...]) -> None:
        here.append(trio.lowlevel.current_task())  # raises in another thread
        heard[key] = where

    address, other = (
        f"/ip4/127.0.0.1/tcp/4001/p2p/{libp2p_peer_id(key_of(seed))}" for seed in SEEDS[7:9]
    )
    with trio.fail_after(15):
        async with mdns([address], "a" * 32, found), mdns([other], "b" * 32, found):
            while not {key_of(seed) for seed in SEEDS[7:9]} <= heard.keys():
                await trio.sleep(0.05)
    assert [heard[key_of(seed)] for seed in SEEDS[7:9]] == [(address,), (other,)]


@needs_multicast
@pytest.mark.anyio
async def test_a_sought_peer_without_an_address_is_found_by_mdns_and_no_other_is_linked() -> None:
    stranger = key_of(SEEDS[5])

    def members(key: bytes) -> bool:
        return key != stranger

    on = Discovery(mdns=True)
    a, b = made(SMALL, on, members), made(LARGE, on, members)
    unsought, outside = made(SEEDS[4], on, members), made(SEEDS[5], on)
    a.transport.seek({b.key: []})
    b.transport.seek({a.key: []})
    outside.transport.seek({a.key: [], b.key: []})
    async with trio.open_nursery() as nursery:
        for peer in (a, b, unsought, outside):
            nursery.start_soon(peer.transport.run, peer.deliver)
        await a.linked(within_s=15)
        await b.linked()
        await trio.sleep(2)
        assert {d.peer for d in a.seen} == {b.key}
        assert {d.peer for d in b.seen} == {a.key}
        assert unsought.seen == outside.seen == []
        assert stranger not in a.transport._found
        nursery.cancel_scope.cancel()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("newcomer", "known"), [(SMALL, LARGE), (LARGE, SMALL)], ids=["smaller", "larger"]
)
async def test_a_bootstrap_peer_is_linked_that_does_not_know_the_newcomer(newcomer, known) -> None:
    """Whichever of the keys is the smaller, and whatever else is sought afterwards."""
    old = made(known, Discovery())
    async with trio.open_nursery() as nursery:
        old.addresses = await nursery.start(old.transport.run, old.deliver)
        new = made(newcomer, Discovery(bootstrap=tuple(old.addresses)))
        await nursery.start(new.transport.run, new.deliver)
        await new.linked()
        await old.linked()
        new.transport.seek({})
        await old.transport.disconnect(new.key, "again")
        await new.until(lambda seen: new.links() == ["up", "down", "up"])
        await trio.sleep(0.5)
        assert old.links() == new.links() == ["up", "down", "up"]
        nursery.cancel_scope.cancel()


@pytest.mark.anyio
async def test_two_that_are_bootstrap_peers_of_each_other_make_one_connection() -> None:
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    listens = [f"/ip4/127.0.0.1/tcp/{port}" for port in ports]
    full = [
        f"{listen}/p2p/{libp2p_peer_id(key_of(seed))}"
        for listen, seed in zip(listens, (SMALL, LARGE), strict=True)
    ]
    a = made(SMALL, Discovery(bootstrap=(full[1],)), listen=listens[0])
    b = made(LARGE, Discovery(bootstrap=(full[0],)), listen=listens[1])
    async with trio.open_nursery() as nursery:
        for peer in (a, b):
            await nursery.start(peer.transport.run, peer.deliver)
        await a.linked()
        await b.linked()
        await trio.sleep(1)
        assert a.links() == b.links() == ["up"]
        assert (a.connections(), b.connections()) == (1, 1)
        nursery.cancel_scope.cancel()


def test_a_bootstrap_address_must_say_whose_it_is() -> None:
    with pytest.raises(TransportError, match="whose it is"):
        made(SMALL, Discovery(bootstrap=("/ip4/192.0.2.7/tcp/4001",)))
