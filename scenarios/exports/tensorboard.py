"""A run's curves as TensorBoard event files: over all peers, and for each of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from ...crypto.errors import ConfigError
from ...crypto.files import make_folder, storage_error
from ..inspection import Inspection
from ..records import Record

CURVES = {
    "accuracy_mean": "accuracy/mean",
    "accuracy_min": "accuracy/worst",
    "accuracy_max": "accuracy/best",
    "consensus_distance": "consensus/distance",
    "epsilon_max": "privacy/largest epsilon",
}
MAX_PEERS = 200  # with curves of their own: TensorBoard shows a folder for each


def write_tensorboard(found: Inspection, folder: Path) -> None:
    """Write ``folder/all`` and ``folder/PEER-NUMBER`` (up to 200), steps are rounds.

    The curves of single peers take a second reading of the log. Raises ConfigError without
    tensorboardX, StorageError when the folder cannot be written.
    """
    make_folder(folder)
    try:
        with _Writers(folder) as writers:
            for row in found.summary.by_round:
                for field, tag in CURVES.items():
                    writers.add("all", tag, getattr(row, field), row.round)
            places = {
                row.name: f"peer-{number:04d}" for number, row in enumerate(found.summary.by_peer)
            }
            if len(places) > MAX_PEERS:
                return
            for name, place in places.items():
                writers.name(place, name)
            for batch in found.selection.batches(found.log):
                for record in batch:
                    _add(writers, places.get(record.peer), record)
    except OSError as error:
        raise storage_error(error, folder) from error


def _add(writers: _Writers, place: str | None, record: Record) -> None:
    if place is None:
        return
    if record.kind == "evaluated":
        writers.add(place, "accuracy", record.accuracy, record.round)
        writers.add(place, "loss", record.loss, record.round)
    elif record.kind == "released":
        writers.add(place, "epsilon", record.epsilon, record.round)
    elif record.kind == "mixed":
        writers.add(place, "missing neighbours", len(record.missing), record.round)


@dataclasses.dataclass
class _Writers:
    """A writer for each folder; all are closed at the end."""

    folder: Path
    open: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __enter__(self) -> _Writers:
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self.open.values():
            writer.close()

    def add(self, place: str, tag: str, value: float | None, step: int) -> None:
        """A point of a curve; None is none."""
        if value is not None:
            self._of(place).add_scalar(tag, value, step)

    def name(self, place: str, name: str) -> None:
        """Which peer a folder is of: names of peers are no names of folders."""
        self._of(place).add_text("peer", ascii(name))

    def _of(self, place: str) -> Any:
        if place not in self.open:
            try:
                from tensorboardX import SummaryWriter
            except ImportError as error:
                raise ConfigError(
                    "this export needs tensorboardX, which is not installed",
                    fix="pip install 'tidings[scenarios]'",
                ) from error
            self.open[place] = SummaryWriter(str(self.folder / place))
        return self.open[place]
