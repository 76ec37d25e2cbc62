"""What the switch does to packets: rate, delay, jitter, order, loss, cuts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.scenarios.faults import Crash, Cut, Faults
from tidings.scenarios.network.switch import QUEUE_S, Switch

CUT = Cut(from_s=5.0, to_s=9.0, groups=((0, 1), (2, 3)))
PACKETS = st.lists(st.tuples(st.floats(0, 0.5), st.integers(20, 1500)), min_size=1, max_size=60)


def switch(seed: int = 0, **faults: object) -> Switch:
    rng = np.random.default_rng(seed)
    return Switch(Faults.model_validate({"delay_s": 0.0, **faults}), rng.random)


@given(PACKETS, st.floats(0, 0.3), st.floats(0, 0.2), st.integers(0, 99))
def test_packets_take_their_time_and_stay_in_order(
    packets: list[tuple[float, int]], delay_s: float, jitter_s: float, seed: int
) -> None:
    line = switch(seed, delay_s=delay_s, jitter_s=jitter_s)
    now, last = 0.0, 0.0
    for gap, size in packets:
        now += gap
        at = line.delivery(0, 1, size, now)
        assert at is not None
        assert at >= now + delay_s
        assert at >= last
        assert at <= max(now + delay_s + jitter_s, last) + 1e-9
        last = at


@given(PACKETS, st.floats(1e4, 1e7))
def test_a_line_carries_no_more_than_its_rate(
    packets: list[tuple[float, int]], rate_bit_s: float
) -> None:
    line = switch(rate_bit_s=rate_bit_s)
    now, carried, first = 0.0, 0, None
    for gap, size in packets:
        now += gap
        at = line.delivery(0, 1, size, now)
        if at is None:
            continue
        first = now if first is None else first
        carried += size
        assert carried * 8 <= rate_bit_s * (at - first) + 1e-6
        assert at - now <= QUEUE_S + 8 * size / rate_bit_s + 1e-9


def test_a_full_buffer_drops_and_directions_are_apart() -> None:
    line = switch(rate_bit_s=8_000.0)  # 1 kB/s
    taken = [line.delivery(0, 1, 1000, 0.0) for _ in range(10)]
    assert [at for at in taken if at is not None] == [1.0, 2.0]
    assert line.delivery(1, 0, 1000, 0.0) == 1.0


@pytest.mark.parametrize(("source", "to", "passes"), [(0, 1, True), (0, 2, False), (3, 1, False)])
def test_a_cut_drops_what_crosses_it_while_it_lasts(source: int, to: int, passes: bool) -> None:
    line = switch(cuts=(CUT,))
    assert line.delivery(source, to, 100, 4.9) is not None
    assert (line.delivery(source, to, 100, 5.0) is not None) is passes
    assert (line.delivery(source, to, 100, 8.9) is not None) is passes
    assert line.delivery(source, to, 100, 9.0) is not None


def test_so_many_are_lost_as_was_asked_for() -> None:
    line = switch(loss=0.1)
    lost = sum(line.delivery(0, 1, 100, float(n)) is None for n in range(5000))
    assert 400 < lost < 600


@given(st.integers(0, 2**32 - 1), st.floats(0.5, 20), st.floats(0, 5))
def test_random_crashes_come_as_often_as_asked_and_never_to_who_is_down(
    seed: int, every_s: float, for_s: float
) -> None:
    named = (Crash(node=1, at_s=10.0, for_s=30.0),)
    faults = Faults(crashes=named, crash_every_s=every_s, crash_for_s=for_s)
    crashes = faults.all_crashes(4, 100.0, np.random.default_rng(seed).random)
    assert named[0] in crashes
    assert crashes == sorted(crashes, key=lambda crash: crash.at_s)
    for i, one in enumerate(crashes):
        assert 0 <= one.node < 4
        assert one.at_s < 100
        for other in crashes[i + 1 :]:
            assert not one.overlaps(other) or one == other


def test_crashes_are_as_frequent_as_asked() -> None:
    faults = Faults(crash_every_s=5.0, crash_for_s=0.1)
    crashes = faults.all_crashes(100, 10_000.0, np.random.default_rng(1).random)
    assert 1800 < len(crashes) < 2200
    assert faults.all_crashes(100, 10_000.0, np.random.default_rng(1).random) == crashes
