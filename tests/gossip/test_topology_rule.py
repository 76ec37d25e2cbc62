from __future__ import annotations

import pytest
from pydantic import ValidationError

from tests.gossip.graph_kit import made
from tidings.crypto.errors import ConfigError
from tidings.gossip.rules import Rules
from tidings.gossip.topology_rule import TopologyRule, torus_sides


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"kind": "hypercube", "nodes": 12}, "8 or 16, not 12"),
        ({"kind": "torus", "nodes": 13}, "13 is prime; take 14"),
        ({"kind": "random-regular", "nodes": 4}, "degree 4 needs more than 4 nodes"),
        ({"kind": "random-regular", "nodes": 7, "degree": 3}, "must be even"),
        ({"kind": "watts-strogatz", "nodes": 9, "degree": 3}, "is even"),
        ({"kind": "barabasi-albert", "nodes": 2}, "degree 2 needs more than 2 nodes"),
        ({"kind": "epidemic", "nodes": 3, "degree": 3}, "degree 3 needs more than 3 nodes"),
        ({"kind": "edges", "nodes": 3}, "needs a list of edges"),
        ({"kind": "edges", "nodes": 3, "edges": [[0, 3]]}, "must join two different nodes"),
        ({"kind": "edges", "nodes": 3, "edges": [[1, 1]]}, "must join two different nodes"),
        ({"kind": "edges", "nodes": 3, "edges": [[0, 1]], "file": "g"}, "instead of 'edges'"),
        ({"kind": "ring", "nodes": 3, "file": "g"}, "goes with kind 'edges'"),
        ({"kind": "ring", "nodes": 3, "edges": [[0, 1]]}, "makes its own edges"),
        ({"kind": "complete", "nodes": 10_000}, "99990000 links"),
        ({"kind": "small-world", "nodes": 3}, "Input should be"),
    ],
)
def test_a_graph_that_does_not_exist_is_refused(settings: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        TopologyRule.model_validate(settings)


def test_what_is_left_out_is_chosen() -> None:
    def degree(kind: str, nodes: int = 20) -> int:
        return TopologyRule.model_validate({"kind": kind, "nodes": nodes}).chosen_degree

    kinds = ["random-regular", "base", "epidemic", "watts-strogatz", "barabasi-albert"]
    assert [degree(kind) for kind in kinds] == [4, 1, 2, 4, 2]
    assert [degree("erdos-renyi", n) for n in (1, 2, 20, 10_000)] == [0, 1, 6, 19]
    assert TopologyRule(kind="base", degree=3).chosen_degree == 3
    assert [TopologyRule(nodes=n).chosen_period for n in (1, 2, 16, 17)] == [2, 2, 8, 10]
    assert TopologyRule(period=99).chosen_period == 99


def test_tori_are_as_square_as_can_be() -> None:
    assert [torus_sides(n) for n in (1, 4, 12, 16, 32, 64, 13)] == [
        (1, 1),
        (2, 2),
        (3, 4),
        (4, 4),
        (4, 8),
        (8, 8),
        (1, 13),
    ]


def test_what_libraries_draw_is_drawn_beforehand() -> None:
    # not by each peer with its own release of networkx
    with pytest.raises(ConfigError, match="has still to be drawn"):
        made("watts-strogatz", 10)
    with pytest.raises(ConfigError, match="has still to be drawn"):
        made("edges", 10, file="campus.graphml")
    drawn = made("barabasi-albert", 3, edges=[[0, 1], [1, 2]])
    assert drawn.in_neighbours(1, 4) == (0, 2)


@pytest.mark.parametrize("kind", ["exponential", "one-peer-exponential", "epidemic"])
def test_a_directed_graph_is_not_weighted_by_samples(kind: str) -> None:
    settings = {"weighting": "samples", "topology": {"kind": kind}}
    with pytest.raises(ValidationError, match="neighbours that hear each other"):
        Rules.model_validate(settings)
    Rules.model_validate(settings | {"topology": {"kind": "base"}})
