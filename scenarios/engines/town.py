"""The peers of a live run on the disk: their network, a folder for each, and their broker.

Made as `tidings network create`, `tidings peer init` and `tidings network admit` make them, or
found again as a run that was stopped has left them.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from ...crypto.files import make_folder, write_atomic
from ...crypto.identity import Identity, libp2p_peer_id
from ...crypto.membership import JoinRequest
from ...crypto.network import NetworkAdmin
from ...gossip.topology import Topology
from ...peer.admission import Admission
from ...peer.assembly import describe_model, with_shapes
from ...peer.config import PeerConfig
from ...peer.folder import PeerFolder
from ...peer.foresight import foresee_costs
from ...peer.learners.spec import NPZ, build_model
from ...peer.upkeep import WHOLE
from ..brokers import LOOPBACK, Broker, as_it_is, make_broker
from ..network.namespaces import HostNetwork
from ..roles import roles_of
from ..scenario import Scenario
from ..world import shares_of

PeerTransport = Literal["libp2p", "mqtt", "gateway", "memory"]
BROKERED = frozenset({"mqtt", "gateway"})
PORT = 4001  # of peers that have a host of their own


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """The peers' folders, and the broker that they need."""

    folders: list[PeerFolder]
    broker: Broker | None


def prepare(scenario: Scenario, folder: Path, network: HostNetwork | None = None) -> Town:
    """Make the network and a folder for each peer, with its share of the data.

    Peers listen on loopback, or on their hosts in ``network``.
    """
    model = build_model(scenario.learner)
    rules = with_shapes(scenario.rules, model)
    admin = NetworkAdmin.create(
        folder / "network",
        scenario.name,
        rules.model_dump(mode="json"),
        describe_model(model, scenario.seed, rules),
    )
    identities = [Identity.generate() for _ in range(scenario.peers)]
    names = scenario.names()
    certificates = [
        admin.admit(JoinRequest.make(name, identity), max_nodes=scenario.peers)
        for name, identity in zip(names, identities, strict=True)
    ]
    with _free_ports(scenario.peers + 1) as ports:
        addresses = [f"/ip4/127.0.0.1/tcp/{port}" for port in ports]
    if network is not None:
        addresses = [f"/ip4/{network.address(i)}/tcp/{PORT}" for i in range(scenario.peers)]
    broker = None
    topology = Topology(scenario.rules.topology)
    roles = _roles(scenario, topology)
    brokered = {name for name, role in zip(names, roles, strict=True) if role in BROKERED}
    if brokered:
        keys = {each.name: each.verify_key for each in certificates if each.name in brokered}
        network_id = admin.network.network_id
        broker = _broker(scenario, folder, network_id, keys, ports[-1], network)
    folders = []
    for index, share in enumerate(shares_of(scenario)):
        peer_path = folder / "peers" / names[index]
        make_folder(peer_path)
        config = PeerConfig(
            name=names[index],
            transport=roles[index],
            listen=addresses[index],
            peers=tuple(
                f"{'' if 'mqtt' in (roles[index], roles[other]) else addresses[other]}/p2p/"
                f"{libp2p_peer_id(identities[other].verify_key)}"
                for other in topology.all_neighbours(index)
            ),
            broker=broker.equip(names[index], peer_path)
            if broker and names[index] in brokered
            else None,
            learner=scenario.learner.model_copy(
                update={"dataset": NPZ, "dataset_args": {"path": "data.npz"}}
            ),
            training=scenario.training,
            privacy=scenario.privacy,
            log=WHOLE,
        )
        peer = PeerFolder.create(peer_path, config, identities[index])
        share.save(peer_path / "data.npz")
        peer.join(
            Admission(
                network=admin.network, certificate=certificates[index], bulletin=admin.bulletin
            )
        )
        folders.append(peer)
    _share_costs(folders)
    return Town(folders=folders, broker=broker)


def reopen(scenario: Scenario, folder: Path, network: HostNetwork | None = None) -> Town:
    """The peers of a run that was stopped, as they are; the broker's files are made anew.

    Raises ConfigError when a peer's folder is not there.
    """
    folders = [PeerFolder.open(folder / "peers" / name) for name in scenario.names()]
    brokered = {}
    for peer in folders:
        config = peer.config()
        if config.broker is not None:
            brokered[config.name] = (peer, config.broker)
    broker = None
    if brokered:
        keys = {name: peer.identity().verify_key for name, (peer, _) in brokered.items()}
        network_id = folders[0].admission().network.network_id
        port = urlsplit(next(iter(brokered.values()))[1].url).port
        assert port is not None
        broker = _broker(scenario, folder, network_id, keys, port, network)
        for name, (peer, _) in brokered.items():
            broker.equip(name, peer.path)
    return Town(folders=folders, broker=broker)


def _broker(
    scenario: Scenario,
    folder: Path,
    network_id: bytes,
    members: dict[str, bytes],
    port: int,
    network: HostNetwork | None,
) -> Broker:
    """The broker for ``members`` (name -> verify key), where there are hosts on one of its own."""
    return make_broker(
        scenario.broker,
        folder / "broker",
        network_id,
        members,
        port,
        host=network.address(scenario.peers) if network else LOOPBACK,
        on_host=partial(network.command, scenario.peers) if network else as_it_is,
    )


def _roles(scenario: Scenario, topology: Topology) -> list[PeerTransport]:
    """The transport of each peer."""
    if scenario.transport == "mixed":
        return [*roles_of(topology)]
    return [scenario.transport] * scenario.peers


def _share_costs(folders: list[PeerFolder]) -> None:
    """Work out once what all peers pay alike, so that none has to as it starts."""
    first, *others = folders
    foresee_costs(first)
    if first.costs_file.exists():
        for folder in others:
            write_atomic(folder.costs_file, first.costs_file.read_bytes())


@contextmanager
def _free_ports(count: int) -> Iterator[list[int]]:
    """Ports that nobody listens on; held until the block ends, so that they differ."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        yield [one.getsockname()[1] for one in sockets]
