"""The ledger: on disk before append returns, never smaller, never believed when it is a copy."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.crypto.accounting import PrivacyEvent
from tidings.crypto.errors import StorageError
from tidings.crypto.ledger import Ledger, LedgerEntry

EVENT = PrivacyEvent(
    mechanism="poisson-gaussian", noise_multiplier=1.84, sampling_rate=0.25, steps=5
)


def put(ledger: Ledger, round: int = 1) -> LedgerEntry:
    return ledger.append(EVENT, round, unit="record", delta=1e-5)


def edit(path: Path, *statements: str) -> None:
    """Change the database as somebody with an editor would."""
    with sqlite3.connect(path) as connection:
        for trigger in ("ledger_never_shrinks", "ledger_never_changes"):
            connection.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            connection.execute(statement)
    connection.close()


# ---- what is written is there


@settings(deadline=None, derandomize=True, max_examples=25)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 2**40),
            st.sampled_from(["record", "peer"]),
            st.floats(1e-3, 1e6),
            st.floats(1e-9, 1),
            st.integers(0, 2**40),
            st.floats(1e-15, 0.5),
        ),
        max_size=8,
    )
)
def test_entries_are_those_appended_and_form_a_chain(rows: list[tuple]) -> None:  # type: ignore[type-arg]
    ledger = Ledger(None)
    heads = [ledger.head_hash()]
    written = []
    for round, unit, sigma, q, steps, delta in rows:
        event = PrivacyEvent(
            mechanism="poisson-gaussian", noise_multiplier=sigma, sampling_rate=q, steps=steps
        )
        written.append(ledger.append(event, round, unit=unit, delta=delta))
        assert (written[-1].event, written[-1].round) == (event, round)
        heads.append(ledger.head_hash())
    assert ledger.entries() == written
    assert [entry.previous for entry in written] == heads[:-1]
    assert [entry.hash for entry in written] == heads[1:]
    assert len(set(heads)) == len(heads)
    assert ledger.verify() == (len(rows), heads[-1])


def test_a_ledger_is_there_again_after_it_was_closed(tmp_path: Path) -> None:
    path = tmp_path / "tidings.db"
    first = Ledger(path)
    written = [put(first, round) for round in range(3)]
    first.close()
    again = Ledger(path)
    assert again.entries() == written
    assert put(again, 3).previous == written[-1].hash
    assert not again.is_copy()


def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    Ledger(tmp_path / "tidings.db").close()
    assert (tmp_path / "tidings.db").stat().st_mode & 0o077 == 0


def test_each_commit_is_synced_to_the_disk(tmp_path: Path) -> None:
    """A kill cannot show this, only a power failure; so the setting itself is looked at."""
    connection = Ledger(tmp_path / "tidings.db")._connection
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_threads_append_one_after_another(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "tidings.db")
    threads = [threading.Thread(target=lambda: [put(ledger) for _ in range(10)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.verify()[0] == 40


def test_it_shares_its_file_with_another_connection(tmp_path: Path) -> None:
    path = tmp_path / "tidings.db"
    feeds = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    feeds.execute("PRAGMA journal_mode = WAL")
    feeds.execute("CREATE TABLE feed (n INTEGER)")
    ledger = Ledger(path)
    feeds.execute("BEGIN IMMEDIATE")
    feeds.execute("INSERT INTO feed VALUES (1)")
    release = threading.Timer(0.2, lambda: feeds.execute("COMMIT"))
    release.start()
    put(ledger)  # waits for the other's commit instead of failing
    release.join()
    feeds.close()
    assert ledger.verify()[0] == 1


_WRITER = """
import sys
from tidings.crypto.accounting import PrivacyEvent
from tidings.crypto.ledger import Ledger
ledger = Ledger(sys.argv[1])
event = PrivacyEvent(mechanism="gaussian", noise_multiplier=2.0)
for round in range(10**6):
    entry = ledger.append(event, round, unit="peer", delta=1e-5)
    sys.stdout.write(f"{entry.number} {entry.hash.hex()}\\n")
    sys.stdout.flush()
