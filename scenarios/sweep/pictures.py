"""A sweep as pictures (PNG): what its points came to, with error bars over the seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..drawing import ARM_COLOURS, BLUE, LINE_STYLES, as_share, axes_of, drawing, leads, marker, png
from ..formats import percent, shown, size
from .summary import PointSummary, Spread, SweepSummary

MAX_CURVES = 12  # in one picture; with more, those that end highest
MAX_SERIES = 24
MAX_NAME = 60  # characters
WIDE_RANGE = 30  # from this ratio of its ends on, an axis is logarithmic


def sweep_pictures(summary: SweepSummary) -> dict[str, bytes]:
    """The pictures by name, as PNG; one for which there is nothing is left out.

    Raises ConfigError without matplotlib.
    """
    draw: dict[str, Callable[[SweepSummary], Any]] = {
        "accuracy": draw_accuracy,
        "learning": draw_learning,
        "bytes": draw_bytes,
    }
    with drawing():
        figures = {name: function(summary) for name, function in draw.items()}
        return {name: png(figure) for name, figure in figures.items() if figure is not None}


def draw_accuracy(summary: SweepSummary) -> Any:
    """The final mean accuracy of each point: over a numeric key where there is one, else listed."""
    points = [one for one in summary.points if one.figures["accuracy_mean"] is not None]
    if not points:
        return None
    key = _axis(summary.varied, points)
    return _listed(summary, points) if key is None else _over(summary, points, key)


def draw_learning(summary: SweepSummary) -> Any:
    """Mean accuracy over the rounds, a curve for each point; bands show one standard deviation."""
    points = [one for one in summary.points if one.rounds]
    if not points:
        return None
    best = sorted(points, key=lambda one: -_last(one).mean)[:MAX_CURVES]
    chosen = [one for one in points if one in best]
    title = "Mean test accuracy"
    if len(chosen) < len(points):
        title += f": the best {len(chosen)} of {len(points)}"
    figure, axes = axes_of(title, "round", "", width=7.2, height=4.4)
    for number, one in enumerate(chosen):
        rounds = list(one.rounds)
        spreads = list(one.rounds.values())
        colour, style = _look(number)
        mean = [spread.mean for spread in spreads]
        axes.plot(
            rounds,
            mean,
            color=colour,
            linestyle=style,
            marker=marker(rounds),
            label=shown(summary.name_of(one), limit=MAX_NAME),
        )
        low = [spread.mean - (spread.sd or 0) for spread in spreads]
        high = [spread.mean + (spread.sd or 0) for spread in spreads]
        axes.fill_between(rounds, low, high, color=colour, alpha=0.18, linewidth=0)
    as_share(axes, [0.0], [1.0])
    _legend(figure, axes, len(chosen))
    return _noted(axes, summary)


def draw_bytes(summary: SweepSummary) -> Any:
    """Accuracy against the bytes that a peer sends, where points differ in them."""
    found = [
        (one, sent, reached)
        for one in summary.points
        if (sent := one.figures["bytes_per_peer"]) is not None
        and (reached := one.figures["accuracy_mean"]) is not None
        and sent.mean > 0
    ]
    amounts = {round(sent.mean) for _, sent, _ in found}
    if len(amounts) < 2 or max(amounts) < 1.05 * min(amounts):
        return None
    figure, axes = axes_of("What accuracy costs", "sent by a peer", "", width=7.2, height=4.4)
    _errorbars_by_point(axes, summary, found[:MAX_SERIES])
    if max(amounts) > 5 * min(amounts):
        axes.set_xscale("log")
    else:
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(_any_ticks())
    axes.xaxis.set_major_formatter(lambda value, _: size(value).replace(".0 ", " "))
    axes.xaxis.set_minor_formatter(lambda value, _: size(value) if leads(value) else "")
    _accuracy_scale(axes, [reached for _, _, reached in found])
    _legend(figure, axes, min(len(found), MAX_SERIES))
    return _noted(axes, summary)


def _errorbars_by_point(
    axes: Any, summary: SweepSummary, found: Sequence[tuple[PointSummary, Spread, Spread]]
) -> None:
    shapes = "osD^vP"
    for number, (one, sent, reached) in enumerate(found):
        axes.errorbar(
            sent.mean,
            reached.mean,
            xerr=sent.sd,
            yerr=reached.sd,
            color=ARM_COLOURS[number % len(ARM_COLOURS)],
            marker=shapes[number // len(ARM_COLOURS) % len(shapes)],
            linestyle="",
            elinewidth=1.2,
            capsize=3,
            label=shown(summary.name_of(one), limit=MAX_NAME),
        )


def _over(summary: SweepSummary, points: Sequence[PointSummary], key: str) -> Any:
    series: dict[str, list[tuple[float, Spread]]] = {}
    for one in points:
        spread = one.figures["accuracy_mean"]
        if spread is not None and one.point.values[key] is not None:
            place = float(one.point.values[key])
            series.setdefault(_series(summary, one, key), []).append((place, spread))
    figure, axes = axes_of("Mean test accuracy at the end", key, "", width=7.2, height=4.4)
    drawn = list(series.items())[:MAX_SERIES]
    places = sorted({place for _, found in drawn for place, _ in found})
    for number, (name, found) in enumerate(drawn):
        colour, style = _look(number)
        found.sort(key=lambda pair: pair[0])
        axes.errorbar(
            [_beside(place, 0.8 * (number - (len(drawn) - 1) / 2), places) for place, _ in found],
            [spread.mean for _, spread in found],
            yerr=[spread.sd or 0 for _, spread in found],
            color=colour,
            linestyle=style,
            marker="o",
            elinewidth=1.2,
            capsize=3,
            label=shown(name, limit=MAX_NAME),
        )
    _number_axis(axes, places)
    _accuracy_scale(axes, [spread for found in series.values() for _, spread in found])
    if len(series) > 1:
        _legend(figure, axes, min(len(series), MAX_SERIES))
    return _noted(axes, summary)


def _series(summary: SweepSummary, one: PointSummary, key: str) -> str:
    """What a point has in common with those that it shares a line with."""
    parts = [text for name, text in one.point.said.items() if name != key]
    return ", ".join([*parts, one.arm] if summary.has_arms(one) else parts)


def _listed(summary: SweepSummary, points: Sequence[PointSummary]) -> Any:
    height = max(2.4, 1.4 + 0.34 * len(points))
    _, axes = axes_of("Mean test accuracy at the end", "", "", width=7.2, height=height)
    spreads = [spread for one in points if (spread := one.figures["accuracy_mean"]) is not None]
    places = list(range(len(points)))
    axes.errorbar(
        [spread.mean for spread in spreads],
        places,
        xerr=[spread.sd or 0 for spread in spreads],
        color=BLUE,
        marker="o",
        linestyle="",
        capsize=3,
    )
    axes.set_yticks(places, [shown(summary.name_of(one), limit=MAX_NAME) for one in points])
    axes.set_ylim(len(points) - 0.5, -0.5)
    axes.xaxis.set_major_locator(_any_ticks())
    axes.xaxis.set_major_formatter(lambda value, _: percent(value).replace(".0 %", " %"))
    axes.grid(axis="y", visible=False)
    return _noted(axes, summary, below=True)


def _axis(varied: Sequence[str], points: Sequence[PointSummary]) -> str | None:
    """The numeric key that takes the most values, at least three; the first of equals."""
    counts: dict[str, int] = {}
    for key in varied:
        values = [one.point.values[key] for one in points if one.point.values[key] is not None]
        if all(isinstance(one, int | float) and not isinstance(one, bool) for one in values):
            counts[key] = len(set(values))
    most = max(counts.values(), default=0)
    return next(key for key in counts if counts[key] == most) if most > 2 else None


def _number_axis(axes: Any, places: Sequence[float]) -> None:
    if _is_wide(places):
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(lambda value, _: "")
    if len(places) <= 8:
        axes.set_xticks(places, [f"{place:g}" for place in places])
    else:
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _is_wide(places: Sequence[float]) -> bool:
    return min(places) > 0 and max(places) / min(places) >= WIDE_RANGE


def _accuracy_scale(axes: Any, spreads: Sequence[Spread]) -> None:
    """From a little below the lowest bar to a little above the highest, never past 0 and 1."""
    low = min(spread.mean - (spread.sd or 0) for spread in spreads)
    high = max(spread.mean + (spread.sd or 0) for spread in spreads)
    margin = max(0.06 * (high - low), 0.005)
    axes.set_ylim(max(low - margin, -0.02), min(high + margin, 1.02))
    axes.yaxis.set_major_formatter(lambda value, _: percent(value).replace(".0 %", " %"))


def _look(number: int) -> tuple[str, str]:
    style = LINE_STYLES[number // len(ARM_COLOURS) % len(LINE_STYLES)]
    return ARM_COLOURS[number % len(ARM_COLOURS)], style


def _legend(figure: Any, axes: Any, entries: int) -> None:
    if entries <= 5:
        axes.legend(loc="best", handlelength=3)
    else:
        figure.legend(loc="outside right upper", fontsize=8, handlelength=3)
        figure.set_figwidth(9.4)


def _noted(axes: Any, summary: SweepSummary, *, below: bool = False) -> Any:
    """Say what the bars are, beside the title or below the axis; gives the figure."""
    if len(summary.seeds) > 1:
        note = f"± standard deviation over {len(summary.seeds)} seeds"
        if below:
            axes.set_xlabel(note)
        else:
            axes.set_title(note, loc="right", fontsize=9, weight="normal")
    return axes.figure


def _beside(place: float, step: float, places: Sequence[float]) -> float:
    """``place``, moved by ``step`` hundredths of the axis, so that no bar hides another."""
    low, high = min(places), max(places)
    if _is_wide(places):
        return float(place * (high / low) ** (step / 100))
    return place + step / 100 * (high - low)


def _any_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=6)


def _last(one: PointSummary) -> Spread:
    return one.rounds[max(one.rounds)]
