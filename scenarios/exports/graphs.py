"""Who spoke to whom as GraphML or GEXF, which Gephi, Cytoscape, yEd and networkx read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

from ...crypto.files import write_atomic
from ..frames import graph_of
from ..inspection import Inspection

FORBIDDEN = {*range(0x20), 0xFFFE, 0xFFFF, *range(0xD800, 0xE000)} - {0x09, 0x0A, 0x0D}


def write_graph(found: Inspection, file: Path, form: Literal["graphml", "gexf"]) -> None:
    """Write the graph; its nodes and edges bear the figures of the views `peers` and `links`.

    Characters that XML cannot hold, which a name may be made of, become "?". Two names that look
    alike afterwards get a number. Raises ConfigError without networkx, StorageError.
    """
    graph = graph_of(found)
    import networkx as nx

    names: dict[str, str] = {}
    for name in graph:
        wanted = plain = _plain(name)
        while wanted in names.values():
            wanted = f"{plain} ({len(names)})"
        names[name] = wanted
    graph = nx.relabel_nodes(graph, names)
    graph.graph["name"] = _plain(found.summary.name)
    for _, _, figures in graph.edges(data=True):
        _clean(figures)
    for _, figures in graph.nodes(data=True):
        _clean(figures)
    stream = io.BytesIO()
    {"graphml": nx.write_graphml, "gexf": nx.write_gexf}[form](graph, stream)
    write_atomic(file, stream.getvalue())


def _clean(figures: dict[str, object]) -> None:
    for key, value in figures.items():
        if isinstance(value, str):
            figures[key] = _plain(value)


def _plain(text: str) -> str:
    return "".join("?" if ord(character) in FORBIDDEN else character for character in text)
