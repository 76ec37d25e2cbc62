"""A graph as a picture: of a graph that changes, its first rounds side by side.

A line is as wide as its weight; an arrow points from who speaks to who hears. Of very many nodes
the matrix is drawn, a dot where one node hears another.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...gossip.graphs.links import Links
from ...gossip.topology import Topology
from ...gossip.topology_rule import TopologyRule
from ...gossip.weights import link_weights
from ..drawing import BLUE, FAINT, INK, SKY, axes_of, drawing, png
from .layout import Places, places_of
from .naming import name_of

MOST_DRAWN = 1_500  # nodes; above that, lines would be one blot
MOST_PANELS = 12
MOST_NUMBERED = 40
MOST_ARROWS = 400


def picture(rule: TopologyRule) -> bytes:
    """The graph as a PNG. Raises ConfigError without matplotlib."""
    topology = Topology(rule)
    with drawing():
        if rule.nodes > MOST_DRAWN:
            return png(_matrix(rule, topology))
        return png(_panels(rule, topology))


def _panels(rule: TopologyRule, topology: Topology) -> Any:
    import networkx as nx

    graph = nx.Graph()
    graph.add_nodes_from(range(rule.nodes))
    every = topology.all_links()
    graph.add_edges_from(zip(every.receivers.tolist(), every.senders.tolist(), strict=True))
    places = places_of(rule, graph)
    panels = min(topology.period, MOST_PANELS)
    columns = panels if panels <= 4 else min((4, 3), key=lambda many: -panels % many)
    rows = -(-panels // columns)
    side = 6.4 if panels == 1 else 2.7
    title = _title(rule)
    if panels < topology.period:
        title += f", the first {panels} of {topology.period} rounds"
    figure, first = axes_of(title, "", "", width=columns * side, height=rows * side + 0.4)
    if panels > 1:
        first.remove()
        figure.suptitle(title, x=0.02, ha="left", fontsize=12, weight="bold")
    for panel in range(panels):
        axes = first if panels == 1 else figure.add_subplot(rows, columns, panel + 1)
        axes.set_axis_off()
        axes.set_aspect("equal")
        if panels > 1:
            axes.set_title(f"round {panel + 1}", fontsize=10, weight="normal", loc="center", pad=2)
            _draw_lines(axes, places, every, FAINT, np.full(len(every.senders), 0.4))
        _draw_round(axes, rule, places, topology.links(panel + 1), side)
        _draw_nodes(axes, places, side)
        axes.margins(0.1)
    return figure


def _title(rule: TopologyRule) -> str:
    return f"{name_of(rule)}, {rule.nodes} nodes"


def _draw_round(axes: Any, rule: TopologyRule, places: Places, links: Links, side: float) -> None:
    weights = link_weights(links)
    crowded = max(1.0, len(weights) / 200)
    widths = (0.6 + 1.4 * weights / weights.max(initial=1e-9)) / crowded**0.5
    if rule.kind == "torus":
        _draw_torus(axes, places, links)
    elif links.is_symmetric:
        _draw_lines(axes, places, links, BLUE, widths)
    else:
        _draw_arrows(axes, places, links, widths, _area(len(places), side) ** 0.5 / 2)


def _draw_lines(axes: Any, places: Places, links: Links, colour: str, widths: Any) -> None:
    from matplotlib.collections import LineCollection

    once = links.receivers < links.senders if links.is_symmetric else np.s_[:]
    segments = np.stack([places[links.receivers], places[links.senders]], axis=1)[once]
    axes.add_collection(
        LineCollection(list(segments), linewidths=widths[once], colors=colour, zorder=1, alpha=0.8)
    )


def _draw_arrows(axes: Any, places: Places, links: Links, widths: Any, radius: float) -> None:
    if len(links.senders) > MOST_ARROWS:
        _draw_lines(axes, places, links, BLUE, widths)
        return
    ends = zip(links.receivers, links.senders, widths, strict=True)
    for hears, heard, width in ends:
        axes.annotate(
            "",
            places[hears],
            places[heard],
            arrowprops={
                "arrowstyle": "-|>,head_width=0.18,head_length=0.35",
                "color": BLUE,
                "linewidth": width / 2,
                "shrinkA": radius,
                "shrinkB": radius,
                "alpha": 0.8,
                "connectionstyle": "arc3,rad=0.08",
            },
        )


def _draw_torus(axes: Any, places: Places, links: Links) -> None:
    """The lines round the back are drawn as ends that leave the grid."""
    from matplotlib.collections import LineCollection

    near = places[links.receivers]
    step = places[links.senders] - near
    far = np.abs(step) > 1
    step = np.where(far, -0.45 * np.sign(step), step)
    colours = np.where(far.any(axis=1), FAINT, BLUE).tolist()
    segments = np.stack([near, near + step], axis=1)
    axes.add_collection(LineCollection(list(segments), linewidths=2, colors=colours, zorder=1))


def _draw_nodes(axes: Any, places: Places, side: float) -> None:
    n = len(places)
    discs = {"s": _area(n, side), "color": SKY, "edgecolors": INK, "linewidths": 0.8}
    axes.scatter(*places.T, **discs, zorder=2, clip_on=False)
    if n <= (MOST_NUMBERED if side > 3 else 16):
        for node, (x, y) in enumerate(places):
            axes.text(x, y, str(node), ha="center", va="center", fontsize=8 if side > 3 else 6)


def _area(n: int, side: float) -> float:
    """Of a node's disc, in points squared."""
    return min(340.0, max(6.0, 10_000 / n)) if side > 3 else min(110.0, max(4.0, 1_500 / n))


def _matrix(rule: TopologyRule, topology: Topology) -> Any:
    links = topology.links(1)
    title = _title(rule) + ("" if topology.is_static else ", round 1")
    figure, axes = axes_of(title, "heard", "hears", width=6.4, height=6.4)
    axes.plot(links.senders, links.receivers, ",", color=BLUE)
    axes.set_xlim(-0.5, rule.nodes - 0.5)
    axes.set_ylim(rule.nodes - 0.5, -0.5)
    axes.set_aspect("equal")
    return figure
