"""Beginning a run of the array engine: with which workers, by which tape, in which log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ....gossip.events import Event
from ...cohort.base import make_cohort
from ...event_tables import EventTables
from ...world import World
from .central import CentralRun, scheme_of
from .central_log import CentralLog
from .chronicle import Chronicle, LineChronicle
from .engine import ArrayRun
from .table_chronicle import TableChronicle
from .together import Together
from .workers import OneByOne, Workers

PEERS_IN_LINES = 200  # how many peers' events are written as lines; more are written as tables

Sink = Callable[[float, str, Event], None]


def begin(world: World, folder: Path, sink: Sink) -> ArrayRun | CentralRun:
    """A run of the world's scenario, which leaves its log in ``folder`` and in ``sink``."""
    scheme = scheme_of(world.scenario)
    if scheme is not None:
        names = [certificate.name for certificate in world.certificates]
        tables = EventTables(folder, names) if len(names) > PEERS_IN_LINES else None
        return CentralRun(world, scheme, workers_of(world), CentralLog(world, tables, sink))
    return ArrayRun(world, _chronicle(world, folder, sink), workers_of(world))


def workers_of(world: World) -> Workers:
    """Who trains the nodes: a cohort, or where privacy is asked for, one learner after another."""
    if world.scenario.privacy.mode == "none":
        return Together(make_cohort(world.scenario, world.shares), world.scenario)
    return OneByOne([citizen.trainer for citizen in world.citizens])


def _chronicle(world: World, folder: Path, sink: Sink) -> Chronicle:
    if world.scenario.peers <= PEERS_IN_LINES:
        return LineChronicle(world, sink)
    return TableChronicle(world, folder, sink)
