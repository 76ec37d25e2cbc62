"""A run for other programs: frames and a graph in a notebook, TensorBoard, GraphML, Prometheus."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path

import networkx as nx
import pytest
import typer
from tensorboardX.proto.event_pb2 import Event as TensorEvent
from typer.testing import CliRunner, Result

from tests.scenarios.log_factory import Line, honest_run, name_of, write_log
from tests.scenarios.test_plots import hostile_run
from tidings.crypto.errors import ConfigError
from tidings.gossip.events import Evaluated, Mixed, Refused
from tidings.scenarios import load_run
from tidings.scenarios.cli.export import export

app = typer.Typer()
app.command()(export)
PEERS, ROUNDS = 5, 4


@pytest.fixture
def run(tmp_path: Path) -> Path:
    lines: list[Line] = honest_run(peers=PEERS, rounds=ROUNDS)
    refused = Refused(sender="id000003", reason="Malformed", detail="", size_bytes=9)
    write_log(tmp_path / "run" / "events.jsonl", [*lines, (9.0, name_of(1), refused)])
    return tmp_path / "run"


def exported(run: Path, to: str, out: Path) -> Result:
    return CliRunner().invoke(app, [str(run), "--to", to, "--out", str(out), "--json"])


def test_frames_hold_the_figures_of_the_run(run: Path):
    loaded = load_run(run)
    assert list(loaded.peers["peer"]) == [name_of(peer) for peer in range(PEERS)]
    assert list(loaded.rounds["round"]) == [1, 2, 3, 4]
    assert loaded.rounds["mean_accuracy"].iloc[-1] == loaded.summary.accuracy_mean
    assert loaded.links["sent"].sum() == loaded.summary.bytes_sent
    assert loaded.privacy["epsilon"].max() == loaded.summary.epsilon_max
    assert loaded.feeds["agrees"].dropna().all()
    assert loaded.refusals["reason"].tolist() == ["Malformed"]
    assert loaded.findings == ()


def test_a_frame_of_events_has_their_fields(run: Path):
    frame = load_run(run).events("evaluated")
    events = [
        (peer, event.accuracy)
        for _, peer, event in honest_run(peers=PEERS, rounds=ROUNDS)
        if isinstance(event, Evaluated)
    ]
    assert list(zip(frame["peer"], frame["accuracy"], strict=True)) == events
    mixed = load_run(run).events("mixed")
    assert [len(weights) for weights in mixed["neighbours"]] == [
        len(event.neighbours)
        for _, _, event in honest_run(peers=PEERS, rounds=ROUNDS)
        if isinstance(event, Mixed)
    ]
    with pytest.raises(ConfigError, match="teleported"):
        load_run(run).events("teleported")


def test_the_graph_has_an_edge_for_each_direction(run: Path):
    loaded = load_run(str(run))
    assert set(loaded.graph) == {name_of(peer) for peer in range(PEERS)}
    weights = nx.get_edge_attributes(loaded.graph, "sent")
    assert sum(weights.values()) == loaded.summary.bytes_sent


def test_without_pandas_it_says_what_to_install(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError) as caught:
        load_run(run)
    assert "tidings[scenarios]" in caught.value.fix


@pytest.mark.parametrize("form", ["graphml", "gexf"])
def test_other_programs_can_read_the_graph(run: Path, tmp_path: Path, form: str):
    result = exported(run, form, tmp_path / "graph")
    assert json.loads(result.stdout) == {"to": form, "written": str(tmp_path / "graph")}
    read = {"graphml": nx.read_graphml, "gexf": nx.read_gexf}[form](tmp_path / "graph")
    assert nx.utils.graphs_equal(nx.DiGraph(read.edges), nx.DiGraph(load_run(run).graph.edges))
    assert read.nodes[name_of(2)]["rounds"] == ROUNDS


@pytest.mark.parametrize("form", ["graphml", "gexf", "prometheus", "tensorboard"])
def test_hostile_names_break_no_export(tmp_path: Path, form: str):
    write_log(tmp_path / "run" / "events.jsonl", hostile_run())
    assert exported(tmp_path / "run", form, tmp_path / "out").exit_code == 0
    inside = {file.parent.name for file in tmp_path.rglob("*tfevents*")}
    assert all(name == "all" or name.startswith("peer-") for name in inside)
    if form == "graphml":
        assert len(nx.read_graphml(tmp_path / "out")) > 10
    if form == "prometheus":
        for line in (tmp_path / "out").read_text("utf-8").split("\n"):
            assert not line or line.startswith(("# ", "tidings_"))


def points_of(folder: Path) -> dict[tuple[str, int], float]:
    """Tag, step and value of all points in an event file: length, check, data, check, and so on."""
    (file,) = folder.glob("*tfevents*")
    raw, points = file.read_bytes(), {}
    while raw:
        (length,) = struct.unpack("<Q", raw[:8])
        event = TensorEvent.FromString(raw[12 : 12 + length])
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                points[value.tag, event.step] = value.simple_value
        raw = raw[12 + length + 4 :]
    return points


def test_tensorboard_gets_the_curves(run: Path, tmp_path: Path):
    assert exported(run, "tensorboard", tmp_path / "board").exit_code == 0
    summary = load_run(run).summary
    points = points_of(tmp_path / "board" / "all")
    for row in summary.by_round:
        assert points["accuracy/mean", row.round] == pytest.approx(row.accuracy_mean)
        assert points["consensus/distance", row.round] == pytest.approx(row.consensus_distance)
        assert points["privacy/largest_epsilon", row.round] == pytest.approx(row.epsilon_max)
    one = points_of(tmp_path / "board" / "peer-0003")
    assert one["accuracy", ROUNDS] == pytest.approx(summary.by_peer[3].accuracy)
    again = exported(run, "tensorboard", tmp_path / "board")
    assert isinstance(again.exception, ConfigError)  # curves of two runs would be mixed up


def test_prometheus_gets_the_last_figures(run: Path, tmp_path: Path):
    assert exported(run, "prometheus", tmp_path / "run.prom").exit_code == 0
    lines = (tmp_path / "run.prom").read_text().splitlines()
    peer = load_run(run).summary.by_peer[2]
    assert f'tidings_accuracy{{peer="{peer.name}"}} {peer.accuracy!r}' in lines
    assert f'tidings_sent_bytes_total{{peer="{peer.name}"}} {peer.bytes_sent}' in lines
    refused = 'tidings_refused_frames_total{peer="peer-01",sender="peer-03",reason="Malformed"} 1'
    assert refused in lines


def test_a_comparison_is_not_one_run(tmp_path: Path):
    for arm in ("a", "b"):
        write_log(tmp_path / arm / "events.jsonl", honest_run(peers=2, rounds=1))
    result = exported(tmp_path, "prometheus", tmp_path / "x")
    assert isinstance(result.exception, ConfigError)
