"""Any bytes give a message or a RemoteError, and never another exception."""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gossip.mutation import ACCEPTED, Mutations, outcome_of, try_many
from tests.helpers import Village
from tidings.crypto.errors import RemoteError
from tidings.gossip.effects import Received
from tidings.gossip.events import Received as ReceivedEvent
from tidings.gossip.events import Refused

REASONS = {error.reason for error in RemoteError.__subclasses__()}
SCENE = Mutations(0)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(st.binary(max_size=600) | st.binary(max_size=600).map(b"TDG1".__add__))
def test_any_bytes_are_refused_with_a_reason(frame: bytes) -> None:
    assert outcome_of(frame, SCENE.door()) in {"malformed", "over-long", "bad-signature"}


def test_honest_frames_are_taken() -> None:
    outcomes = [outcome_of(frame, SCENE.door()) for frame in SCENE.frames]
    assert set(outcomes) == ACCEPTED | {"out-of-order", "tampered"}


def test_the_core_notes_each_frame_and_goes_on() -> None:
    """What is behind the door copes with what the door believes."""
    mutations = Mutations(1)
    village = Village(5, parameters=24, rounds=50)
    village.start()
    for number in range(2000):
        before = len(village.events[0])
        frame = mutations.next()
        village.give(0, Received(link=village.keys[1], frame=frame))
        village.mail.clear()
        village.now += 0.01
        noted = village.events[0][before]
        assert isinstance(noted, ReceivedEvent | Refused), f"frame {number}: {frame.hex()}"
    assert {event.kind for event in village.events[0]} >= {"received", "refused", "equivocated"}


def _reaches_everywhere(outcomes: Counter[str]) -> None:
    """Mutations that all ended at the first check would show nothing."""
    assert set(outcomes) >= REASONS | ACCEPTED
    assert max(outcomes.values()) < 0.5 * outcomes.total()


def test_twenty_thousand_mutated_frames() -> None:
    outcomes = try_many(seed=20261122, count=20_000)
    assert outcomes.total() == 20_000
    _reaches_everywhere(outcomes)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_a_million_mutated_frames(capfd: pytest.CaptureFixture[str]) -> None:
    """Another million each time; the seed is printed, and TIDINGS_SEED repeats it."""
    seed = int(os.environ.get("TIDINGS_SEED") or int.from_bytes(os.urandom(4), "little"))
    with capfd.disabled():
        print(f"\nmutated frames: TIDINGS_SEED={seed}", flush=True)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(partial(try_many, count=10_000), range(seed, seed + 100)))
    outcomes = sum(parts, Counter[str]())
    assert outcomes.total() == 1_000_000
    _reaches_everywhere(outcomes)
    with capfd.disabled():
        print(dict(outcomes.most_common()))
