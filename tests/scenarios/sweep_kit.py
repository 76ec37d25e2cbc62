"""A small sweep for the tests, and data sets with which runs go wrong."""

from __future__ import annotations

import os
from pathlib import Path

from tests.scenarios.small import SMALL
from tidings.peer.learners.data import Dataset
from tidings.scenarios.tasks import digits

SMALL_SETS = [part for one in (*SMALL, "rules.rounds=3") for part in ("--set", one)]


def deadly() -> Dataset:
    """Ends the process that loads it, once: a second process finds the mark and goes on."""
    mark = Path(os.environ["TIDINGS_TEST_MARK"])
    if not mark.exists():
        mark.touch()
        os._exit(3)
    return digits()


def buggy() -> Dataset:
    """Gives what no data set is, in a way that nobody foresaw."""
    raise SystemError("a bug")
