"""Carrying a sweep out, or on: what is over is kept, what is missing is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from ...crypto.errors import ConfigError
from ...crypto.files import exclusive, make_folder, write_atomic
from ...peer.settings_files import flattened, put_values, read_toml, to_toml, write_settings
from ..drawing import save_pictures
from ..runner import make_run_folder, stoppable
from .definition import Sweep, read_sweep, varied_keys
from .jobs import Job, is_finished, jobs_of, run_folder
from .pictures import sweep_pictures
from .pool import Crew
from .summary import SweepSummary, summarise_sweep
from .tidy import finished_runs, round_rows, run_rows, write_tables
from .worker import Order

SWEEP_NAME, BASE_NAME, LOCK_NAME = "sweep.toml", "base.toml", "lock"
GRAPH = "rules.topology.file"  # the one key of a scenario that names a file

Watch = Callable[[Job, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A sweep in its folder, with all its runs."""

    folder: Path
    sweep: Sweep
    jobs: tuple[Job, ...]

    @property
    def missing(self) -> list[Job]:
        """The runs that are not over."""
        return [job for job in self.jobs if not is_finished(self.folder, job)]


def new_plan(
    sweep: Sweep, base: dict[str, Any], folder: Path, *, where: str, beside: Path = Path()
) -> Plan:
    """A sweep over the scenario ``base`` in a new folder, made when every run was checked.

    Files that the scenario names are sought from the folder ``beside``. Raises ConfigError: a
    setting does not fit, or there is something in the folder.
    """
    base, sweep = _with_whole_paths(base, sweep, beside)
    jobs = jobs_of(sweep, base, where=where)
    make_run_folder(folder)
    write_atomic(folder / BASE_NAME, tomli_w.dumps(base).encode())
    write_settings(sweep.model_copy(update={"scenario": BASE_NAME}), folder / SWEEP_NAME)
    return Plan(folder=folder, sweep=sweep, jobs=tuple(jobs))


def _with_whole_paths(
    base: dict[str, Any], sweep: Sweep, beside: Path
) -> tuple[dict[str, Any], Sweep]:
    """The same with the file of a graph named in full, so that it is found from elsewhere."""

    def whole(name: Any) -> Any:
        return str((beside / name).resolve()) if isinstance(name, str) else name

    def in_point(point: dict[str, Any]) -> dict[str, Any]:
        return {key: whole(value) if key == GRAPH else value for key, value in point.items()}

    name = flattened(base).get(GRAPH)
    if name is not None:
        base = put_values(base, {GRAPH: whole(name)}, where=sweep.name)
    grid = {
        key: [whole(value) for value in values] if key == GRAPH else values
        for key, values in sweep.grid.items()
    }
    points = tuple(in_point(point) for point in sweep.points)
    return base, sweep.model_copy(update={"grid": grid, "points": points})


def open_plan(folder: Path) -> Plan:
    """The sweep that a folder holds, with its file as it stands now: points may be added to it.

    Raises ConfigError: the folder holds no sweep, or one that does not fit.
    """
    if not is_sweep(folder):
        raise ConfigError(
            f"there is no sweep in this folder ({SWEEP_NAME} is missing)",
            where=str(folder),
            fix="name the folder that `tidings sweep` printed",
        )
    sweep, _ = read_sweep(str(folder / SWEEP_NAME))
    base = read_toml(folder / BASE_NAME)
    return Plan(
        folder=folder, sweep=sweep, jobs=tuple(jobs_of(sweep, base, where=str(folder / SWEEP_NAME)))
    )


def is_sweep(folder: Path) -> bool:
    """Whether a folder is that of a sweep."""
    return (folder / SWEEP_NAME).is_file() and (folder / BASE_NAME).is_file()


def run_plan(plan: Plan, watch: Watch, *, processes: int) -> dict[str, str]:
    """Run what is missing; of the runs that broke off, their id and why.

    ``watch`` hears of each run which share of it is done. Raises KeyboardInterrupt when it was
    stopped, by Ctrl-C or SIGTERM, and StorageError when another process works on the sweep.
    """
    with stoppable(), exclusive(plan.folder / LOCK_NAME, "running this sweep"):
        jobs = plan.missing
        make_folder(plan.folder / "runs")
        orders = [
            Order(scenario=to_toml(job.scenario), folder=run_folder(plan.folder, job).resolve())
            for job in jobs
        ]
        crew = Crew(size=processes, on_share=lambda index, share: watch(jobs[index], share))
        broken = crew.run(orders)
        return {jobs[index].id: why for index, why in broken.items()}


def write_findings(plan: Plan) -> tuple[SweepSummary, list[Path], str]:
    """Write tables and pictures of what is over; also gives the summary, and what is left out.

    Raises StorageError.
    """
    runs = finished_runs(plan.folder, plan.jobs)
    files = write_tables(plan.folder, {"runs": run_rows(runs), "rounds": round_rows(runs)})
    summary = summary_of(plan)
    note = ""
    try:
        files += save_pictures(sweep_pictures(summary), plan.folder)
    except ConfigError as error:
        note = f"No pictures: {error}"
    if not any(file.suffix == ".parquet" for file in files):
        note = f"{note}\nNo Parquet: pyarrow is not installed (pip install 'tidings[scenarios]')"
    return summary, files, note.strip()


def summary_of(plan: Plan) -> SweepSummary:
    """What the runs that are over amount to."""
    return summarise_sweep(
        plan.sweep.name,
        plan.sweep.description,
        varied_keys(plan.sweep),
        plan.jobs,
        finished_runs(plan.folder, plan.jobs),
    )
