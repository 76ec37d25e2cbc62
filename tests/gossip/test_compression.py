from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tidings.gossip.compression import Rule, captured, compress
from tidings.gossip.integers import decode, encode

RULES: list[tuple[Rule, float]] = [
    ("none", 1.0),
    ("int8", 1.0),
    ("int4", 1.0),
    ("top-k-int8", 0.25),
    ("top-k-int8", 0.05),
    ("sign", 1.0),
    ("top-k", 0.25),
    ("random-k", 0.25),
    ("random-k-int8", 0.25),
]
LEVELS = {"int8": 127, "int4": 7, "top-k-int8": 127, "sign": 1, "random-k-int8": 127}
ENDS = [0, 1, -1, 2**31 - 1, -(2**31)]
INT32 = st.one_of(st.sampled_from(ENDS), st.integers(-(2**31), 2**31 - 1), st.integers(-300, 300))
DELTAS = hnp.arrays(np.int32, st.tuples(st.integers(1, 4), st.integers(1, 40)), elements=INT32)
PROPERTY = settings(derandomize=True, deadline=None, max_examples=200)


def bell(size: int, seed: int, width: float = 2000.0) -> np.ndarray:
    """A delta such as training makes: heavier tails than a Gaussian's."""
    rng = np.random.Generator(np.random.PCG64(seed))
    return np.rint(rng.laplace(size=size) * width).astype(np.int32)


@PROPERTY
@given(DELTAS, st.sampled_from(RULES))
def test_each_row_is_few_levels_times_a_power_of_two(
    delta: np.ndarray, rule: tuple[Rule, float]
) -> None:
    q = compress(delta, *rule)
    assert q.dtype == np.int32
    assert q.shape == delta.shape
    for row, original in zip(q.astype(object), delta, strict=True):
        if rule[0] == "none":
            assert row.tolist() == original.tolist()
            continue
        if rule[0] not in LEVELS:
            assert all(v in (0, int(d)) for v, d in zip(row, original, strict=True))
            continue
        step = math.gcd(*row) or 1
        power = step & -step  # the largest power of two that divides all
        assert max(abs(row)) <= LEVELS[rule[0]] * power
        assert all(v * int(d) >= 0 for v, d in zip(row, original, strict=True))


@PROPERTY
@given(DELTAS, st.sampled_from(RULES))
def test_rows_do_not_see_each_other(delta: np.ndarray, rule: tuple[Rule, float]) -> None:
    q = compress(delta, *rule)
    share = captured(delta, q)
    assert share.shape == delta.shape[:1]
    for i, row in enumerate(delta):
        assert np.array_equal(compress(row, *rule), q[i])
        assert captured(row, q[i]) == share[i]


@PROPERTY
@given(DELTAS, st.sampled_from(RULES))
def test_compression_brings_the_copy_nearer(delta: np.ndarray, rule: tuple[Rule, float]) -> None:
    q = compress(delta, *rule)
    share = captured(delta, q)
    assert ((share >= 0) & (share <= 1)).all()
    lost = np.square(delta.astype(np.float64) - q).sum(axis=-1)
    norm = np.square(delta.astype(np.float64)).sum(axis=-1)
    assert (lost <= norm).all()
    assert np.allclose(share * norm, norm - lost)
    if rule[0] in ("int8", "top-k-int8"):  # fine enough that no row comes out empty
        assert ((share > 0) | (norm == 0)).all()


@PROPERTY
@given(
    hnp.arrays(np.int32, 40, elements=st.integers(-60, 60)), st.floats(0.01, 1), st.integers(0, 24)
)
def test_top_k_keeps_the_largest(delta: np.ndarray, keep: float, shift: int) -> None:
    q = (
        compress(delta << shift, "top-k-int8", keep) >> shift
    )  # so few levels come through unrounded
    count = math.ceil(keep * 40)
    order = sorted(range(40), key=lambda i: (-abs(int(delta[i])), i))
    expected = np.zeros(40, dtype=np.int32)
    expected[order[:count]] = delta[order[:count]]
    assert np.array_equal(q, expected)


@PROPERTY
@given(
    st.integers(1, 60), st.floats(0.01, 1), st.lists(st.integers(0, 2**40), min_size=1, max_size=5)
)
def test_random_k_keeps_a_run_that_the_round_has_drawn(
    size: int, keep: float, rounds: list[int]
) -> None:
    delta = np.tile(np.arange(1, size + 1, dtype=np.int32), (len(rounds), 1))
    q = compress(delta, "random-k", keep, rounds)
    count = math.ceil(keep * size)
    for row, round_ in zip(q, rounds, strict=True):
        assert np.count_nonzero(row) == count
        assert (
            np.count_nonzero(np.diff(row != 0, append=row[0] != 0)) <= 2
        )  # one run, round the end
        assert np.array_equal(row, compress(delta[0], "random-k", keep, round_))


def test_random_k_lets_every_coordinate_have_its_turn() -> None:
    rounds = np.arange(4000)
    delta = np.ones((4000, 37), dtype=np.int32)
    turns = compress(delta, "random-k", 0.25, rounds).sum(axis=0)
    expected = 4000 * math.ceil(0.25 * 37) / 37
    assert np.abs(turns - expected).max() < 5 * math.sqrt(expected)


