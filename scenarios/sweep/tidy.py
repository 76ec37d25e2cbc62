"""The results of a sweep as two tidy tables, for pandas, R or a spreadsheet (CSV, Parquet).

``runs``: a row for each point, seed and arm. ``rounds``: a row for each round of those. Columns are
the varied keys, the figures of the summary, and, in ``runs``, every other key as it was resolved.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...crypto.files import write_atomic
from ...peer.settings_files import flattened
from .jobs import Job, is_finished, run_folder
from .results import FIGURES, ROUND_FIGURES, RunResult, read_result

Row = dict[str, Any]
LONG_LIST = 20


def finished_runs(folder: Path, jobs: Sequence[Job]) -> list[tuple[Job, RunResult]]:
    """The runs of a sweep's folder that are over, with what they came to."""
    return [(job, read_result(run_folder(folder, job))) for job in jobs if is_finished(folder, job)]


def run_rows(runs: Sequence[tuple[Job, RunResult]]) -> list[Row]:
    """The table ``runs``; a run that failed has a row whose ``error`` says why."""
    rows = []
    for job, result in runs:
        resolved = _resolved(job)
        for arm in job.scenario.arms:
            one = result.arms.get(arm)
            figures = one.figures if one else dict.fromkeys(FIGURES)
            rows.append(
                _head(job, arm)
                | figures
                | {"wall_s": result.wall_s, "error": result.error, "run": f"runs/{job.id}"}
                | {key: value for key, value in resolved.items() if key not in job.point.values}
            )
    return rows


def round_rows(runs: Sequence[tuple[Job, RunResult]]) -> list[Row]:
    """The table ``rounds``."""
    return [
        _head(job, arm) | {name: row.get(name) for name in ("round", *ROUND_FIGURES)}
        for job, result in runs
        for arm, one in result.arms.items()
        for row in one.rounds
    ]


def _head(job: Job, arm: str) -> Row:
    point = job.point
    values = {key: _cell(value) for key, value in point.values.items()}
    return {"point": point.number, "label": point.label, "seed": job.seed, "arm": arm} | values


def _resolved(job: Job) -> Row:
    settings = job.scenario.model_dump(
        mode="json", exclude={"name", "description", "seed", "arms"}, exclude_none=True
    )
    return {key: _cell(value) for key, value in flattened(settings).items()}


def _cell(value: Any) -> Any:
    """Lists and tables become JSON text; of a long list, such as a graph's edges, its length."""
    if isinstance(value, list | tuple) and len(value) > LONG_LIST:
        return f"{len(value)} entries"
    return json.dumps(value) if isinstance(value, list | tuple | Mapping) else value


def write_tables(folder: Path, tables: Mapping[str, Sequence[Row]]) -> list[Path]:
    """Write each table as NAME.csv and, with pyarrow, as NAME.parquet. Raises StorageError."""
    files = []
    for name, rows in tables.items():
        columns = _columns(rows)
        files.append(folder / f"{name}.csv")
        write_atomic(files[-1], _csv(columns, len(rows)))
        packed = _parquet(columns)
        if packed is not None:
            files.append(folder / f"{name}.parquet")
            write_atomic(files[-1], packed)
    return files


def _columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """All columns of all rows, each of one type; None where a row has no such value."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: _alike([row.get(name) for row in rows]) for name in names}


def _alike(values: list[Any]) -> list[Any]:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    if len(kinds) > 1:
        return [None if value is None else _as_text(value) for value in values]
    return values


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _csv(columns: Mapping[str, Sequence[Any]], length: int) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for index in range(length):
        cells = [column[index] for column in columns.values()]
        writer.writerow(json.dumps(one) if isinstance(one, bool) else one for one in cells)
    return text.getvalue().encode()


def _parquet(columns: Mapping[str, Sequence[Any]]) -> bytes | None:
    """None without pyarrow, which comes with ``tidings[scenarios]``; the CSV holds the same."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        return None
    stream = io.BytesIO()
    arrays = {
        name: pa.array(column, type=None if any(one is not None for one in column) else pa.string())
        for name, column in columns.items()
    }
    parquet.write_table(pa.table(arrays), stream, compression="zstd")
    return stream.getvalue()
