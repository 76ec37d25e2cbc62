"""The house style of all pictures: palette, axes, scales, PNG.

Colours are those of Okabe and Ito (2008) and the map "cividis" (Nuñez, Anderton, Renslow 2018):
both can be told apart by colour-blind readers and in print. matplotlib and networkx come with
``tidings[scenarios]`` and are imported when the first picture is drawn.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..crypto.errors import ConfigError
from ..crypto.files import storage_error, write_atomic

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
LINE_STYLES = ("-", "--", ":", "-.")

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


def marker(rounds: Sequence[float]) -> str:
    """The marker of a line through these places: none, but for a single one."""
    return "o" if len(rounds) == 1 else ""  # a line through one point is invisible


def as_share(axes: Any, low: Sequence[float], high: Sequence[float]) -> None:
    """The y axis in per cent, from 0 to 1 at least."""
    axes.set_ylim(min(0.0, *low), max(1.0, *high))
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")


def log_or_linear(axes: Any, values: Sequence[float]) -> None:
    """The y axis, logarithmic where positive values span more than a factor of 5."""
    if min(values) > 0 and max(values) / min(values) > 5:
        axes.set_yscale("log")
        # plain numbers: the usual powers of ten are formulas, which are switched off
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if leads(value) else "")
    else:
        axes.set_ylim(bottom=0)


def leads(value: float) -> bool:
    """Whether a minor tick of a logarithmic axis is labelled: 2 and 5 of each decade."""
    return f"{value:e}"[0] in "25"


def axes_of(
    title: str, x_label: str, y_label: str, *, width: float = 7.2, height: float = 4.0
) -> tuple[Any, Any]:
    """A new figure and its axes; ``width`` and ``height`` in inches. Ticks on x are whole."""
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


def png(figure: Any) -> bytes:
    """The figure as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream, metadata={"Software": "Tidings"})
    return stream.getvalue()


@contextmanager
def drawing() -> Iterator[None]:
    """The house style for what is drawn inside. Raises ConfigError without matplotlib."""
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
