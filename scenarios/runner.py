"""Carrying a scenario out: a folder for the run, an engine, and what they left behind.

    RUN/scenario.toml   the scenario as it was resolved
    RUN/events.jsonl    when it began and how it ended; in the simulator, all peers' events
    RUN/peers/NAME/     live: each peer's folder, with its own events.jsonl
    RUN/report.html     the report

A comparison of several arms has one such folder for each arm inside RUN.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ..crypto.errors import ConfigError
from ..crypto.files import make_folder
from ..gossip.events import Event
from ..peer.clock import wall_time
from ..peer.event_log import EventLog
from ..peer.settings_files import to_toml, write_settings
from .run_log import LOG_NAME, LogLine, RunFinished, RunStarted
from .scenario import Scenario
from .world import World, arm_of

Watch = Callable[[Scenario, LogLine], None]


def make_run_folder(folder: Path) -> None:
    """Make the folder of a new run. Raises ConfigError when there is something in it."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            "there is something here already, and a run's folder is never overwritten",
            where=str(folder),
            fix="choose another with --out",
        )
    make_folder(folder)


def run_scenario(
    scenario: Scenario, folder: Path, watch: Watch, *, processes: bool = False
) -> dict[str, Path]:
    """Run every arm of `scenario`; the folder of each by its name. `watch` sees each event.

    Raises any TidingsError that says what is wrong with the scenario or the folder.
    """
    make_run_folder(folder)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if scenario.arms == ("gossip",):
        _run_arm(scenario, folder, watch, processes=processes)
        return {scenario.name: folder}
    folders: dict[str, Path] = {}
    for arm in scenario.arms:
        folders[arm] = folder / arm
        make_folder(folders[arm])
        _run_arm(arm_of(scenario, arm), folders[arm], watch, processes=processes)
    return folders


def _run_arm(scenario: Scenario, folder: Path, watch: Watch, *, processes: bool) -> None:
    write_settings(scenario, folder / "scenario.toml")
    log = EventLog(folder / LOG_NAME)
    simulated = scenario.engine == "sim"

    def note(time: float, peer: str, event: Event) -> None:
        log.write(event, time=time, peer=peer)
        watch(scenario, LogLine(time=time, peer=peer, event=event))

    def now() -> float:
        return 0.0 if simulated else wall_time()

    started = RunStarted(
        name=scenario.name,
        engine=scenario.engine,
        transport="simulated" if simulated else scenario.transport,
        seed=scenario.seed,
        peers=scenario.peers,
        rounds=scenario.rules.rounds,
        scenario=to_toml(scenario),
    )
    note(now(), "", started)
    outcome, ended = "interrupted", None
    try:
        if simulated:
            from .engines.sim import Simulation

            simulation = Simulation(World(scenario), scenario.faults, note)
            outcome = simulation.run()
            ended = simulation.now
        else:
            from .engines.live import run_live

            outcome = run_live(
                scenario, folder, lambda line: watch(scenario, line), processes=processes
            )
    except KeyboardInterrupt:
        raise
    except BaseException:
        outcome = "failed"
        raise
    finally:
        note(now() if ended is None else ended, "", RunFinished(outcome=outcome))
        log.close()
