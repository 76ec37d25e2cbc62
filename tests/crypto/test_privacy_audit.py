"""An audit from outside: does the release function leak more than the accountant says?

One-run auditing (Steinke, Nasr and Jagielski 2023): many canaries, each of which moves one
coordinate of its own by the whole clip norm ("Dirac canaries"), are included or not by coin
flips; an attacker who sees the release guesses the coins. More right guesses than (epsilon,
delta) allows refute the claim. The audit is itself audited: noise four times too small is caught.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tidings.crypto import session as session_module
from tidings.crypto.accounting import epsilon_of
from tidings.crypto.integer_noise import SecureStream, integer_gaussian
from tidings.crypto.ledger import Ledger
from tidings.crypto.privacy import PrivacyGate
from tidings.crypto.privacy_settings import PrivacySettings

DELTA = 1e-7
CONFIDENCE = 0.999


def binomial_tail(n: int, p: float) -> np.ndarray:
    """P(Binomial(n, p) >= v) for v = 0 .. n + 1."""
    k = np.arange(n + 1)
    log_choose = np.array(
        [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in k]
    )
    mass = np.exp(log_choose + k * math.log(p) + (n - k) * math.log1p(-p))
    return np.append(np.cumsum(mass[::-1])[::-1], 0.0)


def p_value(canaries: int, guesses: int, right: int, epsilon: float) -> float:
    """Their Theorem 5.2: bounds the chance of so many right guesses under (epsilon, DELTA)."""
    tail = binomial_tail(guesses, 1 / (1 + math.exp(-epsilon)))
    gained = (tail[: right + 1][::-1] - tail[right])[1:]  # by delta: i fewer right ones suffice
    worst = float((gained / np.arange(1, right + 1)).max(initial=0.0))
    return min(1.0, float(tail[right]) + 2 * canaries * DELTA * worst)


def audited_epsilon(canaries: int, guesses: int, right: int) -> float:
    """The largest epsilon that so many right guesses refute, at the confidence above."""
    low, high = 0.0, 20.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        if p_value(canaries, guesses, right, middle) < 1 - CONFIDENCE:
            low = middle
        else:
            high = middle
    return low


def a_gate(mode: str, canaries: int, noise_multiplier: float, seed: int) -> PrivacyGate:
    return PrivacyGate(
        PrivacySettings(
            mode=mode,  # type: ignore[arg-type]
            epsilon=1e9,
            delta=DELTA,
            noise_multiplier=noise_multiplier,
            sampling_rate=1.0,
        ),
        Ledger(None),
        samples=canaries,
        planned_steps=1,
        planned_releases=1,
        entropy=np.random.default_rng(seed).bytes,
    )


def right_guesses(seen: np.ndarray, coins: np.ndarray, guesses: int) -> int:
    """Of the surest guesses, half of them "in" and half "out", how many are right."""
    order = np.argsort(-seen)
    surely_in, surely_out = order[: guesses // 2], order[-guesses // 2 :]
    return int(coins[surely_in].sum() + (1 - coins[surely_out]).sum())


def audit_of_records(noise_multiplier: float, seed: int) -> tuple[float, float]:
    """(lower bound found by the attacker, epsilon claimed) of one release in mode record."""
    canaries, guesses = 100_000, 300
    coins = np.random.default_rng(seed).integers(0, 2, canaries)
    door = a_gate("record", canaries, noise_multiplier, seed + 1)
    session = door.begin(1)
    session.sample(canaries, 1)
    assert session.per_example_clip is not None
    gradient = session.noisy_mean(coins * session.per_example_clip)  # one canary a coordinate
    made = door.privatize(session, np.zeros(canaries), gradient)
    assert made.epsilon is not None
    right = right_guesses(made.z, coins, guesses)
    return audited_epsilon(canaries, guesses, right), made.epsilon


def audit_of_peers(noise_multiplier: float, seed: int) -> tuple[float, float]:
    """The same for mode peer: each release has an update of more than the clip norm, or none."""
    releases, guesses = 3000, 300
    coins = np.random.default_rng(seed).integers(0, 2, releases)
    door = a_gate("peer", 1, noise_multiplier, seed + 1)
    seen = np.empty(releases)
    for round, coin in enumerate(coins):
        made = door.privatize(door.begin(round), np.zeros(4), np.array([100.0 * coin, 0, 0, 0]))
        seen[round] = made.z[0]
    assert made.event is not None
    right = right_guesses(seen, coins, guesses)
    return audited_epsilon(releases, guesses, right), epsilon_of([made.event], DELTA)


AUDITS: list[Callable[[float, int], tuple[float, float]]] = [audit_of_records, audit_of_peers]


@pytest.mark.parametrize("audit", AUDITS)
def test_the_claimed_epsilon_stands_an_audit(audit: Any) -> None:
    found, claimed = audit(2.0, 100)
    assert found <= claimed


@pytest.mark.parametrize("audit", AUDITS)
def test_the_audit_sees_something(audit: Any) -> None:
    """It is no audit if it always answers zero."""
    found, claimed = audit(1.0, 200)
    assert 0.25 * claimed < found < claimed


@pytest.mark.parametrize("audit", AUDITS)
def test_noise_four_times_too_small_is_caught(audit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_small(stream: SecureStream, sigma: float, n: int) -> np.ndarray:
        return integer_gaussian(stream, sigma / 4, n)

    monkeypatch.setattr(session_module, "integer_gaussian", too_small)
    found, claimed = audit(2.0, 300)
    assert found > claimed
