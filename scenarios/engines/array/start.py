"""Beginning a run of the array engine: with which workers, by which tape, in which log."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ....gossip.algorithms.chosen import algorithm_of
from ....gossip.algorithms.push_sum import shares
from ....gossip.factors import numbers_of, values_of
from ....gossip.rules import Rules
from ....gossip.topology import Topology
from ...event_tables import EventTables
from ...world import World
from ..ray.crew import ray_crew
from .arrays import Arrays
from .asynchronous import Asynchronous
from .averaging import AveragingCrew, averaging_of
from .central import CentralRun, scheme_of
from .central_log import CentralLog
from .chronicle import Chronicle, Sink
from .crew import SHARED_VALUES, Alone, SharedCrew
from .crews import Crew
from .engine import ArrayRun
from .graph import Graph
from .learners import workers_for, workers_of
from .liars import lying, sees_all
from .line_chronicle import LineChronicle
from .meetings import Meetings, MeetingTape
from .recorded import tape_of_run
from .table_chronicle import TableChronicle
from .tape import Lockstep, Tape
from .weather import Weather
from .workers import Workers

# How long a frame is where it matters for times alone: these are not the bytes that are counted.
BYTES_A_VALUE = {"int8": 1.0, "int4": 0.5, "sign": 0.125}
EXACT_BYTES, PLACE_BYTES, FRAME_BYTES = 2.5, 0.4, 330
PEERS_IN_LINES = 200  # how many peers' events are written as lines; more are written as tables


def begin(
    world: World,
    folder: Path,
    sink: Sink,
    follow: Path | None = None,
    *,
    chronicle: Chronicle | None = None,
) -> ArrayRun | CentralRun:
    """A run of the world's scenario, which leaves its log in ``folder`` and in ``sink``.

    What happens when is taken from the log of the run in ``follow``, if there is one given. A
    ``chronicle`` takes the log's place, but not that of the central arms; then nothing is saved.
    """
    workers = workers_of(world)
    scheme = scheme_of(world.scenario)
    if scheme is not None:
        names = [certificate.name for certificate in world.certificates]
        tables = EventTables(folder, names) if len(names) > PEERS_IN_LINES else None
        return CentralRun(world, scheme, workers, CentralLog(world, tables, sink))
    graph = graph_of(world, workers)
    workers = lying(workers, world.scenario, graph)
    tape = tape_of_run(follow, graph) if follow else tape_of(world, graph)
    crew = averaging_crew(crew_of(world, workers, tape.spare), world, workers, graph, tape)
    if chronicle is not None:  # without a log there is nothing to carry on from
        return ArrayRun(world, chronicle, crew, workers.samples, graph, tape)
    chronicle = _chronicle(world, folder, sink)
    return ArrayRun(world, chronicle, crew, workers.samples, graph, tape, folder)


def crew_of(world: World, workers: Workers, spare: int, *, cores: int | None = None) -> Crew:
    """Who does the work: a process on each core where there is enough of it to do.

    ``cores`` are those to work on; as many as there are unless given. With the engine ``ray`` they
    are those of a cluster.
    """
    scenario = world.scenario
    if sees_all(scenario):
        cores = 1
    if scenario.engine == "ray":
        return ray_crew(world.genesis, scenario, spare, cores=cores)
    if cores is None:
        large = scenario.peers * world.genesis.size >= SHARED_VALUES
        cores = len(os.sched_getaffinity(0)) if large and hasattr(os, "sched_getaffinity") else 1
    if cores > 1:
        with suppress(OSError):  # without shared memory one process does it all
            return SharedCrew(
                world.genesis,
                scenario,
                workers,
                spare,
                helpers=cores - 1,
                make_workers=workers_for,
            )
    return Alone(Arrays.begin(world.genesis, scenario.rules, spare=spare), scenario, workers)


def averaging_crew(crew: Crew, world: World, workers: Workers, graph: Graph, tape: Tape) -> Crew:
    """The crew, with what takes the place of mixing where public copies are not mixed."""
    averaging = averaging_of(world.scenario, graph, world.genesis, tape.spare)
    if averaging is None:
        return crew
    assert isinstance(crew, Alone)  # that of a cluster has public copies alone
    return AveragingCrew(crew, world.scenario, workers, averaging)


def graph_of(world: World, workers: Workers) -> Graph:
    """Who hears whom, and how much each counts."""
    scenario, rules = world.scenario, world.scenario.rules
    topology = Topology(rules.topology)
    if rules.averaging == "pairwise":
        return Meetings(
            topology,
            scenario.faults,
            rounds=rules.rounds,
            seed=scenario.seed,
            frame_bits=_frame_bits(rules, world.genesis.size),
        )
    if rules.averaging == "push-sum":
        return Graph(topology, weigh=shares)
    by_samples = rules.weighting == "samples"
    return Graph(topology, workers.samples if by_samples else None)


def tape_of(world: World, graph: Graph) -> Tape:
    """What happens in the scenario."""
    scenario = world.scenario
    rules, faults = scenario.rules, scenario.faults
    if isinstance(graph, Meetings):
        return MeetingTape(graph)
    frame_bits = _frame_bits(rules, world.genesis.size)
    if rules.pace == "asynchronous":
        return Asynchronous(
            graph, faults, rounds=rules.rounds, seed=scenario.seed, frame_bits=frame_bits
        )
    if not faults.model_copy(update={"liars": ()}).asked_for:  # a lie takes no time
        return Lockstep(graph, rules.rounds, round_s=faults.train_s + faults.delay_s)
    return Weather(
        graph,
        faults,
        rounds=rules.rounds,
        deadline_s=rules.deadline_s,
        seed=scenario.seed,
        frame_bits=frame_bits,
    )


def _frame_bits(rules: Rules, parameters: int) -> float:
    """About how long a frame is."""
    return 8.0 * (_bytes_a_parameter(rules) * parameters + FRAME_BYTES)


def _bytes_a_parameter(rules: Rules) -> float:
    """About how many bytes of a message a parameter takes."""
    if rules.compression == "low-rank":
        factors = numbers_of(rules.layout) / values_of(rules.layout)
        return algorithm_of(rules).vectors * BYTES_A_VALUE["int4"] * factors
    kept, some, levels = rules.compression.rpartition("-k")
    value = BYTES_A_VALUE.get(levels.removeprefix("-"), EXACT_BYTES)
    if some:
        value = rules.keep * (value + (PLACE_BYTES if kept == "top" else 0.0))
    return algorithm_of(rules).vectors * value


def _chronicle(world: World, folder: Path, sink: Sink) -> Chronicle:
    if world.scenario.peers <= PEERS_IN_LINES:
        return LineChronicle(world, sink)
    return TableChronicle(world, folder, sink)
