"""`tidings peer run` in a process of its own: how it ends, and what it leaves behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.peer.peer_folders import small_network
from tidings.__main__ import main
from tidings.crypto.identity import Identity
from tidings.crypto.ledger import Ledger
from tidings.peer.folder import PeerFolder
from tidings.peer.launch import opened
from tidings.peer.learners.spec import NPZ
from tidings.peer.store import Store
from tidings.peer.transports.memory import MemoryHub, MemoryTransport

# A data set of the user's, whose learner takes longer than anybody would wait.
LONG = """
import time
from tidings.peer.learners.data import npz
from tidings.peer.learners.softmax import SoftmaxLearner

def share(path):
    def train(self, *arguments, **more):
        print("training", flush=True)
        time.sleep(60)
    SoftmaxLearner.train = train
    return npz(path)
"""


@contextmanager
def running(folder: PeerFolder, *path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`tidings peer run` until the block ends; ``path`` holds modules of the user's."""
    paths = [str(each) for each in (*path, *sys.path) if str(each)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tidings", "peer", "run", str(folder.path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(folder: PeerFolder, event: str) -> None:
    end = time.monotonic() + 60  # noqa: TID251
    file = folder.events_file
    while not file.exists() or f'"{event}"' not in file.read_text():
        assert time.monotonic() < end, f"no {event} within a minute"  # noqa: TID251
        time.sleep(0.05)


def ended(process: subprocess.Popen[bytes]) -> tuple[int, float, str]:
    """Exit code, seconds, and what was said, after a signal was sent."""
    began = time.monotonic()  # noqa: TID251
    out, err = process.communicate(timeout=30)
    said = (out + err).decode()
    assert "Traceback" not in said
    return process.returncode, time.monotonic() - began, said  # noqa: TID251


def told(capfd: pytest.CaptureFixture[str], folder: PeerFolder) -> tuple[int, str]:
    """Run in this process: the exit code and the one message."""
    capfd.readouterr()
    code = main(["peer", "run", str(folder.path)])
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err
    assert err.count("Error: ") == 1
    return code, err


# -- being stopped -------------------------------------------------------------------------------


def test_a_waiting_peer_ends_at_once_when_told_to(tmp_path: Path) -> None:
    folder, _ = small_network(tmp_path)
    with running(folder) as process:
        wait_for(folder, "peer-started")  # its neighbour never comes
        process.send_signal(signal.SIGINT)  # as Ctrl-C does
        code, seconds, said = ended(process)
    assert code == 0
    assert re.fullmatch(r"\w{8} is node 0 and in round 1\n", said)
    assert seconds < 5


def test_a_training_peer_ends_within_five_seconds(tmp_path: Path) -> None:
    (folder,) = small_network(tmp_path, peers=1)
    (tmp_path / "long_share.py").write_text(LONG)
    text = folder.config_file.read_text()
    folder.config_file.write_text(text.replace(NPZ, "long_share:share"))
    with running(folder, tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline().endswith(b" is node 0 and in round 1\n")
        assert process.stdout.readline() == b"training\n"
        process.terminate()
        code, seconds, said = ended(process)
    assert (code, said) == (0, "")
    assert seconds < 5
    Ledger(folder.database_file).close()  # whole, and free to be opened


def test_a_stopped_peer_starts_again_on_the_same_port(tmp_path: Path) -> None:
    folder, _ = small_network(tmp_path, "rules.deadline_s=0.2", rounds=2)
    with running(folder) as process:
        wait_for(folder, "peer-finished")
        process.kill()  # no farewell
        process.wait()
    folder.events_file.unlink()
    with running(folder) as process:
        wait_for(folder, "peer-finished")
        process.terminate()
        assert ended(process)[0] == 0


# -- what cannot be used ---------------------------------------------------------------------------


def test_a_port_that_another_peer_has(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder, _ = small_network(tmp_path)
    port = int(folder.config().listen.rsplit("/", 1)[1])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        code, said = told(capfd, folder)
    assert code == 5
    assert f"port {port} is in use" in said
    assert "where: /ip4/127.0.0.1/tcp/" in said


def test_a_folder_that_another_process_runs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, _ = small_network(tmp_path)
    with running(folder) as process:
        wait_for(folder, "peer-started")
        code, said = told(capfd, folder)
        assert process.poll() is None  # undisturbed
    assert code == 4
    assert f"process {process.pid} is running this peer" in said


def test_the_key_of_another(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder, _ = small_network(tmp_path)
    folder.identity_file.unlink()
    Identity.generate().save(folder.identity_file)
    code, said = told(capfd, folder)
    assert code == 3
    assert "made out to" in said


def test_no_admission(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder, _ = small_network(tmp_path)
    folder.admission_file.unlink()
    code, said = told(capfd, folder)
    assert code == 2
    assert "not admitted to a network yet" in said


def test_a_model_that_is_too_large_for_the_networks_frames(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, _ = small_network(tmp_path, "rules.max_frame_bytes=4096")
    code, said = told(capfd, folder)
    assert code == 2
    assert "a model of 650 parameters" in said
    assert "where: rules.max_frame_bytes" in said


# -- disks that are full ---------------------------------------------------------------------------


def test_a_disk_that_is_full_when_a_round_is_stored(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder,) = small_network(tmp_path, peers=1)
    next_boot = Store.next_boot

    def then_full(store: Store, **more: int) -> int:
        boot = next_boot(store, **more)
        (pages,) = store._db.execute("PRAGMA page_count").fetchone()
        store._db.execute(f"PRAGMA max_page_count = {pages}")  # to SQLite, a full disk
        return boot

    monkeypatch.setattr(Store, "next_boot", then_full)
    code, said = told(capfd, folder)
    assert code == 4
    assert "full" in said
    assert f"where: {folder.database_file}" in said
    # it was not published: nothing says so, and after making room it is made anew
    assert '"published"' not in folder.events_file.read_text()
    monkeypatch.undo()
    with running(folder) as process:
        wait_for(folder, "peer-finished")
        process.terminate()
        assert ended(process)[0] == 0


class FullConnection:
    """A connection on which no third row of the ledger can be written."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rows = 0

    def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
        self._rows += sql.startswith("INSERT INTO ledger (")
        if self._rows == 3:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return self._connection.execute(sql, *values)

    def close(self) -> None:
        self._connection.close()


def test_a_disk_that_is_full_when_a_release_is_written(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder,) = small_network(tmp_path, peers=1, rounds=5)
    verify = Ledger.verify

    def then_full(ledger: Ledger) -> tuple[int, bytes]:
        ledger._connection = FullConnection(ledger._connection)  # type: ignore[assignment]
        return verify(ledger)

    monkeypatch.setattr(Ledger, "verify", then_full)
    code, said = told(capfd, folder)
    assert code == 4
    assert "the disk is full" in said
    assert f"where: {folder.database_file}" in said
    monkeypatch.undo()
    ledger = Ledger(folder.database_file)
    assert [entry.round for entry in ledger.entries()] == [1, 2]
    ledger.close()
    log = folder.events_file.read_text()
    assert (log.count('"published"'), log.count('"released"')) == (2, 2)


# -- what is on the disk ---------------------------------------------------------------------------


def test_the_database_is_private_from_its_first_byte(tmp_path: Path) -> None:
    folder, _ = small_network(tmp_path)
    old = os.umask(0)
    try:
        with opened(
            folder, transport=lambda state: MemoryTransport(MemoryHub(), state.me.key, bool)
        ):
            for file in folder.path.glob("tidings.db*"):
                assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
    finally:
        os.umask(old)


def test_a_folder_put_back_from_a_backup_numbers_its_messages_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neighbours have seen the numbers of the days since, and would take it for a replay."""
    folder, _ = small_network(tmp_path)

    def counter(clock: float) -> int:
        monkeypatch.setattr("tidings.peer.launch.wall_time", lambda: clock)
        with opened(
            folder, transport=lambda state: MemoryTransport(MemoryHub(), state.me.key, bool)
        ) as node:
            return node.state.counter

    counter(1000.0)
    backup = folder.database_file.read_bytes()
    used = [counter(2000.0), counter(2000.0), counter(5.0)]  # the clock may go wrong as well
    assert used == sorted(set(used))
    folder.database_file.write_bytes(backup)
    assert counter(2010.0) > used[-1]
