"""How values are written for people: names made harmless, sizes, shares, distances."""

from __future__ import annotations

import math

MISSING = "-"


def shown(text: str, *, limit: int = 80) -> str:
    """A text from a log, fit for a terminal or a page.

    Control characters, bidirectional overrides, lone surrogates and other characters without a
    picture are written as escapes; a text longer than ``limit`` characters is cut.
    """
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)


def size(count: float) -> str:
    """A number of bytes in decimal units: 1 kB is 1000 bytes."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def percent(share: float | None) -> str:
    """A share in 0..1 as a percentage with one decimal."""
    return MISSING if share is None or math.isnan(share) else f"{100 * share:.1f} %"


def number(value: float | None) -> str:
    """A quantity with four significant digits."""
    if value is None or math.isnan(value):
        return MISSING
    return "∞" if value == math.inf else f"{value:.4g}"


def yes_no(value: bool | None) -> str:
    """An answer that may be unknown."""
    return MISSING if value is None else "yes" if value else "NO"
