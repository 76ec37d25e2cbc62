"""Integer noise has the distribution that the accounting assumes; sampling is really Poisson."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.crypto.integer_noise import SecureStream, integer_gaussian, poisson_sample


def stream(seed: int = 0) -> SecureStream:
    return SecureStream(seed.to_bytes(32, "little"))


def rounded_gaussian_cdf(k: np.ndarray, sigma: float) -> np.ndarray:
    """P(round(sigma N) <= k)."""
    return np.array([0.5 * math.erfc(-(x + 0.5) / sigma / math.sqrt(2)) for x in k])


def chi_squared(observed: np.ndarray, expected: np.ndarray) -> float:
    """The statistic in standard deviations from its mean (degrees of freedom: cells - 1)."""
    freedom = len(observed) - 1
    statistic = float(((observed - expected) ** 2 / expected).sum())
    return (statistic - freedom) / math.sqrt(2 * freedom)


# ---- the stream


@settings(derandomize=True, max_examples=30)
@given(sizes=st.lists(st.integers(0, 9000), max_size=6))
def test_equal_seeds_give_equal_streams(sizes: list[int]) -> None:
    a, b = stream(7), stream(7)
    taken = [a.bytes(n) for n in sizes]
    assert taken == [b.bytes(n) for n in sizes]
    assert [len(part) for part in taken] == sizes


def test_no_part_of_a_stream_comes_twice() -> None:
    one = stream(1)
    pieces = [one.bytes(16) for _ in range(2000)] + [stream(2).bytes(16)]
    assert len(set(pieces)) == len(pieces)


def test_the_key_is_erased_and_never_shown() -> None:
    seed = bytes(range(32))
    one = SecureStream(seed)
    one.bytes(1)
    assert one._key != seed
    assert seed.hex() not in repr(one)
    assert str(seed) not in repr(one)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_seed_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="seed of 32 bytes"):
        SecureStream(b"s" * size)


def test_words_are_uniform_in_every_bit() -> None:
    words = stream(3).words(40_000)
    for bit in range(64):
        ones = int(((words >> np.uint64(bit)) & np.uint64(1)).sum())
        assert abs(ones - 20_000) < 5 * 100  # standard deviation 100


# ---- the noise


@settings(deadline=None, derandomize=True, max_examples=40)
@given(sigma=st.floats(0.25, 2.0**40), n=st.integers(0, 300), seed=st.integers(0, 2**32))
def test_noise_is_int64_of_the_asked_length_and_repeatable(sigma: float, n: int, seed: int) -> None:
    drawn = integer_gaussian(stream(seed), sigma, n)
    assert drawn.dtype == np.int64
    assert drawn.shape == (n,)
    assert np.abs(drawn).max(initial=0) < 12 * sigma + 1
    assert np.array_equal(drawn, integer_gaussian(stream(seed), sigma, n))


@pytest.mark.parametrize("sigma", [0.25, 0.3, 0.5, 0.999, 1.0, 1.37, 4.0, 11.3])
def test_small_noise_fits_the_rounded_gaussian_integer_by_integer(sigma: float) -> None:
    n = 200_000
    drawn = integer_gaussian(stream(11), sigma, n)
    reach = math.floor(sigma * 3.5) + 1
    inside = np.arange(-reach, reach)
    cdf = rounded_gaussian_cdf(inside, sigma)
    expected = n * np.diff(np.concatenate([[0.0], cdf, [1.0]]))
    observed = np.bincount(np.searchsorted(inside, drawn), minlength=len(inside) + 1)
    enough = expected > 5
    assert chi_squared(observed[enough], expected[enough]) < 5


@pytest.mark.parametrize("sigma", [100.7, 92_500.0, 2.0**31 + 0.3])
def test_large_noise_fits_the_gaussian_in_equal_cells(sigma: float) -> None:
    n = 200_000
    drawn = integer_gaussian(stream(12), sigma, n)
    cells = 100
    quantiles = np.sort(np.random.default_rng(1).standard_normal(20_001))[200::200][: cells - 1]
    edges = np.rint(quantiles * sigma).astype(np.int64)  # a cell ends with an integer
    cdf = rounded_gaussian_cdf(edges, sigma)
    expected = n * np.diff(np.concatenate([[0.0], cdf, [1.0]]))
    observed = np.bincount(np.searchsorted(edges, drawn), minlength=cells)
    assert chi_squared(observed, expected) < 5


@pytest.mark.parametrize("sigma", [3.0, 1000.0, 92_500.0])
def test_variance_mean_and_tails_are_those_of_the_gaussian(sigma: float) -> None:
    n = 400_000
    drawn = integer_gaussian(stream(13), sigma, n).astype(np.float64)
    # rounding adds 1/12 to the variance; its standard error is sqrt(2/n) of it
    assert abs(drawn.var() / (sigma**2 + 1 / 12) - 1) < 5 * math.sqrt(2 / n)
    assert abs(drawn.mean()) < 5 * sigma / math.sqrt(n)
    for reach in (1.5, 3.0, 4.0):
        share = math.erfc((math.floor(reach * sigma) + 0.5) / sigma / math.sqrt(2))
        seen = np.count_nonzero(np.abs(drawn) > reach * sigma)
        assert abs(seen - n * share) < 5 * math.sqrt(n * share)


def test_coordinates_are_independent_of_one_another() -> None:
    drawn = integer_gaussian(stream(14), 1000.0, 200_000) / 1000.0
    for lag in (1, 2, 7, 2**14):
        correlation = float((drawn[:-lag] * drawn[lag:]).mean())
        assert abs(correlation) < 5 / math.sqrt(len(drawn))


def test_the_low_bits_of_large_noise_are_uniform() -> None:
    """Integers, not floats on a coarse raster: that is what floating-point attacks feed on."""
    drawn = integer_gaussian(stream(15), 2.0**36, 100_000)
    counts = np.bincount(drawn & 63, minlength=64)
    assert chi_squared(counts, np.full(64, 100_000 / 64)) < 5


@pytest.mark.parametrize("sigma", [0.0, -1.0, 0.2, math.nan, math.inf, 2.0**41])
def test_a_sigma_that_is_no_noise_is_refused(sigma: float) -> None:
    with pytest.raises(ValueError, match="sigma"):
        integer_gaussian(stream(), sigma, 3)


# ---- Poisson sampling


@settings(deadline=None, derandomize=True, max_examples=50)
@given(n=st.integers(0, 2000), q=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_a_sample_is_ascending_distinct_and_in_range(n: int, q: float, seed: int) -> None:
    taken = poisson_sample(stream(seed), n, q)
    assert taken.dtype == np.int64
    assert np.all(np.diff(taken) > 0)
    assert taken.size == 0 or (taken[0] >= 0 and taken[-1] < n)


def test_rate_zero_takes_nobody_and_rate_one_everybody() -> None:
    assert poisson_sample(stream(), 500, 0.0).size == 0
    assert np.array_equal(poisson_sample(stream(), 500, 1.0), np.arange(500))


@pytest.mark.parametrize("q", [0.01, 0.25, 0.9])
def test_each_record_is_taken_on_its_own_with_probability_q(q: float) -> None:
    n, times = 40, 5000
    source = stream(21)
    taken = np.zeros((times, n))
    for row in taken:
        row[poisson_sample(source, n, q)] = 1
    # each record at its rate
    rates = taken.mean(axis=0)
    assert np.all(np.abs(rates - q) < 5 * math.sqrt(q * (1 - q) / times))
    # sizes vary as a binomial's do (a batch of fixed size would have variance 0)
    sizes = taken.sum(axis=1)
    variance = n * q * (1 - q)
    assert sizes.var() == pytest.approx(variance, rel=5 * math.sqrt(2 / times) + 0.1 / variance)
    # no two records are taken together more or less often than by chance
    both = (taken.T @ taken) / times
    off_diagonal = ~np.eye(n, dtype=bool)
    spread = math.sqrt(q * q * (1 - q * q) / times)
    assert np.all(np.abs(both[off_diagonal] - q * q) < 6 * spread + 5 / times)


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_a_rate_that_is_no_probability_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="sampling rate"):
        poisson_sample(stream(), 3, q)
