"""A run's summary as pictures (PNG), drawn without a display in the style of ``drawing``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .drawing import (
    ARM_COLOURS,
    BLUE,
    FAINT,
    GREEN,
    INK,
    LINE_STYLES,
    SKY,
    VERMILION,
    as_share,
    axes_of,
    drawing,
    log_or_linear,
    marker,
    png,
)
from .formats import percent, shown, size
from .summary_values import Edge, RunSummary

MAX_LABELLED = 40  # peers; above that, names would cover the picture
MAX_ON_CIRCLE = 128
MAX_NUMBERED = 16  # peers; up to there the heat map bears its numbers
LARGEST_COORDINATE = 1e100  # beyond it, matplotlib's own arithmetic overflows


def pictures(summary: RunSummary) -> dict[str, bytes]:
    """The pictures of one run by name (``learning``, ``topology``, ...), as PNG.

    A picture for which the log holds nothing is left out. Raises ConfigError without matplotlib.
    """
    draw: dict[str, Callable[[RunSummary], Any]] = {
        "learning": draw_learning,
        "consensus": draw_consensus,
        "epsilon": draw_epsilon,
        "topology": draw_topology,
        "bytes": draw_bytes,
    }
    with drawing():
        figures = {name: function(summary) for name, function in draw.items()}
        return {name: png(figure) for name, figure in figures.items() if figure is not None}


def comparison_pictures(summaries: Mapping[str, RunSummary]) -> dict[str, bytes]:
    """The learning and consensus curves of several runs in one picture each, as PNG."""
    with drawing():
        figures = {
            "comparison-accuracy": _draw_arms(
                summaries,
                "Mean test accuracy",
                lambda run: _curve(run, "accuracy_mean"),
                share=True,
            ),
            "comparison-consensus": _draw_arms(
                summaries,
                "Consensus distance",
                _curve_of("consensus_distance"),
                share=False,
            ),
        }
        return {name: png(figure) for name, figure in figures.items() if figure is not None}


def draw_learning(summary: RunSummary) -> Any:
    """Mean accuracy over the rounds; the band reaches from the worst to the best peer."""
    rounds, mean = _curve(summary, "accuracy_mean")
    if not rounds:
        return None
    figure, axes = axes_of("Learning: test accuracy of the peers", "round", "accuracy")
    _, low = _curve(summary, "accuracy_min")
    _, high = _curve(summary, "accuracy_max")
    axes.fill_between(rounds, low, high, color=SKY, alpha=0.3, linewidth=0, label="worst to best")
    axes.plot(rounds, low, color=SKY, linewidth=1)
    axes.plot(rounds, mean, color=BLUE, label="mean", marker=marker(rounds))
    as_share(axes, low, high)
    axes.legend(loc="best")
    return figure


def draw_consensus(summary: RunSummary) -> Any:
    """Consensus distance over the rounds, on a logarithmic scale where it is positive."""
    rounds, distance = _curve(summary, "consensus_distance")
    if not rounds:
        return None
    figure, axes = axes_of("How far apart the models are", "round", "consensus distance (estimate)")
    axes.plot(rounds, distance, color=GREEN, marker=marker(rounds))
    log_or_linear(axes, distance)
    return figure


def draw_epsilon(summary: RunSummary) -> Any:
    """The largest epsilon that any one peer has spent, over the rounds."""
    rounds, epsilon = _curve(summary, "epsilon_max")
    if not rounds:
        return None
    label = f"largest ε of any peer (δ = {summary.delta:g})" if summary.delta else "largest ε"
    figure, axes = axes_of("Privacy spent", "round", label)
    axes.step(rounds, epsilon, where="post", color=VERMILION, marker=marker(rounds))
    axes.set_ylim(bottom=0)
    return figure


def draw_topology(summary: RunSummary) -> Any:
    """Who spoke to whom: a line's width shows its bytes, a node's colour the peer's accuracy."""
    import networkx as nx
    from matplotlib.collections import LineCollection

    traffic = _both_ways(summary.edges)
    nodes = [peer.name for peer in summary.by_peer]
    nodes += sorted({name for pair in traffic for name in pair} - set(nodes))
    if not nodes:
        return None
    graph = nx.Graph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from(traffic)
    place = _layout(nx, graph)
    figure, axes = axes_of("Who spoke to whom", "", "", width=7.2, height=6.4)
    axes.set_axis_off()
    axes.set_aspect("equal")
    most = max(traffic.values(), default=0) or 1
    axes.add_collection(
        LineCollection(
            [(place[a], place[b]) for a, b in traffic],
            linewidths=[0.4 + 4.6 * count / most for count in traffic.values()],
            colors=FAINT,
            zorder=1,
        )
    )
    _draw_nodes(figure, axes, summary, {name: place[name] for name in nodes})
    if traffic:
        axes.set_title(
            f"width: up to {size(most)} a link", loc="right", fontsize=9, weight="normal"
        )
    return figure


