"""Metrics as text, in Prometheus' format (its exposition formats, version 0.0.4)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

Labels = Mapping[str, str]
Values = Iterable[tuple[Labels, float | None]]
Family = tuple[str, str, str, Values]  # name, kind, words, values by labels


def metrics_lines(families: Iterable[Family]) -> Iterator[str]:
    """The lines of all families, ``tidings_`` before each name; a value of None is left out."""
    for name, kind, words, values in families:
        known = [(labels, value) for labels, value in values if value is not None]
        if known:
            yield f"# HELP tidings_{name} {words}"
            yield f"# TYPE tidings_{name} {kind}"
            for labels, value in known:
                yield f"tidings_{name}{_labels(labels)} {_number(value)}"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items()) + "}"


def _number(value: float) -> str:
    if not math.isfinite(value):
        return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}[str(float(value))]
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
