"""What a peer remembers: all of it, or what it remembered before."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core_kit import Town
from tidings.crypto.errors import StorageError
from tidings.crypto.ledger import Ledger
from tidings.gossip.checkpoint import Checkpoint, Phase
from tidings.peer.store import KEPT_ENTRIES, Store

KEY = bytes(range(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tidings.db"


def blank(**changed: object) -> Checkpoint:
    zeros = np.zeros(3, dtype=np.float32)
    start = Checkpoint(
        round=1, phase=Phase.TRAINING, trained=False, rolled_back=False,
        model=zeros, base=zeros[None], memory=zeros[None], gamma=np.ones(1),
        feeds=(), proofs=(), certificates=(), bulletin=None,
    )  # fmt: skip
    return replace(start, **changed)


def drawn(draw: st.DrawFn, *shape: int) -> np.ndarray:
    count = int(np.prod(shape))
    values = st.lists(st.floats(width=32, allow_nan=False), min_size=count, max_size=count)
    return np.array(draw(values), dtype=np.float32).reshape(shape)


@st.composite
def vectors(draw: st.DrawFn) -> dict[str, np.ndarray]:
    """A model, what was published of it, and what the gossip rule remembers."""
    size, sent, slots = (draw(st.integers(low, 3)) for low in (1, 1, 0))
    return {
        "model": drawn(draw, size),
        "base": drawn(draw, sent, size),
        "memory": drawn(draw, slots, size),
        "gamma": drawn(draw, sent).astype(np.float64),
    }


checkpoints = st.builds(
    lambda vectors, **others: blank(**vectors, **others),
    vectors=vectors(),
    round=st.integers(1, 10**6),
    phase=st.sampled_from(Phase),
    trained=st.booleans(),
    rolled_back=st.booleans(),
    proofs=st.lists(st.binary(max_size=9), max_size=3).map(tuple),
    certificates=st.lists(st.binary(max_size=9), max_size=3).map(tuple),
    bulletin=st.none() | st.binary(max_size=9),
)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kept=st.lists(checkpoints, min_size=1, max_size=3))
def test_what_was_kept_last_is_what_is_loaded(tmp_path, kept):
    path = tmp_path / "tidings.db"
    path.unlink(missing_ok=True)
    store = Store(path, KEY)
    assert store.load() is None
    for checkpoint in kept:
        store.keep(checkpoint)
    store.close()
    again = Store(path, KEY)
    loaded = again.load()
    again.close()
    assert loaded is not None
    arrays = ("model", "base", "memory", "gamma")
    for name in arrays:
        ours, theirs = getattr(kept[-1], name), getattr(loaded[0], name)
        assert (theirs.shape, theirs.tobytes()) == (ours.shape, ours.tobytes())
    plain = dict.fromkeys(arrays, kept[-1].model)
    ours, theirs = replace(kept[-1], **plain), replace(loaded[0], **plain)
    for name in (
        "round", "phase", "trained", "rolled_back", "proofs", "certificates", "bulletin"
    ):  # fmt: skip
        assert getattr(ours, name) == getattr(theirs, name)


def keep_all(town: Town, index: int, path: Path) -> Store:
    store = Store(path, town.keys[index])
    for checkpoint in town.kept[index]:
        store.keep(checkpoint)
    return store


def test_a_state_comes_back_from_its_database_as_it_was(path):
    town = Town(3, rounds=6, compression="int8")
    town.start()
    town.run(3)
    store = keep_all(town, 0, path)
    loaded = store.load()
    assert loaded is not None
    state = town.make_state(0, boot=2)
    state.restore(*loaded)
    store.close()
    before = town.states[0]
    assert (state.round, state.own.head_hash) == (before.round, before.own.head_hash)
    assert np.array_equal(state.model, before.model)
    assert np.array_equal(state.own.copy, before.own.copy)
    for key in town.keys:
        assert state.feeds[key].head_hash == before.feeds[key].head_hash
    # the cheap road for a neighbour that missed a little is still there
    road = state.own.road_from(1)
    assert road is not None
    assert road == before.own.road_from(1)


def test_old_deltas_are_let_go(path):
    town = Town(1, topology={"kind": "none", "nodes": 1}, rounds=KEPT_ENTRIES + 10, parameters=900)
    town.start()
    for _ in range(KEPT_ENTRIES + 5):
        town.train(0)
    store = keep_all(town, 0, path)
    loaded = store.load()
    store.close()
    assert loaded is not None
    assert [delta.sequence for delta in loaded[1]] == list(range(6, KEPT_ENTRIES + 6))


def test_deltas_that_do_not_lead_to_the_head_are_no_road(path):
    """After a roll-back the head came as a snapshot: the deltas before it lead nowhere."""
    town = Town(2, rounds=9)
    town.start()
    town.run(2)
    backup = len(town.kept[0])
    town.run(3)
    town.restart(0, kept=backup)
    town.exchange()
    loaded = keep_all_of(town, 0, backup, path)
    assert loaded.own.sequence == 5
    road = loaded.own.road_from(1)
    assert road is not None
    assert road.base == 0


def keep_all_of(town: Town, index: int, backup: int, path: Path):
    store = Store(path, town.keys[index])
    rolled_back = [c for c in town.kept[index] if c.rolled_back]
    for checkpoint in [*town.kept[index][:backup], *rolled_back]:
        store.keep(checkpoint)
    loaded = store.load()
    store.close()
    assert loaded is not None
    state = town.make_state(index, boot=3)
    state.restore(*loaded)
    return state


# -- boots -------------------------------------------------------------------------------------


def test_no_boot_number_comes_twice(path):
    numbers = []
    for at_least in (1, 1, 500, 20, 1):  # the clock jumps ahead and is set back
        store = Store(path, KEY)
        numbers.append(store.next_boot(at_least=at_least))
        store.close()
    assert numbers == [1, 2, 500, 501, 502]


# -- disks -------------------------------------------------------------------------------------


def test_nobody_else_can_read_the_private_model(path):
    old = os.umask(0)
    try:
        store = Store(path, KEY)
        store.keep(blank())
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
        store.close()
    finally:
        os.umask(old)


def test_a_commit_is_a_sync(path):
    store = Store(path, KEY)
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    store.close()


def test_a_full_disk_is_told_and_what_was_kept_stays(path):
    store = Store(path, KEY)
    store.keep(blank(round=7))
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    large = np.zeros(100_000, dtype=np.float32)
    with pytest.raises(StorageError, match="full") as told:
        store.keep(blank(round=8, model=large))
    assert str(path) in str(told.value)
    loaded = store.load()
    store.close()
    assert loaded is not None
    assert loaded[0].round == 7


def test_a_folder_that_is_missing_is_told(path):
    with pytest.raises(StorageError, match="does not exist"):
        Store(path.parent / "nowhere" / "tidings.db", KEY)


@pytest.mark.parametrize("content", [b"not a database at all", b"x" * 5000])
def test_a_file_that_is_no_database_is_told(path, content):
    path.write_bytes(content)
    with pytest.raises(StorageError, match="not a database"):
        Store(path, KEY)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE checkpoint SET phase = 'dreaming'",
        "UPDATE checkpoint SET model = x'0102'",
        "UPDATE checkpoint SET proofs = x'c1'",
        "UPDATE checkpoint SET certificates = x'01'",
        "UPDATE feeds SET entry = x'00'",
        "UPDATE feeds SET copy = zeroblob(length(copy))",
        "UPDATE feeds SET copy = 'text'",
    ],
)
def test_damage_is_told_and_never_taken_for_a_state(path, damage):
    town = Town(2, rounds=5)
    town.start()
    town.run(1)
    keep_all(town, 0, path).close()
    with sqlite3.connect(path) as db:
        db.execute(damage)
    db.close()
    store = Store(path, town.keys[0])
    state = town.make_state(0, boot=2)

    def load() -> None:
        loaded = store.load()
        assert loaded is not None
        state.restore(*loaded)

    with pytest.raises(StorageError, match=r"damaged|is not the one of entry"):
        load()
    store.close()


def test_the_ledger_shares_the_file(path):
    ledger, store = Ledger(path), Store(path, KEY)
    store.keep(blank(round=3))
    ledger.close()
    store.close()
    again = Ledger(path)
    assert again.entries() == []
    again.close()


WRITER = """
import sys
import numpy as np
from pathlib import Path
from tests.peer.test_store import KEY, blank
from tidings.peer.store import Store

store = Store(Path(sys.argv[1]), KEY)
for number in range(1, 10**6):
    vector = np.full(20_000, number, dtype=np.float32)
    store.keep(blank(round=number, model=vector, base=vector[None], memory=vector[None]))
    print(number, flush=True)
"""


def test_a_kill_while_keeping_leaves_one_whole_checkpoint(path):
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)},
        ) as writer:
            assert writer.stdout is not None
            said = [writer.stdout.readline() for _ in range(5)]
            writer.send_signal(signal.SIGKILL)
            said += writer.stdout.readlines()
        numbers = [int(line) for line in said if line.endswith(b"\n")]
        store = Store(path, KEY)
        loaded = store.load()
        store.close()
        assert loaded is not None
        kept = loaded[0]
        assert kept.round in (numbers[-1], numbers[-1] + 1)  # never less than what it said
        for vector in (kept.model, kept.base, kept.memory):
            assert set(vector.ravel().tolist()) == {float(kept.round)}
