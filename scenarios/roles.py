"""Who speaks what in a network of two kinds: boards behind a broker, and workstations.

Boards know the broker alone, workstations libp2p alone. An edge between the two needs somebody who
speaks both, so whoever has a board for a neighbour and is none is a gateway: the two ends of
every edge share a transport. As many nodes as can be, up to half, are boards while one
workstation is left; in a dense graph that may be few. Where one board is everybody's neighbour (a
complete graph) the first half are boards and the others gateways.
"""

from __future__ import annotations

from typing import Literal

from ..gossip.topology import Topology

Role = Literal["libp2p", "mqtt", "gateway"]


def roles_of(topology: Topology) -> list[Role]:
    """The transport of each node, by node number."""
    nodes = range(topology.nodes)
    around = [set(topology.all_neighbours(node)) for node in nodes]
    boards: set[int] = set()
    far = set(nodes)  # who is no board, and no board's neighbour
    for node in nodes:
        left = far - {node} - around[node]
        if left and len(boards) < topology.nodes // 2:
            boards.add(node)
            far = left
    if not boards:
        boards, far = set(range(topology.nodes // 2)), set()
    if not boards:
        return ["libp2p"] * topology.nodes
    return ["mqtt" if n in boards else "libp2p" if n in far else "gateway" for n in nodes]
