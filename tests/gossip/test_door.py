"""What the door remembers: counters within a window, and who was ever let in."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import Village, entropy_of
from tidings.crypto.errors import Equivocation, NotAMember, Replayed
from tidings.crypto.identity import Identity
from tidings.gossip.door import WINDOW, ReplayWindow

PROPERTY = settings(derandomize=True, deadline=None, max_examples=300)
# counters as they come: mostly rising, some late, some far ahead (a restart counts on from 2^32)
JUMPS = st.integers(-70, 70) | st.sampled_from([1, 1, 1, 63, 64, 65, -63, -64, 2**32, 2**40])


def counters(jumps: list[int]) -> list[int]:
    at, made = 0, []
    for jump in jumps:
        at = max(0, at + jump)
        made.append(at)
    return made


@PROPERTY
@given(st.lists(JUMPS, max_size=40).map(counters))
def test_the_window_does_what_a_list_of_all_counters_would(arriving: list[int]) -> None:
    window, seen = ReplayWindow(), set[int]()
    for counter in arriving:
        fresh = counter not in seen and counter > max(seen, default=0) - WINDOW
        if fresh:
            window.check(counter)
            window.mark(counter)
            seen.add(counter)
        else:
            before = (window.newest, window.seen)
            with pytest.raises(Replayed):
                window.check(counter)
            assert (window.newest, window.seen) == before


@PROPERTY
@given(st.lists(JUMPS, max_size=40).map(counters))
def test_the_window_stays_small(arriving: list[int]) -> None:
    window = ReplayWindow()
    for counter in arriving:
        window.mark(max(counter, window.newest - WINDOW + 1))
        assert window.seen < 2**WINDOW


def test_order_within_the_window_does_not_matter() -> None:
    window = ReplayWindow()
    for counter in [64, *range(63, 0, -1)]:
        window.check(counter)
        window.mark(counter)
    for counter in range(65):
        with pytest.raises(Replayed):
            window.check(counter)
    window.check(65)


def test_authors_do_not_share_a_window() -> None:
    door = Village(3).states[0].door
    door.mark_counter(b"a" * 32, 7)
    with pytest.raises(Replayed):
        door.check_counter(b"a" * 32, 7)
    door.check_counter(b"b" * 32, 7)
    assert list(door.windows) == [b"a" * 32]  # asking leaves nothing behind


def test_who_was_ever_let_in_is_known() -> None:
    village = Village(4)
    stranger = Identity.generate(entropy_of("stranger")).verify_key
    # state 0 knows all certificates; a newcomer knows its own and the bulletin
    door = village.states[0].door
    for key in village.keys:
        door.require_known(key)
    door.roster._certificates.clear()
    for key in village.keys:
        door.require_known(key)
    with pytest.raises(NotAMember):
        door.require_known(stranger)
    door.roster.bulletin = None
    with pytest.raises(NotAMember):
        door.require_known(village.keys[2])
    door.roster.apply(village.issue_bulletin(2, revoked=[2]))
    door.require_known(village.keys[2])
    with pytest.raises(NotAMember):
        door.require_known(stranger)


def test_a_convicted_author_is_not_heard() -> None:
    village = Village(2)
    door, key = village.states[0].door, village.keys[1]
    door.require_unconvicted(key)
    village.states[0].proofs[key] = b"proof"
    with pytest.raises(Equivocation):
        door.require_unconvicted(key)
