"""What suits a board, a laptop and a server, so that nobody needs to know all settings.

A preset writes ordinary settings into a new ``peer.toml``, where they can be seen and changed; it
is not looked at again. What costs privacy (steps, noise, budget) is in none of them: that is for
the owner of the data to choose, not for the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .upkeep import LogConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Settings for one kind of machine.

    Attributes:
        listen: where other peers reach this one. A board and a server are there to be reached; a
            laptop is where things are tried out, and opens no port to others unasked.
        batch_size: records of one step where there is no record-level privacy (which draws its
            own number); it decides how much memory a step takes.
        log: the disk that the event log may take. A card wears out and is small; on a server the
            log is an archive.
        memory_share: of the machine's memory, in percent, that the service may take
            (`tidings peer service`), before the system ends and restarts it.
        nice: of the service, from 0 to 19. Where somebody sits at the machine, they come first.
    """

    name: str
    listen: str
    batch_size: int
    log: LogConfig
    memory_share: int
    nice: int


def for_board() -> Preset:
    """A small machine with a flash card, left on a shelf: little memory, few and small writes."""
    return Preset(
        name="board",
        listen="/ip4/0.0.0.0/tcp/4001",
        batch_size=16,
        log=LogConfig(part_mb=4.0, parts=2),
        memory_share=70,
        nice=0,
    )


def for_laptop() -> Preset:
    """A machine that somebody works at; the settings are the defaults of ``peer.toml``."""
    return Preset(
        name="laptop",
        listen="/ip4/127.0.0.1/tcp/0",
        batch_size=32,
        log=LogConfig(),
        memory_share=50,
        nice=10,
    )


def for_server() -> Preset:
    """A machine with memory and disk to spare, that is there for this."""
    return Preset(
        name="server",
        listen="/ip4/0.0.0.0/tcp/4001",
        batch_size=128,
        log=LogConfig(part_mb=128.0, parts=20),
        memory_share=80,
        nice=0,
    )


PRESETS: Mapping[str, Callable[[], Preset]] = {
    "board": for_board,
    "laptop": for_laptop,
    "server": for_server,
}
