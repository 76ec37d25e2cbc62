"""The live engine: real peers in folders of their own, over memory and over libp2p."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from tests.scenarios.small import small
from tidings.crypto.errors import IdentityError, TransportError
from tidings.gossip.events import Released
from tidings.gossip.messages import SignedEntry
from tidings.peer.folder import PeerFolder
from tidings.scenarios.engines import live, town
from tidings.scenarios.network.namespaces import HostNetwork
from tidings.scenarios.run_log import LogLine, RunLog
from tidings.scenarios.runner import run_scenario
from tidings.scenarios.scenario import Scenario
from tidings.scenarios.summary import RunSummary, summarise
from tidings.scenarios.world import shares_of

FEW = ("engine=live", "rules.rounds=3", "rules.deadline_s=10.0")


def run(scenario: Scenario, folder: Path, *, processes: bool = False) -> RunSummary:
    run_scenario(scenario, folder, lambda *_: None, processes=processes)
    return summarise(folder)


def feeds_of(folder: Path) -> dict[bytes, tuple[int, bytes]]:
    """Author -> (sequence, public copy), as a peer's database has them."""
    with sqlite3.connect(f"file:{folder / 'tidings.db'}?mode=ro", uri=True) as database:
        rows = database.execute("SELECT author, entry, copy FROM feeds").fetchall()
    return {a: (SignedEntry.unpack(entry).header.sequence, bytes(copy)) for a, entry, copy in rows}


def assert_stores_agree(run_folder: Path, rounds: int) -> None:
    """What followers stored of an author is what it stored itself, byte for byte."""
    folders = sorted((run_folder / "peers").iterdir())
    stores = {PeerFolder.open(path).identity().verify_key: feeds_of(path) for path in folders}
    compared = 0
    for key, store in stores.items():
        for author, (sequence, copy) in store.items():
            own_sequence, own_copy = stores[author][author]
            assert sequence <= own_sequence == rounds
            # a store is written at the end of each round, so it may miss somebody's last word
            if sequence == own_sequence:
                assert copy == own_copy
                assert np.frombuffer(copy, dtype=np.int32).any()
                compared += author != key
    assert compared >= len(stores)


def assert_all_is_well(summary: RunSummary, folder: Path, peers: int) -> None:
    assert summary.outcome == "finished"
    assert (summary.peers, summary.rounds) == (peers, 3)
    assert summary.refused == {}
    assert summary.copies.agree
    assert summary.copies.followers_agree
    assert summary.copies.behind == 0
    assert summary.copies.compared == peers * (peers - 1)
    assert all(row.finished and row.accuracy is not None for row in summary.by_peer)
    assert_stores_agree(folder, rounds=3)


# --- three ways to run -------------------------------------------------------------------------


def test_peers_in_memory(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    summary = run(small(*FEW, "transport=memory", "privacy.mode=record"), folder)
    assert_all_is_well(summary, folder, peers=5)
    assert summary.trust_model.startswith("local")
    assert summary.epsilon_max is not None
    assert summary.epsilon_max <= 8
    # each peer's own share, and nobody else's, lies in its folder
    shares = shares_of(small())
    for index, share in enumerate(shares):
        stored = np.load(folder / "peers" / f"peer-{index}" / "data.npz")
        assert np.array_equal(stored["train_y"], share.train_y)


def test_peers_over_libp2p(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    summary = run(small(*FEW, "transport=libp2p", "peers=3"), folder)
    assert_all_is_well(summary, folder, peers=3)
    assert {edge.sender for edge in summary.edges} == {"peer-0", "peer-1", "peer-2"}


def test_peers_in_processes_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    summary = run(small(*FEW, "peers=3"), folder, processes=True)
    assert_all_is_well(summary, folder, peers=3)
    for path in (folder / "peers").iterdir():
        assert not running(int((path / "lock").read_text()))


def running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_live_run_learns_what_its_simulation_learns(tmp_path: Path) -> None:
    # without noise and with batches that hold every record, only the engine differs
    # on a ring: where all hear all, models agree to the last bits and there is nothing to compare
    ring = 'rules.topology={kind="ring"}'
    same = (ring, "training.batch_size=100000", "rules.rounds=5", "rules.deadline_s=30.0")
    lived = run(small(*FEW, "transport=memory", *same), tmp_path / "live")
    simulated = run(small(*same), tmp_path / "sim")
    assert lived.accuracy_mean == pytest.approx(simulated.accuracy_mean, abs=0.005)
    # distances are estimated by sketches, which each network draws for itself
    assert lived.consensus_distance == pytest.approx(simulated.consensus_distance, rel=0.4)
    assert {e.trust_model for e in released(tmp_path / "live")} == {"none"}


def released(folder: Path) -> list[Released]:
    return [line.event for line in RunLog(folder) if isinstance(line.event, Released)]


# --- what can go wrong ---------------------------------------------------------------------------


def test_a_peer_that_is_killed_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    victim = folder / "peers" / "peer-1"
    pids: set[int] = set()

    def kill(_: Scenario, line: LogLine) -> None:
        if line.peer == "peer-1" and not pids:
            pids.update(int(lock.read_text()) for lock in folder.glob("peers/*/lock"))
            os.kill(int((victim / "lock").read_text()), signal.SIGKILL)

    with pytest.raises(TransportError) as caught:
        run_scenario(small(*FEW, "peers=3", "rules.rounds=100"), folder, kill, processes=True)
    assert "peer-1 ended by itself with signal SIGKILL" in caught.value.what
    assert f"tidings peer run {victim}" in caught.value.fix
    assert summarise(folder).outcome == "failed"
    assert not any(running(pid) for pid in pids), "peers were left behind"


@pytest.fixture
def open_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run in which peer-1's key turns out to be readable by others."""
    prepare = live.prepare

    def spoil(scenario: Scenario, folder: Path, network: HostNetwork | None = None) -> town.Town:
        town = prepare(scenario, folder, network)
        town.folders[1].identity_file.chmod(0o644)
        return town

    monkeypatch.setattr(live, "prepare", spoil)


@pytest.mark.usefixtures("open_key")
def test_a_peer_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(TransportError) as caught:
        run(small(*FEW, "peers=2"), tmp_path / "run", processes=True)
    assert "peer-1 ended by itself with exit code 3" in caught.value.what
    assert "identity.key" in caught.value.what  # its own words
    assert summarise(tmp_path / "run").outcome == "failed"


@pytest.mark.usefixtures("open_key")
def test_a_peer_that_cannot_start_beside_others_says_why(tmp_path: Path) -> None:
    with pytest.raises(IdentityError) as caught:
        run(small(*FEW, "transport=memory", "peers=2"), tmp_path / "run")
    assert "peer-1" in caught.value.where
    assert summarise(tmp_path / "run").outcome == "failed"
