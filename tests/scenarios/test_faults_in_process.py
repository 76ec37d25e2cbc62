"""One scenario file with [faults], on real peers that share a process: no root is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.small import small
from tidings.crypto.ledger import Ledger
from tidings.gossip.events import LinkDown, PeerStarted, Published
from tidings.peer.folder import PeerFolder
from tidings.scenarios.run_log import FaultMade, RunLog
from tidings.scenarios.runner import run_scenario
from tidings.scenarios.summary import summarise

ROUNDS = 25
FAULTS = (
    f"rules.rounds={ROUNDS}",
    "faults.loss=0.02",
    "faults.delay_s=0.02",
    "faults.jitter_s=0.02",
    "faults.rate_bit_s=4e6",
    "faults.crashes=[{node=2, at_s=0.5, for_s=0.7}, {node=0, at_s=2.2, for_s=0.6}]",
    "faults.cuts=[{from_s=1.0, to_s=2.5, groups=[[0, 1], [2, 3, 4]]}]",
)


@pytest.mark.parametrize(
    "how",
    [
        ("engine=sim",),
        ("engine=live", "transport=memory"),
        pytest.param(("engine=live", "transport=mqtt"), marks=pytest.mark.nightly),
        pytest.param(("engine=live", "transport=libp2p"), marks=pytest.mark.nightly),
    ],
    ids=lambda how: "-".join(each.split("=")[1] for each in how),
)
def test_the_same_faults_happen_to_simulated_and_to_real_peers(
    tmp_path: Path, how: tuple[str, ...]
) -> None:
    run = tmp_path / "run"
    scenario = small(*FAULTS, *how)
    run_scenario(scenario, run, lambda *_: None)
    summary = summarise(run)
    assert summary.outcome == "finished"
    assert summary.copies_agree
    lines = list(RunLog(run))
    starts = [line.peer for line in lines if isinstance(line.event, PeerStarted)]
    assert sorted(starts) == sorted([*scenario.names(), "peer-0", "peer-2"])
    whys = {line.event.why for line in lines if isinstance(line.event, LinkDown)}
    assert "silent" in whys
    if scenario.engine == "live":
        made = [(e.event.what, e.event.nodes) for e in lines if isinstance(e.event, FaultMade)]
        assert made == [
            ("killed", (2,)),
            ("cut", ()),
            ("restarted", (2,)),
            ("killed", (0,)),
            ("healed", ()),
            ("restarted", (0,)),
        ]
        kills = [
            name for line in made if line[0] == "killed" for name in map("peer-{}".format, line[1])
        ]
        for name in scenario.names():
            ledger = Ledger(PeerFolder(run / "peers" / name).database_file)  # checks the chain
            paid = [entry.round for entry in ledger.entries()]
            ledger.close()
            assert paid == sorted(paid)
            # Killed between paying and publishing, a peer pays for that round once more, for the
            # noise it drew then is gone. Nobody else does, and no kill costs more than one round.
            assert len(paid) - len(set(paid)) <= kills.count(name), "a round was paid for twice"
            published = [
                line.event.round
                for line in lines
                if line.peer == name and isinstance(line.event, Published)
            ]
            assert set(published) <= set(paid), "a round was published and not paid for"
