"""Who was away joins the round that its neighbours are in, and goes on from what they have.

A peer that comes back joins the round that half of its neighbours have reached, so that two
neighbours that come back together do not keep each other behind; one that is behind all of them
in the midst of a run joins the round they are in. Where nobody waits for anybody, each keeps its
own count.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ..crypto.identity import short_id
from .effects import Effect, Record
from .events import Skipped
from .feed import Feed
from .grid import from_grid
from .rejoining import neighbours_mean, shares_of
from .state import State, turn_of


def is_behind(state: State) -> bool:
    """Whether the neighbours have come so far that this peer skips rounds to be with them."""
    # where the graph changes, neighbours that were not met lately may rightly be ahead
    return _reached(state) > state.round + state.topology.lead


def catch_up(state: State) -> Iterator[Effect]:
    """Skip to the round that the neighbours have reached while this peer was away."""
    skips, reached = is_behind(state), _reached(state)
    state.returning = False
    if skips:
        came_from, state.round = state.round, reached
        yield Record(event=_rejoined(state, came_from))


def _followed(state: State) -> list[Feed]:
    """The feeds of those that this peer hears in some round and that are there."""
    keys = state.keys_at(sorted(state.heard_by(state.index)))
    return [state.feeds[key] for key in keys if key in state.up and not state.excluded(key)]


def _reached(state: State) -> int:
    if state.is_asynchronous:
        return 0
    rounds = sorted((feed.round for feed in _followed(state)), reverse=True)
    # in the midst of a run one honest neighbour is enough to stay: a liar alone moves nobody
    enough = math.ceil(len(rounds) / 2) if state.returning else len(rounds)
    return rounds[enough - 1] if rounds else 0


def _rejoined(state: State, came_from: int) -> Skipped:
    """Go on from the mean of those who are not behind themselves; what there is to tell of it."""
    rules = state.me.rules
    there = [each for each in _followed(state) if each.round + state.topology.lead >= state.round]
    by_samples = rules.weighting == "samples"
    shares = shares_of(rules, [max(1, feed.samples) if by_samples else 1 for feed in there])
    if not shares.any():
        return Skipped(from_round=came_from, to_round=state.round)
    models = np.stack([feed.copy[: state.model.size] for feed in there])
    found, used = neighbours_mean(rules, from_grid(models, rules.grid_bits), shares, state.round)
    state.model, state.memory = state.algorithm.rejoin(turn_of(state), found)
    return Skipped(
        from_round=came_from,
        to_round=state.round,
        neighbours={
            short_id(feed.author): weight
            for feed, weight in zip(there, used.round(6).tolist(), strict=True)
        },
        staleness={
            short_id(feed.author): state.round - feed.round
            for feed in there
            if feed.round != state.round
        },
    )