def draw_bytes(summary: RunSummary) -> Any:
    """Bytes from each peer (row) to each other (column) as a heat map."""
    if not summary.edges:
        return None
    names = [peer.name for peer in summary.by_peer]
    names += sorted({edge.receiver for edge in summary.edges} - set(names))
    index = {name: row for row, name in enumerate(names)}
    counts = np.full((len(names), len(names)), np.nan)
    for edge in summary.edges:
        counts[index[edge.sender], index[edge.receiver]] = float(edge.bytes)
    figure, axes = axes_of("Bytes by link", "to", "from", width=7.2, height=6.4)
    axes.grid(False)
    image = axes.imshow(counts, cmap="cividis_r", vmin=0)
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.outline.set_visible(False)
    bar.ax.yaxis.set_major_formatter(lambda value, _: size(value))
    if len(names) <= MAX_LABELLED:
        labels = [shown(name, limit=16) for name in names]
        axes.set_xticks(range(len(names)), labels, rotation=90)
        axes.set_yticks(range(len(names)), labels)
    if len(names) <= MAX_NUMBERED:
        half = np.nanmax(counts) / 2
        for (row, column), count in np.ndenumerate(counts):
            if not math.isnan(count):
                ink = "white" if count > half else INK
                axes.text(column, row, size(count), ha="center", va="center", fontsize=7, color=ink)
    return figure


def _draw_nodes(
    figure: Any, axes: Any, summary: RunSummary, place: Mapping[str, tuple[float, float]]
) -> None:
    accuracy = {p.name: p.accuracy for p in summary.by_peer if p.accuracy is not None}
    radius = 620 if len(place) <= 16 else 220 if len(place) <= MAX_LABELLED else 40
    unknown = [place[name] for name in place if name not in accuracy]
    if unknown:
        across, up = zip(*unknown, strict=True)
        axes.scatter(across, up, s=radius, color="white", edgecolors=INK, zorder=2)
    if accuracy:
        across, up = zip(*(place[name] for name in accuracy), strict=True)
        shades = list(accuracy.values())
        nodes = axes.scatter(
            across, up, s=radius, c=shades, cmap="cividis", edgecolors=INK, zorder=2
        )
        bar = figure.colorbar(nodes, ax=axes, shrink=0.6, label="accuracy")
        bar.outline.set_visible(False)
        bar.ax.yaxis.set_major_formatter(lambda value, _: percent(value))
    if len(place) <= MAX_LABELLED:
        for name, spot in place.items():
            _label(axes, shown(name, limit=16), spot, gap=math.sqrt(radius) / 2 + 5)
    axes.margins(0.18)


def _label(axes: Any, text: str, spot: tuple[float, float], gap: float) -> None:
    # past the node, as seen from the middle of the picture; ``gap`` is in points
    x, y = spot
    length = math.hypot(x, y) or 1.0
    right, up = x / length, y / length
    beside = abs(right) > 0.3
    axes.annotate(
        text,
        spot,
        xytext=(gap * right, gap * up),
        textcoords="offset points",
        ha=("left" if right > 0 else "right") if beside else "center",
        va="center" if beside else "bottom" if up > 0 else "top",
        fontsize=9,
    )


def _layout(nx: Any, graph: Any) -> dict[str, tuple[float, float]]:
    if len(graph) == 1:
        return dict.fromkeys(graph, (0.0, 0.0))
    if len(graph) <= MAX_ON_CIRCLE:
        # node 0 on top, then clockwise: rings and exponential graphs look like what they are
        turn = 2 * math.pi / len(graph)
        return {
            name: (math.sin(turn * step), math.cos(turn * step)) for step, name in enumerate(graph)
        }
    return {name: (float(x), float(y)) for name, (x, y) in nx.spring_layout(graph, seed=0).items()}


def _both_ways(edges: Sequence[Edge]) -> dict[tuple[str, str], int]:
    traffic: dict[tuple[str, str], int] = {}
    for edge in edges:
        if edge.sender != edge.receiver:
            low, high = sorted((edge.sender, edge.receiver))
            traffic[low, high] = traffic.get((low, high), 0) + edge.bytes
    return traffic


def _draw_arms(
    summaries: Mapping[str, RunSummary],
    title: str,
    curve: Callable[[RunSummary], tuple[list[float], list[float]]],
    *,
    share: bool,
) -> Any:
    curves = {name: curve(run) for name, run in summaries.items()}
    curves = {name: points for name, points in curves.items() if points[0]}
    if not curves:
        return None
    figure, axes = axes_of(title, "round", "")
    for number, (name, (rounds, values)) in enumerate(curves.items()):
        axes.plot(
            rounds,
            values,
            color=ARM_COLOURS[number % len(ARM_COLOURS)],
            linestyle=LINE_STYLES[number // len(ARM_COLOURS) % len(LINE_STYLES)],
            label=shown(name, limit=24),
            marker=marker(rounds),
        )
    everything = [value for _, values in curves.values() for value in values]
    if share:
        as_share(axes, everything, everything)
    else:
        log_or_linear(axes, everything)
    axes.legend(loc="best")
    return figure


def _curve(summary: RunSummary, field: str) -> tuple[list[float], list[float]]:
    points = [(float(row.round), getattr(row, field)) for row in summary.by_round]
    drawable = [
        (round_, float(value))
        for round_, value in points
        if value is not None and abs(value) < LARGEST_COORDINATE
    ]
    return [round_ for round_, _ in drawable], [value for _, value in drawable]


def _curve_of(field: str) -> Callable[[RunSummary], tuple[list[float], list[float]]]:
    return lambda summary: _curve(summary, field)
