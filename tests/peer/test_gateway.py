"""A gateway speaks libp2p and MQTT, and keeps every promise of a transport with both."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

from tests.peer.libp2p_kit import LOOPBACK
from tests.peer.libp2p_kit import QUICK as DIRECT
from tests.peer.mqtt_kit import (
    IDENTITIES,
    QUICK,
    Mosquitto,
    Peer,
    everybody,
    free_port,
    make_peer,
    mosquitto,
    running,
)
from tests.peer.peer_folders import small_network
from tidings.crypto.errors import TransportError
from tidings.crypto.identity import Identity
from tidings.gossip.events import Mixed, PeerFinished
from tidings.peer.transports.gateway import GatewayTransport
from tidings.peer.transports.libp2p.transport import Libp2pTransport
from tidings.peer.transports.mqtt.transport import MqttTransport
from tidings.peer.transports.trio_thread import TrioThread
from tidings.scenarios.runner import run_scenario
from tidings.scenarios.scenario import load_scenario

BOARD, GATE, STATION = IDENTITIES[:3]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def direct(identity: Identity, listen: str = LOOPBACK, accept=everybody) -> TrioThread:
    return TrioThread(Libp2pTransport(identity.seed, listen, accept, DIRECT))


def station(identity: Identity, listen: str = LOOPBACK) -> Peer:
    return Peer(direct(identity, listen), identity.verify_key, warnings=[])


def gateway(
    identity: Identity, broker: Mosquitto, listen: str = LOOPBACK, accept=everybody
) -> Peer:
    warnings: list[str] = []
    transport = GatewayTransport(
        lambda accepted: direct(identity, listen, accepted),
        lambda accepted: MqttTransport(
            identity,
            bytes(range(16)),
            broker.settings(identity),
            accepted,
            QUICK,
            warn=warnings.append,
        ),
        accept,
    )
    return Peer(transport, identity.verify_key, warnings=warnings)


def listening() -> str:
    return f"/ip4/127.0.0.1/tcp/{free_port()}"


@pytest.mark.anyio
async def test_a_transport_in_a_thread_carries_frames_whole_and_in_order(tmp_path: Path) -> None:
    home = listening()
    a, b = station(BOARD), station(GATE, home)
    a.transport.seek({b.key: [home]})
    b.transport.seek({a.key: []})
    frames = [bytes([n % 251]) * size for n, size in enumerate([1, 2_000_000, 7000] + [9] * 200)]
    async with running(a, b, seek=False):
        await a.linked()
        await b.linked()
        for one, other in ((a, b), (b, a)):
            for frame in frames:
                await one.transport.send(other.key, frame)
            assert await other.got(len(frames)) == frames
        await a.transport.disconnect(b.key, "for a test")
        await b.until(lambda: b.links() == ["up", "down", "up"])
        assert "for a test" in a.why()
        with pytest.raises(TransportError, match="no link"):
            await a.transport.send(STATION.verify_key, b"x")


@pytest.mark.anyio
async def test_a_board_and_a_workstation_meet_at_a_gateway(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:
        home, station_home = listening(), listening()
        board, far = make_peer(BOARD, broker.settings(BOARD)), station(STATION, station_home)
        middle = gateway(GATE, broker, home)
        board.transport.seek({middle.key: ()})
        far.transport.seek({middle.key: [home]})
        middle.transport.seek({board.key: (), far.key: [station_home]})
        async with running(board, middle, far, seek=False):
            await board.linked()
            await far.linked()
            await middle.until(lambda: middle.links() == ["up", "up"])
            large = os.urandom(1_500_000)
            await board.transport.send(middle.key, large)
            assert await middle.got(1) == [large]
            for other in (board, far):
                await middle.transport.send(other.key, large)
                assert await other.got(1) == [large]
        assert middle.warnings == board.warnings == []


@pytest.mark.anyio
async def test_over_both_roads_there_is_one_link_and_it_is_the_direct_one(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:
        homes = {identity: listening() for identity in (BOARD, GATE)}
        a, b = (gateway(identity, broker, homes[identity]) for identity in (BOARD, GATE))
        a.transport.seek({b.key: ()})
        b.transport.seek({a.key: ()})
        async with running(a, b, seek=False):
            await a.linked()  # over the broker: nobody knows an address
            await b.linked()
            a.transport.seek({b.key: [homes[GATE]]})
            b.transport.seek({a.key: [homes[BOARD]]})
            for peer in (a, b):
                await peer.until(lambda peer=peer: peer.links() == ["up", "down", "up"], 20)
                assert peer.transport._used == {(b if peer is a else a).key: peer.transport._direct}
            await anyio.sleep(0.5)
            assert a.links() == b.links() == ["up", "down", "up"]
            await a.transport.send(b.key, b"directly")
            assert await b.got(1) == [b"directly"]


@pytest.mark.anyio
async def test_who_is_not_accepted_is_refused_on_both_roads(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:
        home = listening()
        board, far = make_peer(BOARD, broker.settings(BOARD)), station(STATION)
        middle = gateway(GATE, broker, home, accept=lambda key: False)
        board.transport.seek({middle.key: ()})
        far.transport.seek({middle.key: [home]})
        middle.transport.seek({board.key: (), far.key: ()})
        async with running(board, middle, far, seek=False):
            await anyio.sleep(1.5)
            assert board.seen == middle.seen == far.seen == []


@pytest.mark.anyio
async def test_it_ends_at_once_and_can_be_started_again(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:
        home = listening()
        for _ in range(3):
            with anyio.fail_after(8):
                async with running(gateway(GATE, broker, home), seek=False):
                    pass


@pytest.mark.anyio
@pytest.mark.parametrize("trouble", ["port", "password"])
async def test_what_cannot_be_used_is_said_and_nothing_hangs(tmp_path: Path, trouble: str) -> None:
    with mosquitto(tmp_path) as broker:
        home = listening()
        first = station(BOARD, home)
        async with running(first, seek=False):
            if trouble == "password":
                broker.passwords[GATE.verify_key] = "wrong"
            peer = gateway(GATE, broker, home if trouble == "port" else LOOPBACK)
            with anyio.fail_after(30), pytest.raises(ExceptionGroup) as raised:
                await peer.transport.run(peer.deliver)
            assert raised.group_contains(TransportError)


@pytest.mark.anyio
async def test_direct_links_do_not_wait_for_a_broker_that_comes_later(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    home, station_home = listening(), listening()
    far, middle = station(STATION, station_home), gateway(GATE, broker, home)
    far.transport.seek({middle.key: [home]})
    middle.transport.seek({BOARD.verify_key: (), far.key: [station_home]})
    async with running(middle, far, seek=False):
        await far.linked()
        await middle.warned("nothing listens there")
        with broker:
            board = make_peer(BOARD, broker.settings(BOARD))
            board.transport.seek({middle.key: ()})
            async with running(board, seek=False):
                await board.linked()
                await middle.until(lambda: middle.links() == ["up", "up"])


def test_a_mixed_network_learns(tmp_path: Path) -> None:
    """A board and a workstation that share no transport get each other's news by a gateway."""
    scenario = load_scenario(
        "quickstart",
        (
            "peers=4",
            "rules.rounds=6",
            'rules.topology={kind="ring"}',
            "privacy.mode=none",
            'learner={kind="softmax", features=64, classes=10}',
        ),
        {"transport": "mixed"},
    )
    seen = []
    (folder,) = run_scenario(scenario, tmp_path / "run", lambda _, line: seen.append(line)).values()
    events = [(line.peer, line.event) for line in seen]
    finished = {peer for peer, event in events if isinstance(event, PeerFinished)}
    assert len(finished) == 4
    last = {p: e for p, e in events if isinstance(e, Mixed) and e.round == 6}
    assert all(len(event.neighbours) == 2 and not event.missing for event in last.values())
    kinds = {
        line.split('"')[1]
        for file in folder.glob("peers/*/peer.toml")
        for line in file.read_text().splitlines()
        if line.startswith("transport")
    }
    assert kinds == {"mqtt", "libp2p", "gateway"}


def test_folders_of_a_mixed_network_name_who_is_reached_how(tmp_path: Path) -> None:
    folders = small_network(tmp_path, "transport=mixed", peers=6)
    for folder in folders:
        config = folder.config()
        assert (config.broker is not None) == (config.transport in ("mqtt", "gateway"))
        if config.transport == "mqtt":
            assert all(address.startswith("/p2p/") for address in config.peers)
        if config.transport == "libp2p":
            assert all(address.startswith("/ip4/") for address in config.peers)
