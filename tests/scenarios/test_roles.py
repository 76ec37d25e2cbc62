"""In a mixed network the two ends of every edge share a transport."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.gossip.rules import TopologyRule
from tidings.gossip.topology import Topology
from tidings.scenarios.roles import roles_of

SPEAKS = {"mqtt": {"mqtt"}, "libp2p": {"libp2p"}, "gateway": {"mqtt", "libp2p"}}
KINDS = ["none", "ring", "complete", "random-regular", "exponential", "one-peer-exponential"]


def graph(kind: str, nodes: int) -> Topology:
    return Topology(TopologyRule.model_validate({"kind": kind, "nodes": nodes, "degree": 2}))


@given(st.sampled_from(KINDS), st.integers(3, 40))
def test_the_ends_of_every_edge_share_a_transport(kind: str, nodes: int) -> None:
    topology = graph(kind, nodes)
    roles = roles_of(topology)
    assert len(roles) == nodes
    for node in range(nodes):
        for other in topology.all_neighbours(node):
            assert SPEAKS[roles[node]] & SPEAKS[roles[other]]
    assert roles.count("mqtt") <= nodes // 2


@pytest.mark.parametrize(
    ("kind", "nodes"), [("ring", 10), ("exponential", 10), ("exponential", 33)]
)
def test_there_are_all_three_kinds_where_the_graph_allows_it(kind: str, nodes: int) -> None:
    assert set(roles_of(graph(kind, nodes))) == {"mqtt", "libp2p", "gateway"}


def test_half_of_a_ring_are_boards() -> None:
    roles = roles_of(graph("ring", 10))
    assert roles == ["mqtt"] * 5 + ["gateway"] + ["libp2p"] * 3 + ["gateway"]


def test_in_a_complete_graph_who_is_no_board_is_a_gateway() -> None:
    assert roles_of(graph("complete", 4)) == ["mqtt", "mqtt", "gateway", "gateway"]
