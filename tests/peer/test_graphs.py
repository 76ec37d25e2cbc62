from __future__ import annotations

import sys
from pathlib import Path

import networkx as nx
import pytest

from tidings.__main__ import main
from tidings.crypto.errors import ConfigError
from tidings.crypto.network_file import NetworkFile
from tidings.gossip.rules import Rules
from tidings.gossip.topology import Topology
from tidings.gossip.topology_rule import TopologyRule
from tidings.peer.graphs import read_graph, resolved, with_edges


@pytest.mark.parametrize("kind", ["erdos-renyi", "watts-strogatz", "barabasi-albert"])
@pytest.mark.parametrize("seed", [0, 1])
def test_what_networkx_draws_becomes_edges(kind: str, seed: int, tmp_path: Path) -> None:
    rule = TopologyRule.model_validate({"kind": kind, "nodes": 30, "seed": seed})
    assert rule.is_drawn
    drawn = resolved(rule, tmp_path)
    assert drawn.kind == kind
    assert not drawn.is_drawn
    assert resolved(drawn, tmp_path) is drawn
    assert resolved(rule, tmp_path) == drawn
    assert resolved(rule.model_copy(update={"seed": 7}), tmp_path) != drawn
    topology = Topology(drawn)
    assert topology.is_connected
    mean = 2 * len(drawn.edges) / 30
    expected = {"erdos-renyi": 7, "watts-strogatz": 4, "barabasi-albert": 3.73}[kind]
    assert mean == pytest.approx(expected, abs=1.5 if kind == "erdos-renyi" else 0.01)


def test_other_graphs_stay_as_they_are(tmp_path: Path) -> None:
    rules = Rules(topology=TopologyRule(kind="ring"))
    assert with_edges(rules, tmp_path) is rules


def test_a_graph_too_sparse_to_connect_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="all in pieces"):
        resolved(TopologyRule(kind="erdos-renyi", nodes=200, degree=1), tmp_path)


def test_edge_lists(tmp_path: Path) -> None:
    file = tmp_path / "edges.txt"
    file.write_text("# a comment\n0 1\n2, 1  weight\n\n1 0\n3 3\n2 4 # an isolated 3\n")
    assert read_graph(file) == (5, [(0, 1), (1, 2), (2, 4)])
    file.write_text("ward lab\nlab office\n")
    assert read_graph(file) == (3, [(0, 1), (1, 2)])
    file.write_text("1001 1002\n1002 1003\n")
    assert read_graph(file) == (3, [(0, 1), (1, 2)])
    rule = TopologyRule(kind="edges", nodes=3, file="edges.txt")
    found = resolved(rule, tmp_path)
    assert (found.kind, found.file, found.edges) == ("edges", None, ((0, 1), (1, 2)))


def test_graphml(tmp_path: Path) -> None:
    file = tmp_path / "club.graphml"
    nx.write_graphml(nx.karate_club_graph(), file)
    nodes, edges = read_graph(file)
    assert nodes == 34
    assert set(edges) == {(min(e), max(e)) for e in nx.karate_club_graph().edges()}
    nx.write_graphml(nx.relabel_nodes(nx.path_graph(3), {0: "a", 1: "b", 2: "c"}), file)
    assert read_graph(file) == (3, [(0, 1), (1, 2)])


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("missing.txt", None, "cannot be read: No such file"),
        ("bytes.txt", b"\xff\xfe", "not UTF-8"),
        ("one.txt", b"0 1\n2\n", "line 2 names one node"),
        ("none.txt", b"# nothing\n", "no edges"),
        ("broken.graphml", b"<graphml", "not GraphML"),
        ("other.graphml", b"<html></html>", "not GraphML"),
        ("wide.txt", b"0 1\n1 2\n2 3\n", "has 4 nodes, the network has 3"),
    ],
)
def test_a_file_that_is_no_graph_is_told(
    name: str, content: bytes | None, told: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=told) as caught:
        resolved(TopologyRule(kind="edges", nodes=3, file=name), tmp_path)
    assert name in caught.value.where


def test_a_directed_file_is_refused(tmp_path: Path) -> None:
    nx.write_graphml(nx.DiGraph([(0, 1)]), tmp_path / "d.graphml")
    with pytest.raises(ConfigError, match="is directed"):
        read_graph(tmp_path / "d.graphml")


def test_without_networkx_the_way_out_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(ConfigError, match="needs networkx"):
        resolved(TopologyRule(kind="watts-strogatz", nodes=9), tmp_path)
    (tmp_path / "list").write_text("0 1\n")
    assert read_graph(tmp_path / "list") == (2, [(0, 1)])


NETWORK = """
name = "campus"
[rules.topology]
kind = "edges"
nodes = 3
file = "campus.edges"
[learner]
kind = "softmax"
features = 4
classes = 2
"""


def test_a_network_file_holds_the_edges(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "network.toml").write_text(NETWORK)
    (tmp_path / "campus.edges").write_text("0 1\n1 2\n")
    folder = tmp_path / "net"
    assert main(["network", "create", str(folder), "--config", str(tmp_path / "network.toml")]) == 0
    capsys.readouterr()
    network = NetworkFile.from_bytes((folder / "network.json").read_bytes())
    topology = Rules.model_validate(network.rules).topology
    assert topology.edges == ((0, 1), (1, 2))
    assert topology.file is None
    assert Topology(topology).in_neighbours(1, 1) == (0, 2)
