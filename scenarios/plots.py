"""A run's summary as pictures (PNG), drawn without a display.

Colours are those of Okabe and Ito (2008) and the map "cividis" (Nuñez, Anderton, Renslow 2018):
both can be told apart by colour-blind readers and in print. matplotlib and networkx come with
``tidings[scenarios]`` and are imported when the first picture is drawn.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..crypto.errors import ConfigError
from ..crypto.files import storage_error, write_atomic
from .formats import percent, shown, size
from .summary_values import Edge, RunSummary

BLUE, ORANGE, GREEN, PINK, SKY, VERMILION = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
)
ARM_COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PINK, SKY)
INK, FAINT = "#2b2f36", "#c9ced6"
MAX_LABELLED = 40  # peers; above that, names would cover the picture
MAX_ON_CIRCLE = 128
MAX_NUMBERED = 16  # peers; up to there the heat map bears its numbers
LARGEST_COORDINATE = 1e100  # beyond it, matplotlib's own arithmetic overflows

STYLE: dict[str, Any] = {
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#eceff3",
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "lines.linewidth": 2,
    "legend.frameon": False,
    # names in a log may hold dollar signs; they are not formulas
    "text.parse_math": False,
}


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
    with _drawing():
        figures = {name: function(summary) for name, function in draw.items()}
        return {name: _png(figure) for name, figure in figures.items() if figure is not None}


def comparison_pictures(summaries: Mapping[str, RunSummary]) -> dict[str, bytes]:
    """The learning and consensus curves of several runs in one picture each, as PNG."""
    with _drawing():
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
        return {name: _png(figure) for name, figure in figures.items() if figure is not None}


def save_pictures(images: Mapping[str, bytes], folder: Path) -> list[Path]:
    """Write ``NAME.png`` files; makes the folder. Raises StorageError when that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, folder) from error
    files = []
    for name, image in images.items():
        files.append(folder / f"{name}.png")
        write_atomic(files[-1], image)
    return files


def draw_learning(summary: RunSummary) -> Any:
    """Mean accuracy over the rounds; the band reaches from the worst to the best peer."""
    rounds, mean = _curve(summary, "accuracy_mean")
    if not rounds:
        return None
    figure, axes = _axes("Learning: test accuracy of the peers", "round", "accuracy")
    _, low = _curve(summary, "accuracy_min")
    _, high = _curve(summary, "accuracy_max")
    axes.fill_between(rounds, low, high, color=SKY, alpha=0.3, linewidth=0, label="worst to best")
    axes.plot(rounds, low, color=SKY, linewidth=1)
    axes.plot(rounds, mean, color=BLUE, label="mean", marker=_marker(rounds))
    _as_share(axes, low, high)
    axes.legend(loc="best")
    return figure


def draw_consensus(summary: RunSummary) -> Any:
    """Consensus distance over the rounds, on a logarithmic scale where it is positive."""
    rounds, distance = _curve(summary, "consensus_distance")
    if not rounds:
        return None
    figure, axes = _axes("How far apart the models are", "round", "consensus distance (estimate)")
    axes.plot(rounds, distance, color=GREEN, marker=_marker(rounds))
    _log_or_linear(axes, distance)
    return figure


def draw_epsilon(summary: RunSummary) -> Any:
    """The largest epsilon that any one peer has spent, over the rounds."""
    rounds, epsilon = _curve(summary, "epsilon_max")
    if not rounds:
        return None
    label = f"largest ε of any peer (δ = {summary.delta:g})" if summary.delta else "largest ε"
    figure, axes = _axes("Privacy spent", "round", label)
    axes.step(rounds, epsilon, where="post", color=VERMILION, marker=_marker(rounds))
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
    figure, axes = _axes("Who spoke to whom", "", "", width=7.2, height=6.4)
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
    figure, axes = _axes("Bytes by link", "to", "from", width=7.2, height=6.4)
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
    figure, axes = _axes(title, "round", "")
    styles = ("-", "--", ":", "-.")
    for number, (name, (rounds, values)) in enumerate(curves.items()):
        axes.plot(
            rounds,
            values,
            color=ARM_COLOURS[number % len(ARM_COLOURS)],
            linestyle=styles[number // len(ARM_COLOURS) % len(styles)],
            label=shown(name, limit=24),
            marker=_marker(rounds),
        )
    everything = [value for _, values in curves.values() for value in values]
    if share:
        _as_share(axes, everything, everything)
    else:
        _log_or_linear(axes, everything)
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


def _marker(rounds: Sequence[float]) -> str:
    return "o" if len(rounds) == 1 else ""  # a line through one point is invisible


def _as_share(axes: Any, low: Sequence[float], high: Sequence[float]) -> None:
    axes.set_ylim(min(0.0, *low), max(1.0, *high))
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")


def _log_or_linear(axes: Any, values: Sequence[float]) -> None:
    if min(values) > 0 and max(values) / min(values) > 5:
        axes.set_yscale("log")
        # plain numbers: the usual powers of ten are formulas, which are switched off
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if _leads(value) else "")
    else:
        axes.set_ylim(bottom=0)


def _leads(value: float) -> bool:
    # 2 and 5 of each decade are labelled, so that the labels do not crowd
    return f"{value:e}"[0] in "25"


def _axes(
    title: str, x_label: str, y_label: str, *, width: float = 7.2, height: float = 4.0
) -> tuple[Any, Any]:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(width, height))
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.tick_params(length=0, which="both")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    return figure, axes


def _png(figure: Any) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream, metadata={"Software": "Tidings"})
    return stream.getvalue()


@contextmanager
def _drawing() -> Iterator[None]:
    try:
        import matplotlib as mpl
        import networkx  # noqa: F401  # both are needed, and missed with one message
    except ImportError as error:
        raise ConfigError(
            f"pictures need {error.name}, which is not installed",
            fix="pip install 'tidings[scenarios]'",
        ) from error
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # a name in a script that the font lacks is drawn as boxes; that is no fault of the run
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield
