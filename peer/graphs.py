"""Graphs that come from a library or a file, as edges that every peer reads alike.

networkx may draw another graph in its next release, and a board does not have it. So what it draws
is drawn once, when a network is made or a scenario is loaded, and the rules then hold the edges.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..crypto.errors import ConfigError
from ..gossip.rules import Rules
from ..gossip.topology_rule import TopologyRule
from .settings_files import check_settings

Edges = list[tuple[int, int]]

_TRIES = 100
_GRAPHML = (".graphml", ".xml")


def with_edges(rules: Rules, folder: Path) -> Rules:
    """The rules with the graph of ``rules.topology`` drawn or read; files are sought in ``folder``.

    Raises ConfigError: no such file, not a graph, of other nodes, or networkx is not installed.
    """
    topology = resolved(rules.topology, folder)
    if topology is rules.topology:
        return rules
    # what was drawn is seen here for the first time, and may not fit the rules
    settings = rules.model_dump() | {"topology": topology.model_dump()}
    return check_settings(Rules, settings, where="rules.topology")


def resolved(rule: TopologyRule, folder: Path) -> TopologyRule:
    """The rule with its edges; unchanged if it has them or needs none. Raises ConfigError."""
    if not rule.is_drawn:
        return rule
    if rule.file is None:
        edges = _drawn(rule)
    else:
        nodes, edges = read_graph(folder / rule.file)
        if nodes != rule.nodes:
            raise ConfigError(
                f"the graph has {nodes} nodes, the network has {rule.nodes}",
                where=str(folder / rule.file),
                fix=f"make it a network of {nodes}",
            )
    settings = rule.model_dump() | {"edges": edges, "file": None}
    return TopologyRule.model_validate(settings)


def read_graph(path: Path) -> tuple[int, Edges]:
    """The number of nodes and the edges of a file: GraphML by its ending, else a list of edges.

    A list has an edge a line, two names with blanks or a comma between; what follows them, and
    after #, is not read. Names that are all numbers 0, 1, 2, ... are the nodes' numbers, others get
    theirs in the order of the file. Raises ConfigError.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(
            f"the graph cannot be read: {why}",
            where=str(path),
            fix="name a GraphML file or a list of edges",
        ) from None
    graphml = path.suffix.lower() in _GRAPHML
    names, pairs = _graphml(text, path) if graphml else _edge_list(text, path)
    number = _numbers(names)
    edges = _undirected((number[a], number[b]) for a, b in pairs)
    if not edges:
        raise ConfigError("the graph has no edges", where=str(path), fix="give it some")
    return max(number.values()) + 1, edges


def _numbers(names: Iterable[str]) -> dict[str, int]:
    different = list(dict.fromkeys(names))
    if all(name.isascii() and name.isdecimal() for name in different):
        numbers = {name: int(name) for name in different}
        # a node that no edge names is missing from a list, and has a number all the same
        if max(numbers.values(), default=0) < 2 * len(different):
            return numbers
    return {name: number for number, name in enumerate(different)}


def _edge_list(text: str, path: Path) -> tuple[list[str], list[tuple[str, str]]]:
    pairs: list[tuple[str, str]] = []
    for line, content in enumerate(text.splitlines(), start=1):
        words = content.partition("#")[0].replace(",", " ").split()
        if len(words) == 1:
            raise ConfigError(
                f"line {line} names one node, an edge has two",
                where=str(path),
                fix="write an edge a line, such as: 0 1",
            )
        if words:
            pairs.append((words[0], words[1]))
    return [name for pair in pairs for name in pair], pairs


def _graphml(text: str, path: Path) -> tuple[list[str], list[tuple[str, str]]]:
    nx = _networkx("GraphML")
    try:
        graph = nx.parse_graphml(text)
    except Exception as error:  # it lets through what its parser meets
        raise ConfigError(
            f"this is not GraphML: {error}", where=str(path), fix="export the graph again"
        ) from None
    if graph.is_directed():
        raise ConfigError(
            "the graph is directed; here the two ends of an edge hear each other",
            where=str(path),
            fix='save it as an undirected graph (edgedefault="undirected")',
        )
    return [str(node) for node in graph], [(str(a), str(b)) for a, b in graph.edges()]


def _drawn(rule: TopologyRule) -> Edges:
    nx = _networkx(f"topology kind '{rule.kind}'")
    n, degree, chance = rule.nodes, rule.chosen_degree, np.random.default_rng(rule.seed)
    for _ in range(_TRIES):
        if rule.kind == "erdos-renyi":
            graph = nx.fast_gnp_random_graph(n, min(1.0, degree / (n - 1)), seed=chance)
        elif rule.kind == "watts-strogatz":
            graph = nx.watts_strogatz_graph(n, degree, rule.rewire, seed=chance)
        else:
            graph = nx.barabasi_albert_graph(n, degree, seed=chance)
        if nx.is_connected(graph):
            return _undirected(graph.edges())
    raise ConfigError(
        f"{_TRIES} graphs of mean degree {degree} were all in pieces",
        where=f"topology kind '{rule.kind}'",
        fix="use a larger degree",
    )


def _undirected(pairs: Iterable[tuple[int, int]]) -> Edges:
    """Each edge once, the smaller end first; loops are left out."""
    return sorted({(min(a, b), max(a, b)) for a, b in pairs if a != b})


def _networkx(for_what: str) -> Any:
    try:
        import networkx
    except ImportError:
        raise ConfigError(
            f"{for_what} needs networkx, which is not installed",
            fix="pip install 'tidings[scenarios]'; peers that join the network do not need it",
        ) from None
    return networkx
