"""FedAvg and all-reduce on the array engine, against what they are by definition."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.scenarios.small import small
from tidings.__main__ import main
from tidings.gossip.central import draw_participants
from tidings.gossip.events import Evaluated, Event, Mixed, Released, Sent, Sketched
from tidings.gossip.grid import from_grid
from tidings.scenarios.arms import arm_of
from tidings.scenarios.engines.array.central import CentralRun
from tidings.scenarios.engines.array.learners import workers_of
from tidings.scenarios.engines.array.start import begin
from tidings.scenarios.engines.array.workers import Training
from tidings.scenarios.run_log import LogLine
from tidings.scenarios.runner import run_scenario
from tidings.scenarios.scenario import Scenario
from tidings.scenarios.summary import summarise
from tidings.scenarios.world import World


def scenario(*sets: str, arm: str) -> Scenario:
    sets = ("engine=array", "rules.rounds=6", "rules.compression=none", *sets)
    return arm_of(small(*sets), arm)


def run(wanted: Scenario, folder: Path) -> tuple[CentralRun, list[LogLine]]:
    lines: list[LogLine] = []
    made = begin(
        World(wanted), folder, lambda t, p, e: lines.append(LogLine(time=t, peer=p, event=e))
    )
    assert isinstance(made, CentralRun)
    assert made.run() == "finished"
    return made, lines


def of(lines: list[LogLine], kind: type[Event]) -> Iterator[tuple[str, Event]]:
    return ((line.peer, line.event) for line in lines if isinstance(line.event, kind))


@pytest.mark.parametrize("share", [1.0, 0.4])
def test_fedavg_is_the_mean_of_the_drawn_clients_weighted_by_their_records(
    share: float, tmp_path: Path
):
    wanted = scenario(f"fedavg.participation={share}", arm="fedavg")
    made, lines = run(wanted, tmp_path)
    # the algorithm in floating point, a client at a time
    world = World(wanted)
    workers = workers_of(world)
    samples = np.array(workers.samples, dtype=np.float64)
    assert len(set(samples)) > 1
    model = from_grid(world.genesis, wanted.rules.grid_bits)
    sessions = np.zeros(wanted.peers, dtype=np.int64)
    rng = np.random.default_rng([wanted.seed, 0xFEDA])
    for round_ in range(1, wanted.rules.rounds + 1):
        total, weight = np.zeros(model.size), 0.0
        for client in draw_participants(wanted.peers, share, rng):
            own, node = model[None].copy(), np.array([client])
            at = np.array([round_])
            job = Training(nodes=node, rounds=at, sessions=sessions[node], models=own)
            workers.train(job)
            sessions[client] += 1
            total += samples[client] * own[0]
            weight += samples[client]
        model = (total / weight).astype(np.float32)
    grown = 2.0**-wanted.rules.grid_bits * wanted.rules.rounds * 4
    assert np.abs(from_grid(made.model, wanted.rules.grid_bits) - model).max() < grown
    trained = {peer for peer, _ in of(lines, Released)}
    assert len(list(of(lines, Released))) == round(share * 5) * 6
    assert len(trained) > 1


def test_all_reduce_is_gossip_on_a_complete_graph(tmp_path: Path):
    sets = ("rules.optimiser=qg-dsgdm",)
    mean, _ = run(scenario(*sets, arm="all-reduce"), tmp_path / "mean")
    gossip = begin(World(scenario(*sets, arm="gossip")), tmp_path / "gossip", lambda *_: None)
    gossip.run()
    models = gossip.crew.models(np.arange(5))
    apart = np.abs(models - from_grid(mean.model, 20)).max()
    assert apart < 1e-4
    plain, _ = run(scenario("rules.optimiser=sgd", arm="all-reduce"), tmp_path / "plain")
    assert np.abs(from_grid(plain.model, 20) - from_grid(mean.model, 20)).max() > 1e-3


def test_chunks_do_not_change_a_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wanted = scenario(arm="fedavg")
    whole, _ = run(wanted, tmp_path)
    monkeypatch.setattr("tidings.scenarios.engines.array.central.CHUNK_NODES", 2)
    chunked, _ = run(wanted, tmp_path)
    assert np.array_equal(whole.model, chunked.model)


def test_the_wire_carries_whole_models_to_and_from_the_drawn(tmp_path: Path):
    made, lines = run(scenario("fedavg.participation=0.6", arm="fedavg"), tmp_path)
    whole = 4 * made.model.size
    sent = list(of(lines, Sent))
    assert all(whole < event.size_bytes < whole + 600 for _, event in sent)
    down = [peer for peer, event in sent if event.message == "model"]
    up = [peer for peer, event in sent if event.message == "update"]
    assert set(down) == {"peer-0"}  # the coordinator runs beside it, so its own costs nothing
    assert "peer-0" not in up
    assert len(down) == len(up)
    assert 6 * 2 <= len(up) <= 6 * 3
    _, ring = run(scenario(arm="all-reduce"), tmp_path)
    sizes = [event.size_bytes for _, event in of(ring, Sent)]
    assert len(sizes) == 6 * 5
    assert all(2 * whole * 4 // 5 < size < 2 * whole * 4 // 5 + 600 for size in sizes)


def test_everybody_holds_and_tells_the_same(tmp_path: Path):
    _, lines = run(scenario(arm="fedavg"), tmp_path)
    for kind in (Evaluated, Mixed, Sketched):
        by_round: dict[int, set[Event]] = {}
        for _, event in of(lines, kind):
            by_round.setdefault(event.round, []).append(event)
        assert {len(events) for events in by_round.values()} == {5}
        assert all(events[0] == other for events in by_round.values() for other in events)
    accuracies = [event.accuracy for peer, event in of(lines, Evaluated) if peer == "peer-0"]
    assert accuracies[-1] > accuracies[0] + 0.2


def test_arms_are_compared_in_one_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    arms = ("local", "gossip", "fedavg", "all-reduce", "pooled")
    wanted = small(f"arms={json.dumps(arms)}", "engine=array", "rules.rounds=8")
    run_scenario(wanted, tmp_path / "it", lambda *_: None)
    assert main(["compare", str(tmp_path / "it"), "--json"]) == 0
    found = json.loads(capfd.readouterr().out)["arms"]
    assert set(found) == set(arms)
    assert all(one["outcome"] == "finished" for one in found.values())
    assert found["local"]["accuracy_mean"] < found["fedavg"]["accuracy_mean"]
    assert found["fedavg"]["consensus_distance"] == found["all-reduce"]["consensus_distance"] == 0


def test_many_peers_are_told_in_tables(tmp_path: Path):
    wanted = small(
        "peers=201", "engine=array", "rules.rounds=3", "rules.topology.kind=ring",
        'arms=["fedavg"]', "partition.min_samples=1",
    )  # fmt: skip
    run_scenario(wanted, tmp_path / "it", lambda *_: None)
    summary = summarise(tmp_path / "it" / "fedavg")
    assert summary.outcome == "finished"
    assert summary.peers == 201
    assert summary.messages_sent == 3 * 2 * 200
    assert summary.accuracy_mean == pytest.approx(summary.accuracy_min)
    assert summary.accuracy_min > 0.5
    assert [row.round for row in summary.by_round] == [1, 2, 3]


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["engine=sim"], "add --engine array"),
        (["engine=array", "rules.optimiser=k-gt"], "a memory of its own at each node"),
    ],
)
def test_what_these_arms_cannot_do_is_told(
    sets: list[str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    flags = [part for one in ['arms=["all-reduce"]', *sets] for part in ("--set", one)]
    command = ["run", "quickstart", *flags, "--set", "privacy.mode=none", "--out"]
    assert main([*command, str(tmp_path / "it"), "--json"]) == 2
    told = json.loads(capfd.readouterr().err.splitlines()[-1])
    assert said in " ".join((told["what"], told["fix"]))


def test_privacy_is_spent_as_by_gossip(tmp_path: Path):
    wanted = scenario(
        'privacy={mode="record", epsilon=8.0}', "training.local_steps=1", arm="fedavg"
    )
    _, lines = run(wanted, tmp_path)
    spent = [event.epsilon for _, event in of(lines, Released)]
    assert 7 < max(spent) <= 8
