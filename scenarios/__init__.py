"""Many nodes on one laptop: scenario files, engines, faults, reports, inspection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .frames import LoadedRun

__all__ = ["load_run"]


def load_run(path: str | Path, *others: str | Path) -> LoadedRun:
    """A run's logs as pandas frames and a networkx graph (scenarios/frames.py)."""
    from .frames import load_run as load  # a peer imports this package too, and needs no frames

    return load(path, *others)
