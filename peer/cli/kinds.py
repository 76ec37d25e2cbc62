"""The presets (peer/presets.py), as the command line knows them."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What kind of machine."""

    board = "board"
    laptop = "laptop"
    server = "server"
