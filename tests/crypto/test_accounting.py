"""The accountant: an upper bound, tight, in agreement with two others, and cheap enough."""

from __future__ import annotations

import math
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.crypto import accounting
from tidings.crypto.accounting import (
    Accountant,
    PrivacyEvent,
    calibrate,
    epsilon_of,
    gaussian_delta,
    gaussian_epsilon,
)
from tidings.crypto.errors import ConfigError


def sampled(sigma: float, q: float, steps: int) -> PrivacyEvent:
    return PrivacyEvent(
        mechanism="poisson-gaussian", noise_multiplier=sigma, sampling_rate=q, steps=steps
    )


def unsampled(sigma: float, steps: int = 1) -> PrivacyEvent:
    return PrivacyEvent(mechanism="gaussian", noise_multiplier=sigma, steps=steps)


# ---- the exact formula


@settings(deadline=None, derandomize=True)
@given(mu=st.floats(1e-3, 40), delta=st.floats(1e-12, 0.3))
def test_the_exact_epsilon_solves_the_equation(mu: float, delta: float) -> None:
    epsilon = gaussian_epsilon(mu, delta)
    assert gaussian_delta(mu, epsilon) <= delta
    if epsilon > 0:
        assert gaussian_delta(mu, epsilon * (1 - 1e-6)) > delta


@settings(deadline=None, derandomize=True, max_examples=50)
@given(mu=st.floats(0.01, 20), epsilon=st.floats(0, 60))
def test_the_exact_delta_is_that_of_numerical_integration(mu: float, epsilon: float) -> None:
    """delta = integral of max(0, f(x) - e^eps g(x)) for f = N(mu, 1), g = N(0, 1)."""
    start = epsilon / mu + mu / 2  # where f = e^eps g
    x = np.linspace(start, start + 45, 400_001)
    f = np.exp(-((x - mu) ** 2) / 2) / math.sqrt(2 * math.pi)
    integrand = f * -np.expm1(epsilon - mu * x + mu * mu / 2)
    expected = float(np.trapezoid(integrand, x))
    assert gaussian_delta(mu, epsilon) == pytest.approx(expected, rel=1e-6, abs=1e-300)


@pytest.mark.parametrize(("sigma", "delta"), [(0.5, 1e-5), (1.0, 1e-6), (4.0, 1e-5), (30.0, 1e-9)])
def test_the_exact_formula_agrees_with_dp_accounting(sigma: float, delta: float) -> None:
    from dp_accounting import get_epsilon_gaussian

    ours = epsilon_of([unsampled(sigma)], delta)
    assert ours == pytest.approx(get_epsilon_gaussian(sigma, delta), rel=1e-6)


def test_releases_of_different_noise_add_up_as_squares() -> None:
    together = epsilon_of([unsampled(2.0, 3), unsampled(4.0, 4), unsampled(2.0)], 1e-5)
    assert together == pytest.approx(gaussian_epsilon(math.sqrt(4 / 4 + 4 / 16), 1e-5), rel=1e-12)


# ---- sampled releases


# The third is the quickstart of the paper trail: DP-SGD on digits.
@pytest.mark.parametrize(
    ("sigma", "q", "steps", "delta"),
    [
        (1.0, 0.01, 1000, 1e-5),
        (4.0, 0.5, 60, 1e-5),
        (1.84, 0.25, 100, 1e-5),
        (0.8, 0.05, 300, 1e-6),
        (1.1, 0.004, 5000, 1e-5),
    ],
)
def test_pld_agrees_with_the_prv_accountant_of_opacus(
    sigma: float, q: float, steps: int, delta: float
) -> None:
    from opacus.accountants import PRVAccountant

    other = PRVAccountant()
    other.history = [(sigma, q, steps)]
    theirs = other.get_epsilon(delta, eps_error=0.005)
    assert epsilon_of([sampled(sigma, q, steps)], delta) == pytest.approx(theirs, rel=0.01)


def test_the_prv_accountant_agrees_on_a_mixture_too() -> None:
    from opacus.accountants import PRVAccountant

    other = PRVAccountant()
    other.history = [(1.84, 0.25, 40), (3.0, 0.1, 60)]
    ours = epsilon_of([sampled(1.84, 0.25, 40), sampled(3.0, 0.1, 60)], 1e-5)
    assert ours == pytest.approx(other.get_epsilon(1e-5, eps_error=0.005), rel=0.01)


def test_sampling_at_rate_one_is_no_sampling() -> None:
    assert epsilon_of([sampled(3.0, 1.0, 7)], 1e-5) == epsilon_of([unsampled(3.0, 7)], 1e-5)


def test_a_mixture_costs_more_than_its_parts_and_less_than_their_sum() -> None:
    parts = [sampled(2.0, 0.2, 20), unsampled(8.0)]
    alone = [epsilon_of([part], 1e-5) for part in parts]
    both = epsilon_of(parts, 1e-5)
    assert max(alone) < both < sum(alone)


