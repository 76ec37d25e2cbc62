"""Peers in processes of their own are killed with signal 9 at any moment, and come back.

Each comes back to its own state: no number of its feed is ever given twice, what it has spent
stays spent, and the others go on without it. The seed of a failure is printed; KILL9_SEED repeats
the choice of victims and moments (though not what the machine makes of them).
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tidings.crypto.identity import short_id
from tidings.crypto.ledger import Ledger, LedgerEntry
from tidings.gossip.events import (
    Equivocated,
    Mixed,
    PeerFinished,
    PeerStarted,
    Published,
    Received,
    Refused,
    RolledBack,
)
from tidings.peer.folder import PeerFolder
from tidings.peer.learners.spec import NPZ
from tidings.peer.store import Store
from tidings.scenarios.engines.town import prepare
from tidings.scenarios.follow import Follower
from tidings.scenarios.run_log import LogLine
from tidings.scenarios.scenario import load_scenario

PEERS = 4
SLOW_S = 0.25
DEADLINE_S = 6.0
PATIENCE_S = 90.0  # more than anything here takes on a busy machine


def now() -> float:
    return time.monotonic()  # noqa: TID251


class Network:
    """Some `tidings peer run` processes, and what their logs say."""

    def __init__(self, folder: Path, *, rounds: int) -> None:
        scenario = load_scenario(
            "quickstart",
            (
                f"peers={PEERS}",
                f"rules.rounds={rounds}",
                f"rules.deadline_s={DEADLINE_S}",
                'rules.topology={kind="ring"}',
                'learner={kind="softmax", features=64, classes=10}',
                # a ledger that grows by a row each round, and whose sum is quick to compute
                'privacy={mode="peer", noise_multiplier=1.0, epsilon=1e6}',
            ),
        )
        self.folders = prepare(scenario, folder).folders
        for peer in self.folders:
            text = peer.config_file.read_text()
            assert NPZ in text
            peer.config_file.write_text(text.replace(NPZ, "tests.scenarios.slow_share:share"))
        self.hurry = folder / "hurry"
        self.rounds = rounds
        self.names = [peer.config().name for peer in self.folders]
        self.ids = [short_id(peer.identity().verify_key) for peer in self.folders]
        self.lines: list[LogLine] = []
        self._follower = Follower([peer.events_file for peer in self.folders])
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    # -- processes ---------------------------------------------------------------------------

    def start(self, index: int) -> None:
        path = self.folders[index].path
        with (path / "output.txt").open("ab") as output:
            self._processes[index] = subprocess.Popen(
                [sys.executable, "-m", "tidings", "peer", "run", str(path)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(each for each in sys.path if each),
                    "HURRY_FILE": str(self.hurry),
                    "SLOW_S": str(SLOW_S),
                },
            )

    def kill(self, index: int) -> None:
        process = self._processes[index]
        process.kill()
        assert process.wait(10) == -signal.SIGKILL, self.said(index)

    def stop(self) -> list[tuple[int, float]]:
        """End all with SIGTERM: the exit code of each and how long it took, in seconds."""
        began = now()
        for process in self._processes.values():
            process.terminate()
        return [(p.wait(30), now() - began) for _, p in sorted(self._processes.items())]

    def said(self, index: int) -> str:
        return (self.folders[index].path / "output.txt").read_text()[-2000:]

    @contextmanager
    def running(self) -> Iterator[None]:
        for index in range(PEERS):
            self.start(index)
        try:
            yield
        finally:
            for process in self._processes.values():
                process.kill()
                process.wait()

    # -- what they say -----------------------------------------------------------------------

    def look(self) -> None:
        """Read what is new in the logs; nobody may have ended by itself."""
        for index, process in self._processes.items():
            assert process.poll() is None, f"{self.names[index]} ended: {self.said(index)}"
        self.lines += self._follower.fresh()

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        end = now() + PATIENCE_S
        self.look()
        while not condition():
            assert now() < end, f"{what}: not within {PATIENCE_S} s"
            time.sleep(0.1)
            self.look()

    def of(self, index: int, kind: type) -> list:
        name = self.names[index]
        return [line.event for line in self.lines if line.peer == name if type(line.event) is kind]

    def round_of(self, index: int) -> int:
        return max((event.round for event in self.of(index, Mixed)), default=0)

    def finished(self) -> bool:
        return all(self.of(index, PeerFinished) for index in range(PEERS))

    def ledger(self, index: int, scratch: Path) -> list[LedgerEntry]:
        """A dead peer's ledger, verified; read from a copy, so that the peer finds it untouched."""
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        for file in self.folders[index].path.glob("tidings.db*"):
            shutil.copy(file, scratch)
        if not (scratch / "tidings.db").exists():
            return []
        ledger = Ledger(scratch / "tidings.db")  # checks the whole chain
        try:
            return ledger.entries()
        finally:
            ledger.close()


