"""Views of a run: ``tidings inspect RUN peers`` prints one, and so can anybody else.

found = inspect_log(RunLog(folder))
VIEWS["links"](found)        # a View: columns and rows
"""

from __future__ import annotations

from collections.abc import Callable

from ..inspection import Inspection
from . import figures
from .timeline import timeline
from .view import Column, View, as_values, print_view, write_csv, write_json
from .why import why

__all__ = [
    "VIEWS",
    "Column",
    "View",
    "as_values",
    "print_view",
    "timeline",
    "why",
    "write_csv",
    "write_json",
]

VIEWS: dict[str, Callable[[Inspection], View]] = {
    "peers": figures.peers,
    "links": figures.links,
    "rounds": figures.rounds,
    "refusals": figures.refusals,
    "privacy": figures.privacy,
    "feeds": figures.feeds,
    "diagnosis": figures.diagnosis,
    "missing": figures.missing,
}
