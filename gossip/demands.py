"""What rules ask of the graph that they are for, as far as it is known when they are read.

A graph that still has to be drawn is looked at once it is. Raises ValueError throughout: what does
not fit, and what to change.
"""

from __future__ import annotations

from typing import Literal

from .graphs.links import is_strongly_connected
from .topology import Topology
from .topology_rule import CHANGING, DIRECTED, TopologyRule

Averaging = Literal["public-copies", "push-sum", "relay", "pairwise"]
RobustRule = Literal[
    "none", "clipped-gossip", "clipped-sum", "nearest", "trimmed-mean", "median", "balance"
]

_LOOKED_AT = 64  # rounds of a graph that changes
TREES = "'binary-tree', 'star', 'path', or 'edges' that form a tree"


_FITTING: dict[Averaging, str] = {
    "push-sum": "'exponential' or 'directed-edges'",
    "relay": TREES,
    "pairwise": "'random-regular'",
}


def check_averaging(averaging: Averaging, pace: str, rule: TopologyRule) -> None:
    """Whether averaging can be done in this graph at this pace."""
    if rule.kind in CHANGING:
        raise ValueError(
            f"averaging '{averaging}' needs a graph that stays the same, and topology "
            f"'{rule.kind}' changes; try {_FITTING[averaging]}"
        )
    if averaging in ("relay", "pairwise") and rule.kind in DIRECTED:
        raise ValueError(
            f"averaging '{averaging}' needs neighbours that hear each other; topology "
            f"'{rule.kind}' is directed (try {_FITTING[averaging]})"
        )
    if (averaging, pace) in (("relay", "asynchronous"), ("pairwise", "synchronous")):
        other = "synchronous" if pace == "asynchronous" else "asynchronous"
        raise ValueError(f"averaging '{averaging}' has the pace '{other}'; set rules.pace to it")
    if averaging == "pairwise" and rule.nodes < 2:
        raise ValueError("averaging 'pairwise' needs two nodes at least, to meet")
    if rule.is_drawn:
        return
    links = Topology(rule).links(1)
    if not is_strongly_connected(links):
        raise ValueError(
            f"averaging '{averaging}' needs a graph in which news of each node reach all others"
        )
    if averaging == "relay" and len(links.senders) != 2 * (rule.nodes - 1):
        raise ValueError(
            f"averaging 'relay' needs a tree, where each model has one way to each node; "
            f"topology '{rule.kind}' has {len(links.senders) // 2} edges for {rule.nodes} nodes "
            f"(try {TREES})"
        )


def neighbours_needed(robust: RobustRule, byzantine: int) -> int:
    """How many neighbours a peer needs for what a robust rule promises.

    Where differences are judged by their lengths, the honest must be the most of the neighbours;
    by coordinate the peer's own value is one of theirs. ``balance`` asks for no number.
    """
    match robust:
        case "none" | "balance":
            return 0
        case "trimmed-mean" | "median":
            return 2 * byzantine
        case _:
            return 2 * byzantine + 1


def check_neighbours(robust: RobustRule, byzantine: int, rule: TopologyRule) -> None:
    """Whether the node that hears the fewest hears enough for the robust rule."""
    needed = neighbours_needed(robust, byzantine)
    if not needed or rule.kind == "none" or rule.nodes == 1 or rule.is_drawn:
        return
    topology = Topology(rule)
    rounds = range(1, min(topology.period, _LOOKED_AT) + 1)
    fewest = min(int(topology.links(round).degrees.min()) for round in rounds)
    if fewest < needed:
        raise ValueError(
            f"robust '{robust}' against byzantine = {byzantine} needs {needed} neighbours in each "
            f"round, and topology '{rule.kind}' gives some node {fewest}; choose a graph with more "
            "of them (such as 'exponential', or 'random-regular' with a higher degree) or a lower "
            "byzantine"
        )
