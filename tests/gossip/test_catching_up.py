"""A peer that missed rounds begins where its neighbours are, not where it was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core_kit import Town
from tidings.crypto.identity import short_id
from tidings.gossip.events import Mixed, Skipped
from tidings.gossip.grid import from_grid
from tidings.gossip.state import Phase

FULL = {"kind": "complete"}


def town_of(members: int, **rules: object) -> Town:
    return Town(members, topology={**FULL, "nodes": members}, rounds=40, **rules)


def go_on_without(town: Town, away: int, rounds: int) -> None:
    """The others train, publish and mix."""
    for _ in range(rounds):
        for index in range(len(town.states)):
            if index != away:
                town.train(index)
        town.exchange()


def copies_of(town: Town, *members: int) -> np.ndarray:
    grid = np.stack([town.states[i].own.copy for i in members])
    return from_grid(grid, town.rules.grid_bits)[:, : town.genesis.size]


@given(
    before=st.integers(0, 3),
    missed=st.integers(3, 12),
    published=st.booleans(),
    optimiser=st.sampled_from(["sgd", "qg-dsgdm", "k-gt", "beer", "outer-momentum"]),
)
@settings(max_examples=25, deadline=None)
def test_it_trains_from_the_mean_of_the_others_copies(
    before: int, missed: int, published: bool, optimiser: str
) -> None:
    town = town_of(4, optimiser=optimiser)
    town.start()
    town.run(before)
    if published:
        town.train(0)
        town.exchange()
    old = town.states[0]
    assert old.phase is (Phase.WAITING if published else Phase.TRAINING)
    town.crash(0)
    go_on_without(town, 0, missed)
    state = town.restart(0)
    town.exchange()

    (skipped,) = town.seen(0, Skipped)
    assert (skipped.from_round, skipped.to_round) == (before + 1, before + missed)
    assert skipped.neighbours == dict.fromkeys(
        [short_id(town.keys[i]) for i in (1, 2, 3)], pytest.approx(1 / 3, abs=1e-6)
    )
    assert not skipped.staleness
    # what was published before the absence is not mixed with copies from after it
    assert len(town.seen(0, Mixed)) == before
    assert town.jobs[0] is not None
    assert town.jobs[0].model == pytest.approx(copies_of(town, 1, 2, 3).mean(axis=0), abs=1e-6)
    kept = old.memory if optimiser == "beer" else np.zeros_like(old.memory)
    assert np.array_equal(state.memory, kept)


def test_one_missed_round_is_mixed_as_ever() -> None:
    town = town_of(3)
    town.start()
    town.run(1)
    town.crash(0)
    go_on_without(town, 0, 1)
    old = town.states[0].model
    town.restart(0)
    town.exchange()
    assert not town.seen(0, Skipped)
    assert town.jobs[0] is not None
    assert np.array_equal(town.jobs[0].model, old)


def test_who_joins_late_does_not_begin_at_the_initial_model() -> None:
    town = town_of(3)
    town.crash(2)
    town.start()
    for _ in range(6):
        town.pass_time(1.1 * town.rules.deadline_s)  # they do not know at first that it never came
        town.train_all()
    town.restart(2)
    town.exchange()
    assert town.jobs[2] is not None
    assert town.jobs[2].round == 6
    assert town.jobs[2].model == pytest.approx(copies_of(town, 0, 1).mean(axis=0), abs=1e-6)


def test_one_that_came_back_just_before_is_not_followed() -> None:
    town = town_of(5)
    town.start()
    town.run(1)
    town.crash(1)
    town.crash(0)
    for _ in range(6):
        for index in (2, 3, 4):
            town.train(index)
        town.exchange()
    town.restart(1)
    town.exchange()  # it is there, has caught up, and has not published yet
    town.restart(0)
    town.exchange()
    (skipped,) = town.seen(0, Skipped)
    assert skipped.neighbours.keys() == {short_id(town.keys[i]) for i in (2, 3, 4)}


def test_two_neighbours_of_which_one_may_lie_are_not_followed() -> None:
    town = town_of(3, robust="clipped-gossip", byzantine=0)
    rules = town.rules.model_copy(update={"byzantine": 1})  # a file may not ask for so few
    town.start()
    town.run(1)
    town.crash(0)
    go_on_without(town, 0, 5)
    old = town.states[0].model
    town.rules = rules
    state = town.restart(0)
    assert state.me.rules.byzantine == 1
    town.exchange()
    (skipped,) = town.seen(0, Skipped)
    assert (skipped.to_round, skipped.neighbours) == (6, {})
    assert town.jobs[0] is not None
    assert np.array_equal(town.jobs[0].model, old)


def test_a_liar_among_three_does_not_capture_who_comes_back() -> None:
    town = town_of(4, robust="median")
    town.start()
    town.run(1)
    town.crash(0)
    for _ in range(5):
        for index in (1, 2):
            town.train(index)
        town.train(3, step=100.0)
        town.exchange()
    honest = copies_of(town, 1, 2)
    town.restart(0)
    town.exchange()
    assert town.jobs[0] is not None
    assert np.abs(town.jobs[0].model - honest.mean(axis=0)).max() < 1.0
    assert np.abs(copies_of(town, 3)).max() > 50