def test_signs_cost_a_bit_and_lose_the_least_that_a_bit_can() -> None:
    delta = bell(20_000, seed=3)
    q = compress(delta, "sign")
    assert np.array_equal(np.unique(np.abs(q)), [np.abs(q)[0]])
    assert len(encode(q)) < 20_000 / 8 + 100
    shares = [float(captured(delta, np.where(delta < 0, -(1 << k), 1 << k))) for k in range(24)]
    assert captured(delta, q) == max(shares)
    assert max(shares) > 0.4
    assert compress(np.zeros(5, dtype=np.int32), "sign").tolist() == [0] * 5
    assert compress(np.array([0, 0, 0, 1], dtype=np.int32), "sign").tolist() == [0, 0, 0, 1]


def test_captured_at_the_ends() -> None:
    zero, some = np.zeros(3, dtype=np.int32), np.array([3, -4, 0], dtype=np.int32)
    assert captured(zero, zero) == 1
    assert captured(some, some) == 1
    assert captured(some, zero) == 0
    assert captured(some, -some) == 0
    assert captured(some, np.array([3, 0, 0], dtype=np.int32)) == pytest.approx(9 / 25)
    assert compress(np.zeros(0, dtype=np.int32), "top-k-int8", 0.5).shape == (0,)


def test_halves_round_to_even_and_outliers_are_cut() -> None:
    assert compress(np.array([127, 5, -127], dtype=np.int32), "int8").tolist() == [127, 5, -127]
    halves = np.array([252, 1, 3, 5, -1, -3], dtype=np.int32)  # in steps of 2
    assert compress(halves, "int8").tolist() == [252, 0, 4, 4, 0, -4]
    bulk = np.tile(np.array([7, -7, 3, -2], dtype=np.int32), 500)
    bulk[0] = 20
    assert compress(bulk, "int4").tolist() == [7, *bulk[1:].tolist()]


def test_a_row_that_gains_no_more_stays_however_long_others_go_on() -> None:
    # one large value against many small ones: a coarse and a fine step are good, not those
    # between; beside it a row with ever more of ever smaller values, which gains by each step
    other = np.repeat([7 * 2 ** (10 - k) for k in range(8)], [5**k for k in range(8)])
    alone = np.full(other.shape, 56)
    alone[0] = 7168
    q = compress(np.stack([alone, other]).astype(np.int32), "int4")
    assert q[0].tolist() == [7168, *[0] * (len(other) - 1)]
    assert np.abs(q[1]).max() == 7168 / 16


def test_the_best_step_is_found_for_heavy_tails() -> None:
    rng = np.random.Generator(np.random.PCG64(4))
    delta = np.rint(rng.standard_t(3, size=200_000) * 1200).astype(np.int32)
    exact = delta.astype(np.float64)
    best = 0.0
    for exponent in range(32):
        q = np.clip(np.rint(exact / 2**exponent), -7, 7) * 2.0**exponent
        best = max(best, float(captured(delta, q.astype(np.int64))))
    assert captured(delta, compress(delta, "int4")) == pytest.approx(best)
    assert best > 0.85


# Least shares captured and largest bytes; a delta without compression takes 13 bits a coordinate.
@pytest.mark.parametrize(
    ("size", "rule", "keep", "share", "size_bytes"),
    [
        (2410, "int8", 1.0, 0.999, 2_100),
        (2410, "int4", 1.0, 0.96, 1_100),
        (2410, "top-k-int8", 0.25, 0.83, 850),
        (2410, "top-k-int8", 0.05, 0.40, 240),
        (1_000_000, "int8", 1.0, 0.999, 870_000),
        (1_000_000, "int4", 1.0, 0.96, 450_000),
        (1_000_000, "top-k-int8", 0.25, 0.83, 340_000),
        (1_000_000, "top-k-int8", 0.05, 0.40, 95_000),
    ],
)
def test_what_a_delta_costs(
    size: int, rule: Rule, keep: float, share: float, size_bytes: int
) -> None:
    delta = bell(size, seed=size)
    q = compress(delta, rule, keep)
    data = encode(q)
    assert np.array_equal(decode(data, size), q)
    assert captured(delta, q) >= share
    assert len(data) <= size_bytes


@pytest.mark.parametrize("rule", ["int8", "int4", "top-k-int8"])
def test_a_sum_of_deltas_stays_cheap(rule: Rule) -> None:
    k = 16
    # widths that shrink by half, as deltas do when training settles
    deltas = [bell(20_000, seed=i, width=2000 * 2 ** (-i / k)) for i in range(k)]
    compressed = [compress(d, rule, 0.25) for d in deltas]
    one = sum(len(encode(q)) for q in compressed) / k
    total = len(encode(np.sum(compressed, axis=0, dtype=np.int32)))
    uncompressed = len(encode(np.sum(deltas, axis=0, dtype=np.int32)))
    assert total < 0.65 * uncompressed
    # 16 terms have a standard deviation 4 times larger, and their steps differ by a factor of 2;
    # top-k alone fills up, from a quarter of the coordinates to nearly all
    extra_bits = {"int8": 3.5, "int4": 3.5, "top-k-int8": 7}[rule]
    assert total < one + extra_bits * 20_000 / 8
