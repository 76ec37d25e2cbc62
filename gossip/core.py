"""The protocol core: `handle(state, input, now) -> effects`.

No input or output, no clock, no randomness of its own: time is an argument, chance comes from
``state.me.entropy``. Equal states and inputs give equal effects, which is what lets the simulator
repeat a run byte for byte and lets one implementation serve every transport.

    rounds.py   train, publish, wait, mix
    acquaintance.py  beacons: who is there, and where
    trust.py    bulletins of the root, proofs of equivocation
    links.py    hellos, news, pulls, alerts: what the neighbours say
"""

from __future__ import annotations

from collections.abc import Iterator

from ..crypto.identity import short_id
from . import acquaintance, links, noticing, rounds, trust
from .checkpoint import Phase
from .effects import (
    Effect,
    Evaluate,
    Input,
    Listening,
    NeighbourDown,
    NeighbourUp,
    Noticed,
    Received,
    Record,
    SetTimer,
    Started,
    Tested,
    TimerFired,
    Told,
    Trained,
)
from .events import Evaluated, PeerFinished, PeerStarted
from .grid import state_hash
from .posting import leave_notice
from .state import State


def handle(state: State, event: Input, now: float) -> list[Effect]:
    """What `state`'s peer does about `event`; `state` is changed, effects are to be carried out
    in their order. Frames from outside never raise: they are refused with an event.
    """
    return list(unfold(state, event, now))


def unfold(state: State, event: Input, now: float) -> Iterator[Effect]:
    """The effects of ``handle`` as they come about: what comes first need not wait for the rest.

    All must be taken, and nothing else be handled before the last.
    """
    match event:
        case Started():
            yield from _start(state, now)
        case Trained():
            yield from rounds.trained(state, event, now)
        case Tested():
            yield from _tested(state, event)
        case Received():
            yield from links.received(state, event.link, event.frame, now)
            yield from rounds.proceed(state, now)
        case NeighbourUp():
            yield from links.neighbour_up(state, event.link, now)
        case NeighbourDown():
            yield from links.neighbour_down(state, event.link, event.why)
            yield from rounds.proceed(state, now)
        case TimerFired():
            yield from _timer(state, event.timer, now)
        case Listening():
            yield from acquaintance.announce(state, event.addresses, now)
            yield from leave_notice(state)
        case Noticed():
            yield from noticing.found(state, event.author, event.frame, now)
        case Told():
            yield from _told(state, event)


def _start(state: State, now: float) -> Iterator[Effect]:
    yield Record(
        event=PeerStarted(
            id=short_id(state.me.key),
            index=state.index,
            round=state.round,
            sequence=state.own.sequence,
            network=state.me.certificate.network_id.hex(),
            parameters=int(state.me.genesis.size),
        )
    )
    yield SetTimer(timer=links.HEADS, at=now + state.me.rules.deadline_s)
    yield from acquaintance.seek(state)
    if not state.may_publish:
        state.observe_only()
    elif state.phase is Phase.FINISHED:  # a crash may have come before the last test was noted
        yield Evaluate(round=state.round, model=state.model)
    else:
        # hear first where the neighbours are: after an absence their round is ours
        state.gather()
        yield SetTimer(timer=rounds.GATHER, at=now + state.me.rules.deadline_s)
        yield from rounds.proceed(state, now)


def _told(state: State, event: Told) -> Iterator[Effect]:
    before = state.listed()
    yield from trust.take_bulletin(state, event.bulletin, None)
    # nobody else may know how to reach who was admitted just now, or be reached by them
    state.guests |= state.listed() - before - {state.me.key}
    yield from acquaintance.seek(state)


def _tested(state: State, event: Tested) -> Iterator[Effect]:
    yield Record(
        event=Evaluated(
            round=event.round, accuracy=event.accuracy, loss=event.loss, samples=event.samples
        )
    )
    if state.phase is Phase.FINISHED and event.round == state.round:
        yield Record(event=PeerFinished(round=state.round, state=state_hash(state.own.copy).hex()))


def _timer(state: State, timer: str, now: float) -> Iterator[Effect]:
    match timer:
        case links.HEADS:
            yield from links.greet_again(state, now)
            yield from links.tell_heads(state)
            yield SetTimer(timer=links.HEADS, at=now + state.me.rules.deadline_s)
        case acquaintance.BEACONS:
            yield from acquaintance.hand_on(state, now)
        case links.CLAIMS:
            yield from links.press_claims(state, now)
            yield from rounds.settled(state, now)
        case rounds.GATHER:
            yield from rounds.stop_gathering(state, now)
        case rounds.NUDGE:
            yield from rounds.nudge(state, now)
        case rounds.DEADLINE:
            yield from rounds.deadline(state)
