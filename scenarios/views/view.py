"""A view: rows with named columns, which can be printed, or written as JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..formats import MISSING, number, percent, shown, size

Form = Literal["text", "count", "bytes", "share", "number", "seconds", "yes"]
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with which a spreadsheet takes a text for a formula
LONGEST_TEXT = 4096


@dataclass(frozen=True, slots=True)
class Column:
    """A column's name (for people and for programs alike) and what its values are."""

    name: str
    form: Form = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """``rows`` may come from a stream and be read once; each has a value a column, or None.

    ``empty`` says in words what it means when there are none.
    """

    title: str
    columns: Sequence[Column]
    rows: Iterable[Sequence[Any]]
    empty: str = "nothing to tell"


def as_values(view: View) -> Iterator[dict[str, Any]]:
    """The rows as JSON values; a number that is not finite becomes None."""
    names = [column.name.replace(" ", "_") for column in view.columns]
    for row in view.rows:
        yield dict(zip(names, map(_finite, row), strict=True))


def write_json(view: View, write: Callable[[str], Any]) -> None:
    """One JSON array, row by row."""
    write("[")
    for index, value in enumerate(as_values(view)):
        write((",\n " if index else "\n ") + json.dumps(value, allow_nan=False))
    write("\n]\n")


def write_csv(view: View, write: Callable[[str], Any]) -> None:
    """CSV (RFC 4180) with a row of names; texts that look like formulas are quoted by '."""
    for cells in ([column.name for column in view.columns], *map(_plain, view.rows)):
        line = io.StringIO()
        csv.writer(line, lineterminator="\r\n").writerow(cells)
        write(line.getvalue())


def print_view(console: Console, view: View, limit: int | None) -> None:
    """A table of at most ``limit`` rows; texts are shown, not obeyed."""
    rows = iter(view.rows)
    table = Table(
        title=Text(view.title),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for column in view.columns:
        justify: Literal["left", "right"] = "left" if column.form == "text" else "right"
        table.add_column(Text(column.name), justify=justify, overflow="fold")
    for row in islice(rows, limit):
        table.add_row(*(Text(_cell(v, c.form)) for v, c in zip(row, view.columns, strict=True)))
    if not table.row_count:
        console.print(Text(f"{view.title}: {view.empty}"))
        return
    if next(rows, None) is not None:
        table.caption = Text("and more; --limit shows more of them, --json and --csv all")
    console.print(table)


WRITTEN: dict[Form, Callable[[Any], str]] = {
    "text": lambda value: shown(str(value), limit=LONGEST_TEXT),
    "count": str,
    "bytes": size,
    "share": percent,
    "number": number,
    "seconds": lambda value: f"{value:.3f}",
    "yes": lambda value: "yes" if value else "no",
}


def _cell(value: Any, form: Form) -> str:
    return MISSING if value is None or value == "" else WRITTEN[form](value)


def _plain(row: Sequence[Any]) -> list[Any]:
    return [_text(value) if isinstance(value, str) else _finite(value) for value in row]


def _text(value: str) -> str:
    text = shown(value, limit=LONGEST_TEXT)
    return f"'{text}" if text.startswith(FORMULA) else text


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
