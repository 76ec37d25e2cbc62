"""The log of a run in which all nodes hold one model: lines for few peers, tables for many."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....crypto.identity import short_id
from ....gossip.events import BudgetSpent, Event, PeerStarted, Released
from ...event_tables import EventTables
from ...world import World
from .chronicle import Sink
from .tape import Nodes
from .workers import Trained


class CentralLog:
    """Takes down one event of many nodes at a time, in ``tables``, or else as lines in ``sink``."""

    def __init__(self, world: World, tables: EventTables | None, sink: Sink) -> None:
        self._names = [certificate.name for certificate in world.certificates]
        self.ids = [short_id(certificate.verify_key) for certificate in world.certificates]
        self._network = world.network.network_id.hex()
        self._sink = sink
        self._tables = tables
        self._stopped: set[int] = set()

    @property
    def is_lines(self) -> bool:
        """Whether single events are written, with what costs more than a round of many peers."""
        return self._tables is None

    def began(self, parameters: int) -> None:
        """All peers start."""
        nodes = np.arange(len(self._names))
        self.note(
            PeerStarted,
            0.0,
            nodes,
            id=self.ids,
            index=nodes.tolist(),
            round=1,
            sequence=0,
            network=self._network,
            parameters=parameters,
        )

    def note(self, kind: type[Event], time: float, nodes: Nodes, **fields: Any) -> None:
        """An event of each of ``nodes`` (n,); a list holds a value a node, all else is theirs."""
        if self._tables is not None:
            self._tables.append(kind, time=time, peer=nodes, **fields)
            return
        for i, node in enumerate(nodes.tolist()):
            own = {
                name: value[i] if isinstance(value, list) else value
                for name, value in fields.items()
            }
            self._sink(time, self._names[node], kind(**own))

    def engine(self, time: float, event: Event) -> None:
        """What the engine says about all peers."""
        self._sink(time, "", event)

    def released(self, time: float, nodes: Nodes, trained: Trained) -> None:
        """What came of the training of ``nodes`` (n,)."""
        for i, why in trained.stopped.items():
            node = int(nodes[i])
            if node not in self._stopped:
                self._stopped.add(node)
                event = trained.released[i]
                self.note(
                    BudgetSpent,
                    time,
                    nodes[i : i + 1],
                    round=event.round,
                    epsilon=event.epsilon or 0.0,
                    delta=event.delta or 0.0,
                    why=why,
                )
        alike: dict[int, list[int]] = {}
        for i, event in enumerate(trained.released):
            alike.setdefault(id(event), []).append(i)
        for rows in alike.values():
            fields = trained.released[rows[0]].as_fields()
            del fields["event"]
            self.note(Released, time, nodes[rows], **fields)

    def close(self) -> None:
        """Put away what is still held."""
        if self._tables is not None:
            self._tables.close()
