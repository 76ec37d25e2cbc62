"""A graph as a picture: of a graph that changes, its first rounds side by side.

A line is as wide as its weight; an arrow points from who speaks to who hears. Of very many nodes
the matrix is drawn, a dot where one node hears another.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...gossip.graphs.links import Links
from ...gossip.topology import Topology
from ...gossip.topology_rule import TopologyRule, torus_sides
from ...gossip.weights import link_weights
from ..drawing import BLUE, FAINT, INK, SKY, axes_of, drawing, png
from .layout import Places, places_of
from .naming import name_of

MOST_DRAWN = 1_500  # nodes; above that, lines would be one blot
MOST_PANELS = 8
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
    columns = min(panels, 4)
    rows = -(-panels // columns)
    side = 6.4 if panels == 1 else 2.7
    figure, first = axes_of(_title(rule), "", "", width=columns * side, height=rows * side + 0.4)
    if panels > 1:
        first.remove()
        figure.suptitle(_title(rule), x=0.02, ha="left", fontsize=12, weight="bold")
    for panel in range(panels):
        axes = first if panels == 1 else figure.add_subplot(rows, columns, panel + 1)
        axes.set_axis_off()
        axes.set_aspect("equal")
        if panels > 1:
            axes.set_title(f"round {panel + 1}", fontsize=10, weight="normal", loc="center", pad=2)
            _draw_lines(axes, places, every, FAINT, np.full(len(every.senders), 0.5))
        _draw_round(axes, rule, places, topology.links(panel + 1))
        _draw_nodes(axes, places, side)
        axes.margins(0.1)
    return figure


def _title(rule: TopologyRule) -> str:
    return f"{name_of(rule)}, {rule.nodes} nodes"


def _draw_round(axes: Any, rule: TopologyRule, places: Places, links: Links) -> None:
    weights = link_weights(links)
    crowded = max(1.0, len(weights) / 300)
    widths = (0.8 + 2.4 * weights / weights.max(initial=1e-9)) / crowded**0.5
    if rule.kind == "torus":
        _draw_torus(axes, rule, places, links)
    elif links.is_symmetric:
        _draw_lines(axes, places, links, BLUE, widths)
    else:
        _draw_arrows(axes, places, links, widths)


def _draw_lines(axes: Any, places: Places, links: Links, colour: str, widths: Any) -> None:
    from matplotlib.collections import LineCollection

    segments = np.stack([places[links.receivers], places[links.senders]], axis=1)
    axes.add_collection(
        LineCollection(list(segments), linewidths=widths, colors=colour, zorder=1, alpha=0.8)
    )


def _draw_arrows(axes: Any, places: Places, links: Links, widths: Any) -> None:
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
                "shrinkA": 5,
                "shrinkB": 5,
                "alpha": 0.8,
                "connectionstyle": "arc3,rad=0.08",
            },
        )


def _draw_torus(axes: Any, rule: TopologyRule, places: Places, links: Links) -> None:
    """The lines round the back are drawn as ends that leave the grid."""
    from matplotlib.collections import LineCollection

    sides = np.array(torus_sides(rule.nodes)[::-1])
    near = places[links.receivers]
    step = places[links.senders] - near
    far = np.abs(step) > 1
    step = np.where(far & (sides > 2), -0.45 * np.sign(step), step)
    colours = [FAINT if wraps else BLUE for wraps in far.any(axis=1)]
    segments = np.stack([near, near + step], axis=1)
    axes.add_collection(LineCollection(list(segments), linewidths=2, colors=colours, zorder=1))


def _draw_nodes(axes: Any, places: Places, side: float) -> None:
    n = len(places)
    numbered = n <= (MOST_NUMBERED if side > 3 else 16)
    radius = (
        (340 if side > 3 else 110) if numbered else max(6.0, 9000 / n if side > 3 else 1500 / n)
    )
    axes.scatter(*places.T, s=min(radius, 340), color=SKY, edgecolors=INK, linewidths=0.8, zorder=2)
    if numbered:
        for node, (x, y) in enumerate(places):
            axes.text(x, y, str(node), ha="center", va="center", fontsize=8 if side > 3 else 6)


def _matrix(rule: TopologyRule, topology: Topology) -> Any:
    links = topology.links(1)
    title = _title(rule) + ("" if topology.is_static else ", round 1")
    figure, axes = axes_of(title, "heard", "hears", width=6.4, height=6.4)
    axes.plot(links.senders, links.receivers, ",", color=BLUE)
    axes.set_xlim(-0.5, rule.nodes - 0.5)
    axes.set_ylim(rule.nodes - 0.5, -0.5)
    axes.set_aspect("equal")
    return figure