def kill_and_restart(folder: Path, kills: int, rounds: int) -> None:
    seed = int(os.environ.get("KILL9_SEED") or secrets.randbits(32))
    print(f"KILL9_SEED={seed}")
    rng = np.random.default_rng(seed)
    network = Network(folder / "run", rounds=rounds)
    ledgers: dict[int, list[LedgerEntry]] = defaultdict(list)
    with network.running():
        network.wait_until(
            lambda: all(network.round_of(i) > 1 for i in range(PEERS)), "everybody trains"
        )
        for _ in range(kills):
            time.sleep(rng.uniform(0.0, 3.0))
            victim = int(rng.integers(PEERS))
            network.look()
            reached = [network.round_of(i) for i in range(PEERS)]
            network.kill(victim)
            entries = network.ledger(victim, folder / "scratch")
            assert entries[: len(ledgers[victim])] == ledgers[victim], "the ledger shrank"
            ledgers[victim] = entries
            network.start(victim)
            # the others never stop: they go on while this one is away
            others = [i for i in range(PEERS) if i != victim]
            network.wait_until(
                lambda o=others, r=reached: all(network.round_of(i) > r[i] for i in o),
                f"the others go on without {network.names[victim]}",
            )
            assert not network.finished(), "too few rounds for so many kills"
        network.wait_until(
            lambda: all(len(network.of(i, PeerStarted)) for i in range(PEERS)), "all come back"
        )
        network.hurry.touch()
        network.wait_until(network.finished, "all finish")
        final = {network.ids[i]: network.of(i, PeerFinished)[-1].state for i in range(PEERS)}
        network.wait_until(lambda: copies(network) == final, "the public copies agree")
        ended = network.stop()
    assert [code for code, _ in ended] == [0] * PEERS, network.said(0)
    assert max(seconds for _, seconds in ended) < 5
    for index in range(PEERS):
        entries = network.ledger(index, folder / "scratch")
        assert entries[: len(ledgers[index])] == ledgers[index]
        # each entry that was learnt is paid for; a kill may cost one that was never published
        assert len(entries) >= len(network.of(index, Published)) > 0
    check_logs(network)
    check_stores(network)


def copies(network: Network) -> dict[str, str]:
    """Author -> the state of it that all its followers came to last; "" where they differ."""
    last: dict[tuple[str, str], str] = {}
    for line in network.lines:
        if isinstance(line.event, Received) and line.event.message == "news":
            last[line.event.author, line.peer] = line.event.state
    return {
        author: states.pop() if len(states) == 1 else ""
        for author in {author for author, _ in last}
        if (states := {state for (who, _), state in last.items() if who == author})
    }


def check_logs(network: Network) -> None:
    """No number was given twice, nobody was suspected, each came back to where it was."""
    truths: dict[tuple[str, int], set[str]] = defaultdict(set)
    for line in network.lines:
        match line.event:
            case Published(sequence=sequence, state=state):
                truths[network.ids[network.names.index(line.peer)], sequence].add(state)
            case Received(message="news", author=author, sequence=sequence, state=state):
                truths[author, sequence].add(state)
    twice = {key: states for key, states in truths.items() if len(states) > 1}
    assert not twice
    for index in range(PEERS):
        reasons = {event.reason for event in network.of(index, Refused)}
        assert "equivocation" not in reasons, reasons
        assert not network.of(index, Equivocated)
        assert not network.of(index, RolledBack)
        sequence = round_ = 0
        mixed_at = None
        for line in network.lines:
            if line.peer != network.names[index]:
                continue
            match line.event:
                case Mixed():
                    if mixed_at is not None:  # no round lasts longer than a deadline (and a bit)
                        assert line.time - mixed_at < 1.5 * DEADLINE_S, f"round {line.event.round}"
                    mixed_at = line.time
                case Published():
                    # what was stored when it was killed may have missed the log, by one
                    assert line.event.sequence in (sequence + 1, sequence + 2)
                    assert line.event.round > round_
                    sequence, round_ = line.event.sequence, line.event.round
                case PeerStarted():
                    mixed_at = None
                    assert line.event.sequence in (sequence, sequence + 1)
                    assert line.event.round >= round_


def check_stores(network: Network) -> None:
    """What is on the disks agrees as well: each stored copy is the one that its author noted."""
    published = {
        (network.ids[i], event.sequence): event.state
        for i in range(PEERS)
        for event in network.of(i, Published)
    }
    compared = 0
    for peer in network.folders:
        loaded = _load(peer)
        for record in loaded:
            header = record.entry.header
            noted = published.get((short_id(record.author), header.sequence))
            if noted is not None:
                assert header.state.hex() == noted
                compared += 1
    assert compared > PEERS


def _load(peer: PeerFolder) -> tuple:
    store = Store(peer.database_file, peer.identity().verify_key)
    try:
        loaded = store.load()
        assert loaded is not None
        return loaded[0].feeds
    finally:
        store.close()


def test_killed_peers_carry_on_and_the_others_never_stop(tmp_path: Path) -> None:
    kill_and_restart(tmp_path, kills=4, rounds=120)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_fifty_kills(tmp_path: Path) -> None:
    kill_and_restart(tmp_path, kills=50, rounds=1200)
