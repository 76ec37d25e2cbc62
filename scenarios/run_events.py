"""What an engine notes of a run, beside what its peers note; and all kinds of events together."""

from __future__ import annotations

from dataclasses import dataclass

from ..gossip.events import KINDS, LOG_VERSION, Event


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """An engine began a run; ``scenario`` is the name or the text of what it runs."""

    name: str
    engine: str
    transport: str
    seed: int
    peers: int
    rounds: int
    scenario: str
    log_version: int = LOG_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """An engine ended a run; ``outcome`` says how, such as "finished" or "interrupted"."""

    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultMade(Event):
    """An engine did what [faults] says; ``what`` is cut, healed, killed or restarted.

    ``nodes`` are those that were meant; none for a cut, which concerns all.
    """

    what: str
    nodes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsensusMeasured(Event):
    """An engine that holds all models measured how far apart they are after a round.

    ``distance`` is sqrt(mean_i ||x_i - mean||^2) of the models themselves, not of sketches, over
    ``peers`` of them.
    """

    round: int
    distance: float
    peers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundDone(Event):
    """An engine that works on all peers at once has done a round.

    ``peers`` have mixed in it, ``missing`` neighbours short. ``accuracy_mean`` and ``accuracy_min``
    are over those whose models were tested, None when none was.
    """

    round: int
    peers: int
    missing: int
    bytes_sent: int
    messages_sent: int
    accuracy_mean: float | None
    accuracy_min: float | None


_OF_ENGINES: tuple[type[Event], ...] = (
    RunStarted,
    RunFinished,
    FaultMade,
    ConsensusMeasured,
    RoundDone,
)

ALL_KINDS: dict[str, type[Event]] = {**KINDS, **{cls.kind: cls for cls in _OF_ENGINES}}
