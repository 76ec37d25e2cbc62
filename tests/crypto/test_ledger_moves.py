"""A ledger that moves: of all the files that ever held it, at most one may release."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.crypto.test_ledger import put
from tidings.crypto.errors import ConfigError, MovedAway, StorageError
from tidings.crypto.ledger import Ledger
from tidings.crypto.ledger_moves import Move

NONCE = bytes(range(32))


def move(old: Path, new: Path, nonce: bytes = NONCE) -> Move:
    """All three steps."""
    with closing(Ledger(old)) as ledger:
        ledger.copy_to(new, nonce)
        with closing(Ledger(new)) as copy:
            step = ledger.hand_over(copy, str(new.parent))
            copy.take_over(step)
    return step


def may_release(path: Path) -> bool:
    with closing(Ledger(path)) as ledger:
        return not ledger.is_copy()


def rounds(path: Path) -> list[int]:
    with closing(Ledger(path)) as ledger:
        return [entry.round for entry in ledger.entries()]


@pytest.fixture
def moved(tmp_path: Path) -> tuple[Path, Path]:
    """An old and a new file; three releases before the move and one after."""
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    with closing(Ledger(old)) as ledger:
        for round in range(3):
            put(ledger, round)
    move(old, new)
    with closing(Ledger(new)) as ledger:
        put(ledger, 3)
    return old, new


@settings(deadline=None, derandomize=True, max_examples=12)
@given(
    steps=st.lists(
        st.sampled_from(["release", "move", "copy", "copy only", "hand over only"]), max_size=8
    )
)
def test_at_most_one_file_may_release_and_it_knows_of_all_releases(
    steps: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("moves")
    files, current = [folder / "0.db"], folder / "0.db"
    Ledger(current).close()
    written: list[int] = []
    dead = False
    for number, step in enumerate(steps, 1):
        new = folder / f"{number}.db"
        nonce = bytes([number]) * 32
        if step == "release" and not dead:
            with closing(Ledger(current)) as ledger:
                put(ledger, number)
            written.append(number)
            continue
        if step == "copy":  # what a user does with cp
            shutil.copy2(current, new)
        elif step == "move" and not dead:
            move(current, new, nonce)
            current = new
        elif not dead:  # killed half-way, and not begun again
            with closing(Ledger(current)) as ledger:
                ledger.copy_to(new, nonce)
                if step == "hand over only":
                    with closing(Ledger(new)) as copy:
                        ledger.hand_over(copy, "new")
                    dead = True
        if new.exists():
            files.append(new)
    assert [file for file in files if may_release(file)] == ([] if dead else [current])
    assert rounds(current) == written


def test_the_chain_goes_on_across_a_move(moved: tuple[Path, Path]) -> None:
    old, new = moved
    assert (rounds(old), rounds(new)) == ([0, 1, 2], [0, 1, 2, 3])
    with closing(Ledger(new)) as ledger:
        (step,) = ledger.moves()
        third, fourth = ledger.entries()[2:]
        assert (step.after, step.previous) == (3, third.hash)
        assert fourth.previous == step.hash
        assert ledger.verify() == (4, fourth.hash)
        ledger.must_be_here()


def test_a_ledger_that_moved_away_says_where_to_and_stays_disabled(
    moved: tuple[Path, Path],
) -> None:
    old, new = moved
    with closing(Ledger(old)) as ledger, closing(Ledger(new)) as copy:
        assert ledger.is_copy()
        with pytest.raises(MovedAway, match=str(new.parent)) as caught:
            ledger.must_be_here()
        assert caught.value.exit_code == 2
        with pytest.raises(MovedAway):
            ledger.hand_over(copy, "again")


def test_a_process_that_still_has_the_old_one_open_releases_nothing(tmp_path: Path) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    with closing(Ledger(old)) as running:
        put(running)
        move(old, new)
        assert running.is_copy()
        with pytest.raises(StorageError, match="another process writes"):
            put(running)


def test_the_place_alone_gives_no_right(tmp_path: Path) -> None:
    """Inodes are given anew: a copy of the old file in the new one's place lacks the nonce."""
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    with closing(Ledger(old)) as ledger:
        put(ledger)
    move(old, new)
    with open(new, "r+b") as file:  # the same inode
        file.write(old.read_bytes())
    with closing(Ledger(new)) as ledger:
        (step,) = ledger.moves()
        assert ledger.is_copy()
        with pytest.raises(StorageError, match="not alike"):
            ledger.take_over(step)


def test_the_nonce_alone_gives_no_right(tmp_path: Path) -> None:
    old, new, other = (tmp_path / f"{name}.db" for name in ("old", "new", "other"))
    with closing(Ledger(old)) as ledger:
        put(ledger)
        ledger.copy_to(new, NONCE)
        shutil.copy2(new, other)
        with closing(Ledger(new)) as copy:
            step = ledger.hand_over(copy, "new")
            with closing(Ledger(other)) as third, pytest.raises(StorageError, match="not alike"):
                third.take_over(step)
            copy.take_over(step)
    assert [may_release(file) for file in (old, new, other)] == [False, True, False]


def test_nothing_is_given_up_for_a_copy_that_lacks_a_release(tmp_path: Path) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    with closing(Ledger(old)) as ledger:
        ledger.copy_to(new, NONCE)
        put(ledger)
        with closing(Ledger(new)) as copy, pytest.raises(StorageError, match="not alike"):
            ledger.hand_over(copy, "new")
        assert not ledger.is_copy()
        assert put(ledger).number == 2


def test_a_copy_cannot_be_moved(tmp_path: Path) -> None:
    original, copy, new = (tmp_path / f"{name}.db" for name in ("original", "copy", "new"))
    Ledger(original).close()
    shutil.copy2(original, copy)
    with pytest.raises(ConfigError, match="copy of another"):
        move(copy, new)
    assert may_release(original)


def test_a_step_is_taken_over_once(moved: tuple[Path, Path]) -> None:
    old, new = moved
    with closing(Ledger(old)) as ledger, closing(Ledger(new)) as copy:
        (step,) = ledger.moves()
        with pytest.raises(StorageError, match="not alike"):
            copy.take_over(step)
        assert len(copy.moves()) == 1


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("DELETE FROM ledger_moves", "move 1 of the privacy ledger is missing|row 4"),
        ("UPDATE ledger_moves SET inode = '1'", "a move of the privacy ledger cannot be read"),
        ("UPDATE ledger_moves SET after = 9", "a move of the privacy ledger cannot be read"),
        ("UPDATE ledger_moves SET number = 2", "move 1 of the privacy ledger is missing"),
        ("DROP TABLE ledger_moves", "row 4 of the privacy ledger"),
    ],
)
def test_a_move_cannot_be_taken_back(moved: tuple[Path, Path], statement: str, what: str) -> None:
    _, new = moved
    if not statement.startswith("DROP"):
        refused = pytest.raises(sqlite3.IntegrityError, match="ledger never")
        with closing(sqlite3.connect(new)) as connection, refused:
            connection.execute(statement)
    with closing(sqlite3.connect(new)) as connection:  # and with an editor it shows
        connection.execute("DROP TRIGGER ledger_moves_never_shrink")
        connection.execute("DROP TRIGGER ledger_moves_never_change")
        connection.execute(statement)
        connection.commit()
    with pytest.raises(StorageError, match=what):
        Ledger(new)