"""


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "tidings.db"
    known: dict[int, str] = {}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    for delay_s in (0.05, 0.11, 0.2):
        process = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert process.stdout is not None
        lines = [process.stdout.readline()]  # it is in the middle of its appends now
        time.sleep(delay_s)
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.read().splitlines()
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL
        acknowledged = [line.split() for line in lines if len(line.split()) == 2]
        new = {int(number): hash for number, hash in acknowledged if len(hash) == 64}
        assert len(new) > 3
        assert min(new) > max(known, default=0)  # never a number twice
        known |= new
        ledger = Ledger(path)  # verifies the chain
        stored = {entry.number: entry.hash.hex() for entry in ledger.entries()}
        ledger.close()
        assert {number: stored.get(number) for number in known} == known
        # at most one row was committed without having been acknowledged
        assert max(stored) <= max(known) + 1


# ---- never smaller


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM ledger",
        "DELETE FROM ledger WHERE number = 3",
        "UPDATE ledger SET steps = 0",
        "REPLACE INTO ledger SELECT * FROM ledger WHERE number = 1",
    ],
)
def test_the_database_itself_refuses_to_shrink_or_change_it(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "tidings.db"
    ledger = Ledger(path)
    before = [put(ledger, round) for round in range(3)]
    ledger.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA recursive_triggers = ON")  # so that REPLACE counts as a deletion
    with pytest.raises(sqlite3.IntegrityError, match="ledger never"):
        connection.execute(statement)
    connection.close()
    assert Ledger(path).entries() == before


@pytest.mark.parametrize(
    ("statement", "row"),
    [
        ("DELETE FROM ledger WHERE number = 3", 3),  # the end cut off
        ("DELETE FROM ledger", 1),
        ("DELETE FROM ledger WHERE number = 2", 2),
        ("UPDATE ledger SET steps = 1 WHERE number = 2", 2),
        ("UPDATE ledger SET noise_multiplier = 9.0 WHERE number = 1", 1),
        ("UPDATE ledger SET unit = 'peer' WHERE number = 3", 3),
        ("UPDATE ledger SET steps = 'five' WHERE number = 3", 3),
        ("UPDATE ledger SET sampling_rate = 7.0 WHERE number = 1", 1),
        ("UPDATE ledger SET previous = hash WHERE number = 2", 2),
        ("UPDATE ledger_home SET inode = '1'", 1),
    ],
)
def test_a_ledger_that_was_edited_names_the_first_bad_row(
    tmp_path: Path, statement: str, row: int
) -> None:
    path = tmp_path / "tidings.db"
    ledger = Ledger(path)
    for round in range(3):
        put(ledger, round)
    ledger.close()
    edit(path, statement)
    with pytest.raises(StorageError, match=f"row {row} of the privacy ledger"):
        Ledger(path)


# ---- copies


def test_a_copied_file_knows_that_it_is_a_copy(tmp_path: Path) -> None:
    path, copy = tmp_path / "tidings.db", tmp_path / "copy.db"
    ledger = Ledger(path)
    put(ledger)
    ledger.close()
    shutil.copy2(path, copy)
    copied = Ledger(copy)
    assert copied.is_copy()
    assert copied.verify()[0] == 1  # it can be read and checked all the same
    assert not Ledger(path).is_copy()


def test_a_renamed_folder_is_not_a_copy(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Ledger(tmp_path / "a" / "tidings.db").close()
    (tmp_path / "a").rename(tmp_path / "b")
    assert not Ledger(tmp_path / "b" / "tidings.db").is_copy()


def test_the_same_file_on_another_machine_is_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "machine-id"
    other.write_text("another machine\n")
    ledger = Ledger(tmp_path / "tidings.db")
    monkeypatch.setattr("tidings.crypto.ledger_home._MACHINE_ID_FILES", (other,))
    assert ledger.is_copy()


def test_a_ledger_in_memory_is_no_copy() -> None:
    assert not Ledger(None).is_copy()


def test_two_processes_cannot_both_spend(tmp_path: Path) -> None:
    one, two = Ledger(tmp_path / "tidings.db"), Ledger(tmp_path / "tidings.db")
    put(one)
    with pytest.raises(StorageError, match="another process writes"):
        put(two)
    assert put(one, 2).number == 2


# ---- disks that fail


def test_a_full_disk_is_a_clear_error_and_nothing_is_half_written(tmp_path: Path) -> None:
    path = tmp_path / "tidings.db"
    ledger = Ledger(path)
    before = [put(ledger)]
    pages = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
    ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError, match="the disk is full") as caught:
        before.extend(put(ledger, round) for round in range(200))
    assert caught.value.exit_code == 4
    assert str(path) in str(caught.value)
    assert ledger.entries() == before
    ledger._connection.execute("PRAGMA max_page_count = 100000")  # space was freed
    before.append(put(ledger))
    ledger.close()
    assert Ledger(path).entries() == before


_FILE_LIMIT = """
import resource, sys
from tidings.crypto.accounting import PrivacyEvent
from tidings.crypto.errors import StorageError
from tidings.crypto.ledger import Ledger
ledger = Ledger(sys.argv[1])
event = PrivacyEvent(mechanism="gaussian", noise_multiplier=2.0)
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))  # writes fail in earnest from here on
try:
    for round in range(1000):
        print(ledger.append(event, round, unit="peer", delta=1e-5).number, flush=True)
except StorageError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


def test_writes_that_the_system_refuses_lose_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "tidings.db"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", _FILE_LIMIT, str(path)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    acknowledged = [int(line) for line in done.stdout.split()]
    assert acknowledged
    assert [entry.number for entry in Ledger(path).entries()][: len(acknowledged)] == acknowledged


def test_a_missing_folder_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="folder does not exist"):
        Ledger(tmp_path / "nowhere" / "tidings.db")


def test_a_file_that_is_no_database_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "tidings.db"
    path.write_bytes(b"hello, this is not a database file at all" * 40)
    with pytest.raises(StorageError, match="not a database"):
        Ledger(path)
    assert path.read_bytes().startswith(b"hello")


def test_a_folder_in_the_place_of_the_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="it is a folder"):
        Ledger(tmp_path)


def test_a_folder_taken_away_under_a_running_peer_is_a_storage_error(tmp_path: Path) -> None:
    file = tmp_path / "tidings.db"
    ledger = Ledger(file)
    file.unlink()
    with pytest.raises(StorageError, match=r"tidings\.db"):
        ledger.is_copy()
