"""Carrying a scenario out: a folder for the run, an engine, and what they left behind.

    RUN/scenario.toml   the scenario as it was resolved
    RUN/events.jsonl    when it began and how it ended; in the simulators, all peers' events
    RUN/peers/NAME/     live: each peer's folder, with its own events.jsonl
    RUN/report.html     the report

A comparison of several arms has one such folder for each arm inside RUN, beside its scenario.toml.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..crypto.errors import ConfigError
from ..crypto.files import make_folder
from ..gossip.events import Event
from ..peer.clock import wall_time
from ..peer.event_log import EventLog
from ..peer.settings_files import to_toml, write_settings
from .arms import CENTRAL, arm_of
from .attacks import SEEING
from .run_log import LOG_NAME, LogLine, RunFinished, RunStarted
from .scenario import Scenario
from .world import World

Watch = Callable[[Scenario, LogLine], None]

SCENARIO_NAME = "scenario.toml"
BY_ROWS = ("array", "ray")  # engines that hold all peers as rows of arrays, and keep checkpoints


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
    scenario: Scenario,
    folder: Path,
    watch: Watch,
    *,
    processes: bool = False,
    tape: Path | None = None,
) -> dict[str, Path]:
    """Run every arm of `scenario`; the folder of each by its name. `watch` sees each event.

    `tape` is the folder of a run of the same network: the array engine lets the same happen.

    Raises any TidingsError that says what is wrong with the scenario or the folder, and
    KeyboardInterrupt when it was stopped, by Ctrl-C or SIGTERM; the folder tells of both.
    """
    check_run(scenario, processes=processes, tape=tape)
    make_run_folder(folder)
    with stoppable():
        if scenario.arms == ("gossip",):
            run_arm(scenario, folder, watch, processes=processes, tape=tape)
            return {scenario.name: folder}
        write_settings(scenario, folder / SCENARIO_NAME)
        folders: dict[str, Path] = {}
        for arm in scenario.arms:
            folders[arm] = folder / arm
            make_folder(folders[arm])
            run_arm(arm_of(scenario, arm), folders[arm], watch, processes=processes)
        return folders


def check_run(scenario: Scenario, *, processes: bool, tape: Path | None) -> None:
    """Raises ConfigError when the scenario's engine cannot do what is asked for."""
    _check_engine(scenario, processes=processes)
    _check_tape(scenario, tape)


def _check_engine(scenario: Scenario, *, processes: bool) -> None:
    """ConfigError when the engine cannot do what is asked for."""
    central = [arm for arm in scenario.arms if arm in CENTRAL]
    if central and scenario.engine != "array":
        raise ConfigError(
            f"the arm '{central[0]}' has all models in one place, as only the array engine does",
            where=f"arms of {scenario.name}",
            fix="add --engine array, or leave the arm out",
        )
    averaging = scenario.rules.averaging
    if averaging != "public-copies" and scenario.engine != "array":
        raise ConfigError(
            f"only the array engine has averaging '{averaging}', not '{scenario.engine}'",
            where="rules.averaging",
            fix="add --engine array, or choose 'public-copies'",
        )
    seeing = [liar for liar in scenario.faults.liars if liar.behaviour in SEEING]
    if seeing and scenario.engine != "array":
        raise ConfigError(
            f"'{seeing[0].behaviour}' needs an attacker that sees what all others learnt",
            where="faults.liars",
            fix="add --engine array, or choose an attack such as 'sign-flip'",
        )
    if processes and scenario.engine != "live":
        raise ConfigError(
            "a simulation runs all peers in one process",
            where="--processes",
            fix="add --engine live, or leave --processes out",
        )
    if processes and scenario.transport == "memory":
        raise ConfigError(
            "peers in processes of their own cannot share memory",
            where="--processes",
            fix="use --transport libp2p",
        )
    if scenario.engine == "live" and scenario.faults.asked_for:
        simulated = scenario.faults.only_simulated()
        if simulated:
            raise ConfigError(
                f"faults.{simulated[0]} happens to simulated peers, not to real ones",
                where=scenario.name,
                fix="add --engine sim",
            )
        if processes and scenario.transport != "libp2p" and scenario.broker == "embedded":
            raise ConfigError(
                "a broker in this process stands at no line that [faults] could happen to",
                where=scenario.name,
                fix="add --set broker=mosquitto, or leave --processes out",
            )
        dies = bool(scenario.faults.crashes or scenario.faults.crash_every_s)
        if processes and scenario.transport in ("mqtt", "mixed") and scenario.faults.cuts and dies:
            raise ConfigError(
                "a peer that comes back while a cut hides its broker cannot start",
                where=scenario.name,
                fix="leave cuts or crashes out, or use --transport libp2p, or no --processes",
            )


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM end a run as Ctrl-C does, so that no peer in a process of its own stays."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals belong to the main thread
        return
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _check_tape(scenario: Scenario, tape: Path | None) -> None:
    """ConfigError when there is a tape and nobody who could follow it."""
    if tape is None:
        return
    if scenario.rules.averaging != "public-copies":
        raise ConfigError(
            f"another run's log does not tell what averaging '{scenario.rules.averaging}' needs",
            where="--tape",
            fix="leave --tape out",
        )
    if scenario.engine not in BY_ROWS or scenario.arms != ("gossip",):
        raise ConfigError(
            "only the array engine follows another run, and in one arm, gossip",
            where="--tape",
            fix="add --engine array, or leave --tape out",
        )


def run_arm(
    scenario: Scenario,
    folder: Path,
    watch: Watch,
    *,
    processes: bool,
    tape: Path | None = None,
    resume: bool = False,
) -> None:
    """Run one arm in a folder that is there; with ``resume``, carry on what it holds."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if not resume:
        write_settings(scenario, folder / SCENARIO_NAME)
    log = EventLog(folder / LOG_NAME)
    simulated = scenario.engine != "live"
    clock: Callable[[], float] = (lambda: 0.0) if simulated else wall_time

    def note(time: float, peer: str, event: Event) -> None:
        log.write(event, time=time, peer=peer)
        watch(scenario, LogLine(time=time, peer=peer, event=event))

    started = RunStarted(
        name=scenario.name,
        engine=scenario.engine,
        transport="" if simulated else scenario.transport,
        seed=scenario.seed,
        peers=scenario.peers,
        rounds=scenario.rules.rounds,
        scenario=to_toml(scenario),
    )
    if resume:
        watch(scenario, LogLine(time=0.0, peer="", event=started))
    else:
        note(clock(), "", started)
    outcome = "failed"
    try:
        if scenario.engine in BY_ROWS:
            from .engines.array.start import begin

            run = begin(World(scenario), folder, note, tape)
            clock = lambda: run.now
            if resume:
                run.resume()
            outcome = run.run()
        elif simulated:
            from .engines.sim import Simulation

            simulation = Simulation(World(scenario), scenario.faults, note)
            clock = lambda: simulation.now
            outcome = simulation.run()
        else:
            from .engines.live import run_live

            outcome = run_live(
                scenario,
                folder,
                lambda line: watch(scenario, line),
                lambda event: note(clock(), "", event),
                processes=processes,
                resume=resume,
            )
    except KeyboardInterrupt:
        outcome = "interrupted"
        raise
    finally:
        note(clock(), "", RunFinished(outcome=outcome))
        log.close()
