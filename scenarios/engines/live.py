"""The `live` engine: every peer with its real transport on loopback.

Each peer gets a folder like any peer of the real world, made as `tidings network create`,
`tidings peer init` and `tidings network admit` make it. All run in one process, or, with
``processes``, each as `tidings peer run` in a process of its own. Either way the engine knows of
them only what their event logs say.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import anyio
import numpy as np

from ...crypto.files import make_folder, write_atomic
from ...crypto.identity import Identity, libp2p_peer_id
from ...crypto.membership import JoinRequest
from ...crypto.network import NetworkAdmin
from ...gossip.events import Event
from ...gossip.topology import Topology
from ...peer.admission import Admission
from ...peer.assembly import describe_model
from ...peer.clock import monotonic_time
from ...peer.config import PeerConfig
from ...peer.folder import PeerFolder
from ...peer.foresight import foresee_costs
from ...peer.learners.spec import NPZ, build_model
from ...peer.node import root_cause
from ...peer.upkeep import WHOLE
from ..brokers import LOOPBACK, Broker, as_it_is, make_broker
from ..faults import Crash
from ..follow import Follower
from ..network.namespaces import HostNetwork
from ..network.switch import Switch
from ..roles import roles_of
from ..run_log import LogLine
from ..scenario import Scenario
from ..tally import Tally
from ..world import shares_of
from .one_process import run_together
from .processes import fault_plan, run_processes

PeerTransport = Literal["libp2p", "mqtt", "gateway", "memory"]
BROKERED = frozenset({"mqtt", "gateway"})
PORT = 4001  # of peers that have a host of their own
DAY_S = 86_400.0
Watch = Callable[[LogLine], None]


def run_live(
    scenario: Scenario,
    folder: Path,
    watch: Watch,
    note: Callable[[Event], None],
    *,
    processes: bool = False,
) -> str:
    """Run `scenario` in `folder` until all peers have finished; says how it ended.

    ``watch`` sees what the peers log, ``note`` writes down what the engine does to them.

    Raises any TidingsError of a peer's, and KeyboardInterrupt when it was stopped.
    """
    network = _network(scenario) if processes and scenario.faults.asked_for else None
    town = prepare(scenario, folder, network)
    referee = Referee(scenario, town.folders, watch)
    plan = fault_plan(_crashes(scenario), scenario.faults.cuts)
    with ExitStack() as running:
        if network is not None:
            running.enter_context(network.running())
        if town.broker is not None:
            running.enter_context(town.broker.running())
        if processes:
            return run_processes(town.folders, referee.look, note, network, plan)
        backend = "trio" if scenario.transport == "libp2p" else "asyncio"
        switch = _switch(scenario) if scenario.faults.asked_for else None
        together = partial(
            run_together, scenario.transport, town.folders, referee.look, note, switch, plan
        )
        try:
            outcome = anyio.run(together, backend=backend)
        except BaseExceptionGroup as group:
            raise root_cause(group) from None
    if outcome is None:
        raise KeyboardInterrupt
    return outcome


# -- folders -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """The peers' folders, and the broker that they need."""

    folders: list[PeerFolder]
    broker: Broker | None


def _network(scenario: Scenario) -> HostNetwork:
    """Hosts for the peers, and one for a broker, with the scenario's faults between them."""
    return HostNetwork(scenario.peers + 1, _switch(scenario))


def _switch(scenario: Scenario) -> Switch:
    rng = np.random.default_rng([scenario.seed, 0x5117C4])
    return Switch(scenario.faults.with_broker(scenario.peers), rng.random)


def _crashes(scenario: Scenario) -> list[Crash]:
    rng = np.random.default_rng([scenario.seed, 0xDEAD])
    return scenario.faults.all_crashes(scenario.peers, DAY_S, rng.random)


def prepare(scenario: Scenario, folder: Path, network: HostNetwork | None = None) -> Town:
    """Make the network and a folder for each peer, with its share of the data.

    Peers listen on loopback, or on their hosts in ``network``.
    """
    model = build_model(scenario.learner)
    admin = NetworkAdmin.create(
        folder / "network",
        scenario.name,
        scenario.rules.model_dump(mode="json"),
        describe_model(model, scenario.seed, scenario.rules),
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
        broker = make_broker(
            scenario.broker,
            folder / "broker",
            network_id,
            keys,
            ports[-1],
            host=network.address(scenario.peers) if network else LOOPBACK,
            on_host=partial(network.command, scenario.peers) if network else as_it_is,
        )
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


# -- watching ----------------------------------------------------------------------------------


class Referee:
    """Knows from the event logs when all peers have finished and hold the same copies."""

    def __init__(self, scenario: Scenario, folders: list[PeerFolder], watch: Watch) -> None:
        self._peers = scenario.peers
        self._deadline_s = scenario.rules.deadline_s
        self._follower = Follower([folder.events_file for folder in folders])
        self._tally = Tally()
        self._watch = watch
        self._finished_at: float | None = None

    def look(self) -> str | None:
        """Read what is new; how the run ended, or None while it goes on."""
        for line in self._follower.fresh():
            self._tally.add(line)
            self._watch(line)
        peers = self._tally.peers.values()
        if sum(peer.finished for peer in peers) < self._peers:
            self._finished_at = None
            return None
        if self._finished_at is None:
            self._finished_at = monotonic_time()
        convicted = {author for author, _, _ in self._tally.proofs}
        if self._tally.copies.verdict(self._tally.name_of, convicted).behind == 0:
            return "finished"
        # last words are repaired by the next comparison of heads
        overdue = monotonic_time() - self._finished_at > 3 * self._deadline_s
        return "finished, but some copies stayed behind" if overdue else None
