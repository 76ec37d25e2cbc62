"""`tidings topology`: figures, rounds, JSON and pictures of graphs."""

from __future__ import annotations

import json
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from tidings.crypto.errors import ConfigError
from tidings.gossip.consensus import consensus_of
from tidings.gossip.topology import Topology
from tidings.gossip.topology_rule import TopologyRule
from tidings.scenarios.cli.topology import topology
from tidings.scenarios.graphs import facts
from tidings.scenarios.graphs.facts import facts_of
from tidings.scenarios.graphs.layout import places_of
from tidings.scenarios.graphs.naming import KINDS, name_of, rule_of
from tidings.scenarios.graphs.pictures import picture

app = typer.Typer()
app.command()(topology)
PNG = b"\x89PNG\r\n"


def run_cli(*arguments: object, columns: int = 80) -> Result:
    result = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": str(columns)})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def words(result: Result) -> list[str]:
    return [" ".join(line.split()) for line in result.stdout.splitlines()]


def test_one_graph_in_figures() -> None:
    assert words(run_cli("base-2", "--nodes", 25))[:9] == [
        "base-2, 25 nodes",
        "",
        "a node hears 1 (0.96) others a round",
        "a peer keeps links with 5 others",
        "rounds until it repeats 9",
        "directed no",
        "keeps the average yes",
        "spectral gap, mean a round 1",
        "rounds to consensus 9, exactly",
    ]
    ring = words(run_cli("ring", "--nodes", 100))
    assert "rounds to consensus 17492 (1e-10 of any disagreement is left)" in ring
    assert "spectral gap 0.001316" in ring
    assert "rounds until it repeats always the same" in ring
    told = words(run_cli("epidemic", "--nodes", 8, "--degree", 3, "--seed", 4))
    assert "directed yes" in told
    assert "keeps the average no, only in the mean over draws" in told


def test_round_by_round() -> None:
    lines = words(run_cli("base-2", "--nodes", 3, "--rounds", 3))
    assert lines[-4:-1] == ["1 2 1 0-1", "2 2 0.5774 0-2", "3 2 0 0-1"]
    lines = words(run_cli("one-peer-exponential", "--nodes", 4, "--rounds", 2))
    assert lines[-3:-1] == ["1 4 0.7071 3>0 0>1 1>2 2>3", "2 4 0 2>0 3>1 0>2 1>3"]


def test_json_holds_the_same() -> None:
    found = json.loads(run_cli("base-3", "--nodes", 25, "--rounds", 1, "--json").stdout)
    rounds = found.pop("rounds")
    assert found == {
        "name": "base-3",
        "nodes": 25,
        "period": 6,
        "directed": False,
        "connected": True,
        "keeps_average": True,
        "degree_max": 2,
        "degree_mean": pytest.approx(1.6533, abs=1e-4),
        "links_max": 6,
        "spectral_gap": 1.0,
        "rounds_to_consensus": 6,
        "exact": True,
        "estimated": False,
        "messages_a_node": pytest.approx(9.92),
    }
    assert [one["round"] for one in rounds] == [1]
    assert rounds[0]["left"] == pytest.approx(1)
    assert rounds[0]["links"][:2] == [[0, 1, pytest.approx(1 / 3)], [0, 2, pytest.approx(1 / 3)]]


def test_all_kinds_side_by_side() -> None:
    lines = words(run_cli("--nodes", 32))
    rows = {line.split()[0]: line.split()[1:] for line in lines if line}
    assert set(KINDS) - {"base"} <= set(rows)
    assert rows["ring"] == ["2", "2", "1", "0.0128", "1786", "3572"]
    assert rows["base-5"][-2:] == ["3*", "7"]
    assert rows["one-peer-exponential"] == ["→", "1", "9", "5", "1", "5*", "5"]
    found = json.loads(run_cli("--nodes", 7, "--json").stdout)
    assert set(found["missing"]) == {"hypercube", "torus"}
    assert "7 is prime" in found["missing"]["torus"]
    assert len(found["graphs"]) + 2 == len(KINDS) + 2  # base stands there three times


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("rign",), "no topology and no file 'rign'"),
        (("hypercube", "--nodes", 12), "8 or 16, not 12"),
        (("base-3", "--degree", 5), "has degree 2, --degree says 5"),
        (("base-1",), "no topology"),
        (("--rounds", 3), "only --nodes and --json"),
        (("complete", "--nodes", 9000), "80991000 links"),
        (("erdos-renyi", "--nodes", 300, "--degree", 1), "all in pieces"),
    ],
)
def test_what_does_not_exist_is_told(arguments: tuple[object, ...], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        run_cli(*arguments)


def test_a_file_is_a_graph_too(tmp_path: Path) -> None:
    file = tmp_path / "club.graphml"
    nx.write_graphml(nx.karate_club_graph(), file)
    found = json.loads(run_cli(file, "--json").stdout)
    assert (found["name"], found["nodes"], found["degree_max"]) == ("edges", 34, 17)
    with pytest.raises(ConfigError, match="34 nodes, not 10"):
        run_cli(file, "--nodes", 10)
    (tmp_path / "two.txt").write_text("0 1\n2 3\n")
    assert "rounds to consensus never" in words(run_cli(tmp_path / "two.txt"))


def test_pictures(tmp_path: Path) -> None:
    file = tmp_path / "torus.png"
    assert "Picture:" in run_cli("torus", "--out", file).stdout
    assert file.read_bytes().startswith(PNG)
    for name in ("one-peer-exponential", "hypercube", "star", "two-cliques", "erdos-renyi"):
        assert picture(rule_of(name, 8)).startswith(PNG)
    assert picture(rule_of("random-regular", 140)).startswith(PNG)
    assert picture(rule_of("exponential", 1_600)).startswith(PNG)


@pytest.mark.parametrize("name", [kind for kind in KINDS if kind != "base"])
def test_no_two_nodes_stand_in_one_place(name: str) -> None:
    rule = rule_of(name, 32)
    assert name_of(rule) == name
    every = Topology(rule).all_links()
    graph = nx.Graph(zip(every.receivers.tolist(), every.senders.tolist(), strict=True))
    places = places_of(rule, graph)
    assert places.shape == (32, 2)
    apart = np.linalg.norm(places[:, None] - places, axis=-1) + np.eye(32)
    assert apart.min() > 0.1


@pytest.mark.parametrize("name", ["torus", "exponential", "barabasi-albert", "star"])
def test_large_graphs_have_the_gap_of_a_sparse_solver(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = rule_of(name, 150)
    dense = consensus_of(Topology(rule))
    monkeypatch.setattr(facts, "MOST_DENSE", 100)
    sparse = facts_of(rule).consensus
    assert sparse.is_estimate
    assert sparse.spectral_gap == pytest.approx(dense.spectral_gap, rel=1e-6)
    assert sparse.rounds == dense.rounds
    in_pieces = TopologyRule(kind="edges", nodes=150, edges=((0, 1),))
    assert facts_of(in_pieces).consensus.rounds is None
