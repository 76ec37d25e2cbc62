"""The tape of another run: what its event log says of who mixed when and with what."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ....crypto.errors import ConfigError
from ....gossip.events import Mixed, PeerStarted, Published, Sent, Skipped
from ...run_log import LogLine, RunLog
from .graph import Graph
from .tape import Recorded, Turn


def tape_of_run(folder: Path, graph: Graph) -> Recorded:
    """What happened in the run in `folder`, for another run of the same network.

    Raises ConfigError when the log there is none of such a network, or does not tell enough.
    """
    try:
        return tape_of_log(RunLog(folder), graph)
    except ValueError as error:
        raise ConfigError(
            f"this run's log cannot be followed: {error}",
            where=str(folder),
            fix="name a run of the same network whose log is whole",
        ) from error


def tape_of_log(lines: Iterable[LogLine], graph: Graph) -> Recorded:
    """What the ``lines`` of a log tell, in the order of their times.

    Raises ValueError when they do not fit the graph, or a turn is missing.
    """
    reader = _Reader(graph.nodes)
    for line in lines:
        reader.take(line)
    return Recorded(graph, reader.turns)


class _Reader:
    """Collects the turns of a log."""

    def __init__(self, nodes: int) -> None:
        self._nodes = nodes
        self._numbers: dict[str, int] = {}  # of peers, by name and by short id
        self._hearers: list[int] = []  # of the entry that was published last
        self._last: tuple[str, int] = ("", 0)  # its author's name and its number
        self.turns: list[Turn] = []

    def take(self, line: LogLine) -> None:
        match line.event:
            case PeerStarted(id=peer_id, index=index):
                if not 0 <= index < self._nodes:
                    raise ValueError(f"node {index} is not one of 0..{self._nodes - 1}")
                self._numbers[peer_id] = self._numbers[line.peer] = index
            case Published():
                self._hearers = []
                self._last = (line.peer, line.event.sequence)
                self.turns.append(
                    Turn(
                        node=self._number(line.peer),
                        round=line.event.round,
                        time=line.time,
                        heard_by=self._hearers,
                    )
                )
            case Sent(message="news", to=to, author=author, sequence=sequence):
                # what is sent later is for those who were away, and goes another way
                if (line.peer, sequence) == self._last and self._numbers.get(
                    author
                ) == self._number(line.peer):
                    self._hearers.append(self._number(to))
            case Mixed():
                self._heard(line, line.event, line.event.round)
            case Skipped():
                self._heard(line, line.event, line.event.to_round, line.event.from_round)

    def _heard(
        self, line: LogLine, event: Mixed | Skipped, round: int, came_from: int | None = None
    ) -> None:
        heard = {
            self._number(neighbour): round - event.staleness.get(neighbour, 0)
            for neighbour in event.neighbours
        }
        self.turns.append(
            Turn(
                node=self._number(line.peer),
                round=round,
                time=line.time,
                heard=heard,
                came_from=came_from,
            )
        )

    def _number(self, peer: str) -> int:
        number = self._numbers.get(peer)
        if number is None:
            raise ValueError(f"it names {peer[:40]!r}, who never started")
        return number
