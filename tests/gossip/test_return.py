"""A board that slept through 200 rounds comes back for the price of one snapshot of each feed."""

from __future__ import annotations

import pytest

from tests.helpers import Village
from tidings.gossip import effects as fx
from tidings.gossip import integers
from tidings.gossip.checkpoint import Phase
from tidings.gossip.events import Received
from tidings.gossip.grid import difference
from tidings.gossip.rounds import DEADLINE

SLEEPER, AWAKE = 0, (1, 2)
ROUNDS_ASLEEP = 200


def sleep_and_return(parameters: int) -> float:
    """Received until the copies are the neighbours', in snapshots of the feeds that it follows."""
    village = Village(3, parameters=parameters, compression="int8", rounds=1000)
    village.start()
    village.run(2)
    for other in AWAKE:
        village.part(SLEEPER, other, "asleep")
    for _ in range(ROUNDS_ASLEEP):
        for index in AWAKE:
            village.train(index)
        village.exchange()
        for index in AWAKE:
            if village.states[index].phase is Phase.WAITING:
                village.now += village.rules.deadline_s
                village.give(index, fx.TimerFired(timer=DEADLINE))
        village.exchange()
    sleeper = village.states[SLEEPER]
    assert village.states[1].round - sleeper.round >= ROUNDS_ASLEEP - 1
    heard_before = len(village.seen(SLEEPER, Received))
    for other in AWAKE:
        village.join(SLEEPER, other)
    village.exchange()

    snapshots = 0
    for other in AWAKE:
        key, own = village.keys[other], village.states[other].own
        assert sleeper.feeds[key].copy.tobytes() == own.copy.tobytes()
        assert sleeper.feeds[key].sequence == own.sequence
        snapshots += len(integers.encode(difference(own.copy, own.genesis)))
    heard = village.seen(SLEEPER, Received)[heard_before:]
    assert {event.road for event in heard if event.message == "news"} <= {"snapshot", "sum"}
    return sum(event.size_bytes for event in heard) / snapshots


@pytest.mark.parametrize("parameters", [20_000])
def test_a_long_sleep_costs_one_snapshot(parameters: int) -> None:
    assert sleep_and_return(parameters) <= 1.1


@pytest.mark.nightly
def test_a_long_sleep_of_a_million_parameters_costs_one_snapshot() -> None:
    assert sleep_and_return(1_000_000) <= 1.1
