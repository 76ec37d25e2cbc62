"""What one run of a sweep came to, kept beside its logs: figures for each arm, and its rounds."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...crypto.errors import StorageError
from ...crypto.files import storage_error, write_atomic
from ..summary_values import RunSummary
from .jobs import RESULT_NAME

FIGURES = (
    "accuracy_mean",
    "accuracy_min",
    "consensus_distance",
    "bytes_sent",
    "messages_sent",
    "epsilon_max",
    "delta",
    "privacy_unit",
    "rounds",
    "duration_s",
    "outcome",
    "copies_agree",
)
ROUND_FIGURES = (
    "accuracy_peers",
    "accuracy_mean",
    "accuracy_min",
    "accuracy_max",
    "consensus_distance",
    "epsilon_max",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult:
    """One arm: the head figures of its summary, and those of each round with ``round``."""

    figures: dict[str, Any]
    rounds: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A run that is over. ``error`` says what was wrong with it, ``wall_s`` how long it took."""

    arms: dict[str, ArmResult]
    error: str
    wall_s: float


def result_of(summaries: Mapping[str, RunSummary], *, wall_s: float, error: str = "") -> RunResult:
    """The result that the summaries of a run's arms amount to."""
    return RunResult(
        arms={
            arm: ArmResult(
                figures={name: _finite(getattr(summary, name)) for name in FIGURES},
                rounds=tuple(
                    {"round": row.round}
                    | {name: _finite(getattr(row, name)) for name in ROUND_FIGURES}
                    for row in summary.by_round
                ),
            )
            for arm, summary in summaries.items()
        },
        error=error,
        wall_s=wall_s,
    )


def write_result(folder: Path, result: RunResult) -> None:
    """Keep a run's result in its folder, in one step: from then on it is over. StorageError."""
    text = json.dumps(dataclasses.asdict(result), allow_nan=False)
    write_atomic(folder / RESULT_NAME, text.encode())


def read_result(folder: Path) -> RunResult:
    """The result in a run's folder. Raises StorageError when it is not what was written."""
    file = folder / RESULT_NAME
    try:
        stored = json.loads(file.read_bytes())
        return RunResult(
            arms={
                str(arm): ArmResult(figures=dict(one["figures"]), rounds=tuple(one["rounds"]))
                for arm, one in stored["arms"].items()
            },
            error=str(stored["error"]),
            wall_s=float(stored["wall_s"]),
        )
    except OSError as error:
        raise storage_error(error, file) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(
            "this is not the result of a run", where=str(file), fix="remove it: the run is repeated"
        ) from error


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
