"""A program that kills `tidings peer move` at many instants, and looks at what is left each time.

    python move_killed.py FOLDER STRIDE

The command is begun in a process of its own and killed (SIGKILL) before the Nth line that it runs
in the modules that move a peer, for N = 1, 1 + STRIDE, ... until it ends unharmed. Prints
one JSON line for each kill; ends with an AssertionError where more than one folder may train, a
release is forgotten, or the command does not carry on.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tidings.__main__ import main
from tidings.crypto.accounting import PrivacyEvent
from tidings.crypto.errors import MovedAway
from tidings.crypto.ledger import Ledger
from tidings.peer.folder import PeerFolder
from tidings.peer.moving import move  # noqa: F401 - loaded once, not in each child
from tidings.peer.status import status_of

RELEASES = 3
WATCHED = ("moving.py", "ledger.py", "ledger_moves.py", "files.py", "folder.py", "peer_move.py")
SETS = ["--set", "learner.features=4", "--set", "learner.classes=2"]
EVENT = PrivacyEvent(mechanism="gaussian", noise_multiplier=2.0)


def make(folder: Path) -> Path:
    old = folder / "old"
    quietly(["peer", "init", str(old), "--name", "ada", *SETS])
    (old / "data").mkdir()
    (old / "data" / "data.npz").write_bytes(bytes(range(256)) * 300)
    with closing(Ledger(old / "tidings.db")) as ledger:
        for round in range(RELEASES):
            ledger.append(EVENT, round, unit="record", delta=1e-5)
    return old


def quietly(arguments: list[str], *, kill_at: int = 0) -> int:
    """Run a command in a process of its own; its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        if kill_at:
            os.dup2(null, 2)
            sys.settrace(Killer(kill_at))
        os._exit(main(arguments))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Killer:
    """A trace function that ends its process before the Nth line of the watched modules."""

    def __init__(self, lines: int) -> None:
        self.left = lines

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        is_watched = os.path.basename(frame.f_code.co_filename) in WATCHED
        return self.line if is_watched else None

    def line(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.line


def may_train(folder: Path) -> bool:
    """Whether the folder's ledger would allow a release; if so it must know of all of them."""
    file = folder / "tidings.db"
    if not file.exists():
        return False
    with closing(Ledger(file)) as ledger:
        if ledger.is_copy():
            return False
        rounds = [entry.round for entry in ledger.entries()]
        assert rounds == list(range(RELEASES)), f"{folder} may train, and knows of {rounds}"
    return True


def look(old: Path, new: Path) -> list[str]:
    trainers = [folder.name for folder in (old, new) if may_train(folder)]
    assert len(trainers) < 2, "both may train"
    if (new / "peer.toml").exists():
        assert trainers == ["new"], "the new folder opens before it has the right"
    return trainers


def kill_once(folder: Path, at: int) -> bool:
    """One move, killed and carried on; False when it ended before it could be killed."""
    folder.mkdir()
    old, new = make(folder), folder / "new"
    ended = quietly(["peer", "move", str(old), str(new)], kill_at=at)
    assert ended in (0, -signal.SIGKILL), f"ended with {ended}"
    trainers = look(old, new)
    print(json.dumps({"line": at, "ended": ended, "may_train": trainers}), flush=True)
    assert quietly(["peer", "move", str(old), str(new)]) == 0, "it does not carry on"
    assert look(old, new) == ["new"]
    assert (new / "data" / "data.npz").read_bytes() == (old / "data" / "data.npz").read_bytes()
    assert sorted(os.listdir(new)) == sorted(set(os.listdir(old)) - {"lock"}), os.listdir(new)
    with pytest.raises(MovedAway, match=str(new)):
        status_of(PeerFolder.open(old))
    return ended != 0


def run(folder: Path, stride: int) -> None:
    at = 1
    while kill_once(folder / str(at), at):
        at += stride


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]))
