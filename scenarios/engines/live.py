"""The `live` engine: every peer with its real transport on loopback.

Each peer has a folder like any peer of the real world (town.py). All run in one process, or, with
``processes``, each as `tidings peer run` in a process of its own. Either way the engine knows of
them only what their event logs say.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import anyio
import numpy as np

from ...gossip.events import Event
from ...peer.clock import monotonic_time
from ...peer.folder import PeerFolder
from ...peer.node import root_cause
from ..faults import Crash
from ..follow import Follower
from ..network.namespaces import HostNetwork
from ..network.switch import Switch
from ..run_log import LogLine
from ..scenario import Scenario
from ..tally import Tally
from .one_process import run_together
from .processes import fault_plan, run_processes
from .town import prepare, reopen

DAY_S = 86_400.0
Watch = Callable[[LogLine], None]


def run_live(
    scenario: Scenario,
    folder: Path,
    watch: Watch,
    note: Callable[[Event], None],
    *,
    processes: bool = False,
    resume: bool = False,
) -> str:
    """Run `scenario` in `folder` until all peers have finished; says how it ended.

    ``watch`` sees what the peers log, ``note`` writes down what the engine does to them. With
    ``resume`` the peers carry on that were stopped there.

    Raises any TidingsError of a peer's, and KeyboardInterrupt when it was stopped.
    """
    network = _network(scenario) if processes and scenario.faults.asked_for else None
    town = (reopen if resume else prepare)(scenario, folder, network)
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


def _network(scenario: Scenario) -> HostNetwork:
    """Hosts for the peers, and one for a broker, with the scenario's faults between them."""
    return HostNetwork(scenario.peers + 1, _switch(scenario))


def _switch(scenario: Scenario) -> Switch:
    rng = np.random.default_rng([scenario.seed, 0x5117C4])
    return Switch(scenario.faults.with_broker(scenario.peers), rng.random)


def _crashes(scenario: Scenario) -> list[Crash]:
    rng = np.random.default_rng([scenario.seed, 0xDEAD])
    return scenario.faults.all_crashes(scenario.peers, DAY_S, rng.random)


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