def test_the_cells_are_fine_enough_where_one_step_loses_little() -> None:
    from dp_accounting.pld import privacy_loss_distribution

    fine = privacy_loss_distribution.from_gaussian_mechanism(
        5.0, sampling_prob=0.01, value_discretization_interval=5e-5
    )
    expected = fine.self_compose(3000).get_epsilon_for_delta(1e-5)
    assert epsilon_of([sampled(5.0, 0.01, 3000)], 1e-5) == pytest.approx(expected, rel=0.005)


# ---- the running total


def test_the_running_total_is_the_fold() -> None:
    accountant, events = Accountant(1e-5), []
    for _ in range(5):
        event = sampled(1.84, 0.25, 3)
        foretold = accountant.would_be(event)
        before = accountant.epsilon()
        accountant.add(event)
        events.append(event)
        assert before < foretold == accountant.epsilon() == epsilon_of(events, 1e-5)


def test_nothing_released_costs_nothing_and_no_noise_costs_everything() -> None:
    assert epsilon_of([], 1e-5) == 0
    assert epsilon_of([sampled(1.0, 0.5, 0)], 1e-5) == 0
    unprotected = PrivacyEvent(mechanism="none", noise_multiplier=0.0)
    assert epsilon_of([unsampled(5.0), unprotected], 1e-5) == math.inf
    assert Accountant(1e-5).would_be(unprotected) == math.inf


def test_the_accountant_says_which_method_it_used() -> None:
    assert Accountant(1e-5, [unsampled(2.0)]).name == accounting.EXACT
    assert Accountant(1e-5, [unsampled(2.0), sampled(2.0, 0.5, 1)]).name == accounting.PLD


def test_a_hundred_rounds_are_accounted_in_three_seconds() -> None:
    accountant = Accountant(3e-6)  # a delta that no other test has put into the cache
    start = time.process_time()
    for _ in range(100):
        accountant.would_be(sampled(1.84, 0.25, 1))
        accountant.add(sampled(1.84, 0.25, 1))
        accountant.epsilon()
    assert time.process_time() - start < 3


# ---- calibration


@pytest.mark.parametrize(
    ("epsilon", "delta", "q", "steps"),
    [(8.0, 1e-5, 0.25, 100), (1.0, 1e-6, 0.01, 2000), (50.0, 1e-5, 0.5, 10), (0.2, 1e-5, 0.1, 30)],
)
def test_calibrated_noise_uses_the_budget_and_never_overspends(
    epsilon: float, delta: float, q: float, steps: int
) -> None:
    sigma = calibrate(
        epsilon=epsilon, delta=delta, sampling_rate=q, steps=steps, mechanism="poisson-gaussian"
    )
    spent = epsilon_of([sampled(sigma, q, steps)], delta)
    assert 0.995 * epsilon <= spent <= epsilon


def test_calibrated_noise_keeps_the_budget_in_the_eyes_of_the_prv_accountant() -> None:
    from opacus.accountants import PRVAccountant

    sigma = calibrate(
        epsilon=8.0, delta=1e-5, sampling_rate=0.25, steps=60, mechanism="poisson-gaussian"
    )
    other = PRVAccountant()
    other.history = [(sigma, 0.25, 60)]
    assert other.get_epsilon(1e-5) <= 8.0


@settings(deadline=None, derandomize=True, max_examples=40)
@given(epsilon=st.floats(0.05, 100), delta=st.floats(1e-10, 1e-2), steps=st.integers(1, 100_000))
def test_calibrated_unsampled_noise_spends_the_budget_exactly(
    epsilon: float, delta: float, steps: int
) -> None:
    sigma = calibrate(
        epsilon=epsilon, delta=delta, sampling_rate=1.0, steps=steps, mechanism="gaussian"
    )
    spent = epsilon_of([unsampled(sigma, steps)], delta)
    assert epsilon * (1 - 1e-6) <= spent <= epsilon


def test_a_budget_that_no_noise_spends_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match=r"privacy\.epsilon: no noise multiplier"):
        calibrate(
            epsilon=1e-7, delta=1e-5, sampling_rate=0.5, steps=10, mechanism="poisson-gaussian"
        )


# ---- what cannot be


@pytest.mark.parametrize(
    "fields",
    [
        {"mechanism": "laplace", "noise_multiplier": 1.0},
        {"mechanism": "gaussian", "noise_multiplier": 0.0},
        {"mechanism": "gaussian", "noise_multiplier": math.nan},
        {"mechanism": "gaussian", "noise_multiplier": 1.0, "sampling_rate": 0.5},
        {"mechanism": "poisson-gaussian", "noise_multiplier": 1.0, "sampling_rate": 1.5},
        {"mechanism": "poisson-gaussian", "noise_multiplier": 1.0, "steps": -1},
    ],
)
def test_an_event_that_describes_no_mechanism_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"mechanism|multiplier|rate|steps"):
        PrivacyEvent(**fields)  # type: ignore[arg-type]


def test_without_dp_accounting_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.startswith("dp_accounting")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(ConfigError, match=r"pip install 'tidings\[privacy\]'"):
        epsilon_of([sampled(1.2345, 0.3, 2)], 1e-5)
    assert epsilon_of([unsampled(2.0)], 1e-5) > 0  # the exact formula needs nothing
