"""Which graph a name on the command line means."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any, get_args

from ...crypto.errors import ConfigError
from ...gossip.topology_rule import GIVEN, Kind, TopologyRule
from ...peer.graphs import read_graph, resolved
from ...peer.settings_files import check_settings

DEFAULT_NODES = 16
KINDS: tuple[str, ...] = tuple(kind for kind in get_args(Kind) if kind not in ("none", *GIVEN))


def rule_of(name: str, nodes: int | None, **settings: int | float | None) -> TopologyRule:
    """The rule of a kind, of ``base-3`` and so on, or of a file with a graph; its edges drawn.

    ``settings`` are those of TopologyRule, None where nothing was said. Raises ConfigError.
    """
    given: dict[str, Any] = {key: value for key, value in settings.items() if value is not None}
    base = re.fullmatch(r"base-(\d{1,4})", name)
    if base and int(base[1]) >= 2:
        given |= {"kind": "base", "degree": int(base[1]) - 1}
        _only_one_degree(name, settings.get("degree"), given["degree"])
    elif name in KINDS:
        given |= {"kind": name}
    elif Path(name).is_file():
        found, edges = read_graph(Path(name))
        if nodes not in (None, found):
            raise ConfigError(
                f"the graph has {found} nodes, not {nodes}", where=name, fix="leave --nodes out"
            )
        return TopologyRule(kind="edges", nodes=found, edges=tuple(edges))
    else:
        near = difflib.get_close_matches(name, KINDS, n=1)
        raise ConfigError(
            f"there is no topology and no file '{name}'",
            fix=f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(KINDS)}",
        )
    given["nodes"] = nodes or DEFAULT_NODES
    return resolved(check_settings(TopologyRule, given, where=f"topology {name}"), Path())


def name_of(rule: TopologyRule) -> str:
    """The graph's name for people: its kind, with what sets it apart."""
    if rule.kind == "base":
        return f"base-{rule.chosen_degree + 1}"
    return rule.kind


def _only_one_degree(name: str, given: object, meant: int) -> None:
    if given not in (None, meant):
        raise ConfigError(
            f"'{name}' has degree {meant}, --degree says {given}", fix="leave one of them out"
        )
