"""A run in a notebook: pandas frames of its figures and events, and a networkx graph.

    from tidings.scenarios import load_run
    run = load_run("runs/quickstart")
    run.rounds.plot("round", "mean_accuracy")
    run.events("refused").groupby("reason").size()

pandas and networkx come with ``tidings[scenarios]``.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property
from pathlib import Path
from typing import Any

from ..crypto.errors import ConfigError
from .diagnosis import Finding
from .inspection import Inspection, inspect_log
from .run_events import ALL_KINDS
from .run_log import RunLog
from .summary_values import RunSummary
from .views import VIEWS, as_values


def load_run(path: str | Path, *others: str | Path) -> LoadedRun:
    """Read the logs of a run (or those of several folders as of one).

    Raises ConfigError for a folder without logs or when pandas is missing, StorageError for one
    that cannot be read.
    """
    _pandas()
    return LoadedRun(inspect_log(RunLog(Path(path), *map(Path, others))))


class LoadedRun:
    """A run that was read once. Frames have a row for each peer, round, link or event.

    Columns are those of the views of ``tidings inspect``, with ``_`` for blanks; times are seconds
    since the run began, except those of ``events``, which are as they were written.
    """

    def __init__(self, found: Inspection) -> None:
        self.inspection = found

    @property
    def summary(self) -> RunSummary:
        """The run in numbers."""
        return self.inspection.summary

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The diagnosis."""
        return self.inspection.findings

    @cached_property
    def peers(self) -> Any:
        """A frame with a row for each peer."""
        return self._frame("peers")

    @cached_property
    def rounds(self) -> Any:
        """A frame with a row for each round."""
        return self._frame("rounds")

    @cached_property
    def links(self) -> Any:
        """A frame with a row for each direction in which frames went."""
        return self._frame("links")

    @cached_property
    def privacy(self) -> Any:
        """A frame with a row for each peer's privacy."""
        return self._frame("privacy")

    @cached_property
    def feeds(self) -> Any:
        """A frame with a row for each author and follower."""
        return self._frame("feeds")

    @cached_property
    def refusals(self) -> Any:
        """A frame with a row for each peer, sender and reason."""
        return self._frame("refusals")

    def events(self, kind: str) -> Any:
        """A frame of all events of a kind: time, peer, and the event's fields.

        Reads the log again. Raises ConfigError for a kind that there is not.
        """
        if kind not in ALL_KINDS:
            raise ConfigError(f"there is no kind of event '{kind}'", fix=", ".join(ALL_KINDS))
        names = ["time", "peer", *(field.name for field in dataclasses.fields(ALL_KINDS[kind]))]
        columns: dict[str, list[Any]] = {name: [] for name in names}
        for batch in self.inspection.log.batches():
            for record in batch:
                if record.kind == kind:
                    for name, values in columns.items():
                        values.append(getattr(record, name))
        return _pandas().DataFrame(columns)

    @cached_property
    def graph(self) -> Any:
        """Who spoke to whom as a networkx.DiGraph: nodes are peers, edges directions of links.

        Nodes and edges bear the figures of ``peers`` and ``links``, those that are known.
        """
        return graph_of(self.inspection)

    def _frame(self, view: str) -> Any:
        made = VIEWS[view](self.inspection)
        names = [column.name.replace(" ", "_") for column in made.columns]
        return _pandas().DataFrame(list(as_values(made)), columns=names)


def graph_of(found: Inspection) -> Any:
    """Who spoke to whom as a networkx.DiGraph. Raises ConfigError without networkx."""
    try:
        import networkx as nx
    except ImportError as error:
        raise _missing("networkx") from error
    graph = nx.DiGraph(name=found.summary.name)
    for row in as_values(VIEWS["peers"](found)):
        row["short_id"] = row.pop("id")  # `id` means the node itself in some formats
        graph.add_node(row.pop("peer"), **_known(row))
    for row in as_values(VIEWS["links"](found)):
        graph.add_edge(row.pop("from"), row.pop("to"), **_known(row))
    return graph


def _known(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if value is not None}


def _pandas() -> Any:
    try:
        import pandas as pd
    except ImportError as error:
        raise _missing("pandas") from error
    return pd


def _missing(library: str) -> ConfigError:
    return ConfigError(
        f"this needs {library}, which is not installed", fix="pip install 'tidings[scenarios]'"
    )
