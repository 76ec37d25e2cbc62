"""Rules whose graph cannot do what they promise are refused when they are read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tidings.gossip.demands import neighbours_needed
from tidings.gossip.robust import robust_mix
from tidings.gossip.rules import Rules, TopologyRule

EDGES = [[0, 1], [1, 2], [2, 3]]


def rules(averaging: str, topology: dict[str, Any], **more: Any) -> Rules:
    pace = "asynchronous" if averaging == "pairwise" else "synchronous"
    plain = {"averaging": averaging, "compression": "none", "pace": pace}
    graph = {"nodes": 4} | topology
    return Rules.model_validate(plain | more | {"topology": graph})


@pytest.mark.parametrize(
    ("averaging", "topology"),
    [
        ("push-sum", {"kind": "exponential"}),
        ("push-sum", {"kind": "directed-edges", "edges": [*EDGES, [3, 0], [1, 0]]}),
        ("relay", {"kind": "star"}),
        ("relay", {"kind": "path"}),
        ("relay", {"kind": "binary-tree"}),
        ("relay", {"kind": "edges", "edges": EDGES}),
        ("pairwise", {"kind": "ring"}),
    ],
)
def test_graphs_that_fit(averaging: str, topology: dict[str, Any]) -> None:
    assert rules(averaging, topology).averaging == averaging


@pytest.mark.parametrize(
    ("averaging", "topology", "more", "told"),
    [
        ("relay", {"kind": "ring"}, {}, "needs a tree.*4 edges for 4 nodes.*'binary-tree'"),
        ("relay", {"kind": "edges", "edges": [*EDGES, [3, 0]]}, {}, "needs a tree"),
        ("relay", {"kind": "edges", "edges": EDGES[:2]}, {}, "reach all others"),
        ("relay", {"kind": "exponential"}, {}, "directed"),
        ("relay", {"kind": "base"}, {}, "changes"),
        ("relay", {"kind": "star"}, {"pace": "asynchronous"}, "pace 'synchronous'"),
        ("pairwise", {"kind": "exponential"}, {}, "directed"),
        ("pairwise", {"kind": "random-matching"}, {}, "changes; try 'random-regular'"),
        ("pairwise", {"kind": "ring"}, {"pace": "synchronous"}, "pace 'asynchronous'"),
        ("pairwise", {"kind": "none", "nodes": 1}, {}, "two nodes"),
        ("push-sum", {"kind": "one-peer-exponential"}, {}, "changes"),
        ("push-sum", {"kind": "directed-edges", "edges": EDGES}, {}, "reach all others"),
        ("push-sum", {"kind": "ring"}, {"compression": "int8"}, "needs compression = 'none'"),
        ("push-sum", {"kind": "ring"}, {"mixing": "feedback"}, "needs mixing = 'restart'"),
        ("push-sum", {"kind": "ring"}, {"weighting": "samples"}, "needs weighting = 'uniform'"),
        ("relay", {"kind": "star"}, {"robust": "median"}, "needs robust = 'none'"),
        ("relay", {"kind": "star"}, {"optimiser": "k-gt"}, "choose 'sgd'"),
        ("public-copies", {"kind": "directed-edges", "edges": EDGES}, {}, "'push-sum'"),
    ],
)
def test_what_does_not_fit_is_refused(
    averaging: str, topology: dict[str, Any], more: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValidationError, match=told):
        rules(averaging, topology, **more)


@pytest.mark.parametrize("optimiser", ["k-gt", "beer"])
def test_gradients_are_not_tracked_without_a_common_pace(optimiser: str) -> None:
    with pytest.raises(ValidationError, match="corrections sum up to 0 only"):
        Rules.model_validate({"optimiser": optimiser, "pace": "asynchronous"})


# -- robust rules --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("robust", "byzantine", "topology", "fewest"),
    [
        ("clipped-sum", 1, {"kind": "ring", "nodes": 8}, 2),
        ("clipped-gossip", 2, {"kind": "random-regular", "nodes": 8, "degree": 4}, 4),
        ("nearest", 1, {"kind": "one-peer-exponential", "nodes": 8}, 1),
        ("median", 2, {"kind": "barabasi-albert", "nodes": 4, "edges": EDGES}, 1),
        ("trimmed-mean", 1, {"kind": "star", "nodes": 5}, 1),
    ],
)
def test_a_robust_rule_with_too_few_neighbours_is_refused(
    robust: str, byzantine: int, topology: dict[str, Any], fewest: int
) -> None:
    settings = {"robust": robust, "byzantine": byzantine, "topology": topology}
    with pytest.raises(ValidationError, match=f"gives some node {fewest}; choose a graph"):
        Rules.model_validate(settings)


def test_a_robust_rule_with_enough_neighbours_is_not() -> None:
    for settings in (
        {"robust": "median", "topology": {"kind": "ring", "nodes": 8}},
        {"robust": "clipped-sum", "topology": {"kind": "random-regular", "nodes": 8, "degree": 3}},
        {"robust": "balance", "topology": {"kind": "ring", "nodes": 8}},
        {"robust": "nearest", "byzantine": 0, "topology": {"kind": "ring", "nodes": 8}},
        {"robust": "nearest", "topology": {"kind": "barabasi-albert", "nodes": 8}},  # not yet drawn
    ):
        assert Rules.model_validate(settings).robust == settings["robust"]


@pytest.mark.parametrize("rule", ["clipped-sum", "trimmed-mean", "median"])
@pytest.mark.parametrize("b", [1, 2])
def test_one_neighbour_less_would_break_the_promise(rule: Any, b: int) -> None:
    """With as many as are asked for, ``b`` liars far away move a peer no farther than the honest
    are apart, and the honest are heard; with one fewer it is either steered or deaf.
    """
    rules = Rules(robust=rule, byzantine=b, topology=TopologyRule(kind="none"))

    def moved(neighbours: int, honest: float) -> float:
        copies = np.full((neighbours, 1), honest, dtype=np.float32)
        copies[:b] = 1e6
        weights = np.full(neighbours, 1 / (1 + neighbours), dtype=np.float32)
        own = np.zeros(1, dtype=np.float32)
        return float(robust_mix(rules, own, own, copies, weights, 1.0, 1)[0][0])

    needed = neighbours_needed(rule, b)
    assert 0 <= moved(needed, 0.1) <= 0.1 * needed
    short = moved(needed - 1, 0.1)
    assert short > 1e3 or short == 0


@pytest.mark.parametrize(
    ("rules", "instead"),
    [
        ({"optimiser": "qg-dsgdm"}, "mixing 'feedback', or optimiser 'sgd'"),
        ({"optimiser": "beer"}, "mixing 'feedback', or optimiser 'sgd'"),
        ({"optimiser": "sgd", "compression": "low-rank"}, "mixing 'feedback', or compression"),
    ],
)
def test_choco_is_refused_where_it_diverges(rules: dict[str, str], instead: str) -> None:
    with pytest.raises(ValueError, match=instead):
        Rules.model_validate({"mixing": "choco", **rules})
