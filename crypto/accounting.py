"""What a peer's releases cost together: epsilon as a fold over privacy events.

Relation: add or remove one unit (a record or a peer). Unsampled Gaussian releases have an exact
formula (Balle and Wang 2018; Dong, Roth and Su 2019), which needs no other package. Sampled ones
are composed with the privacy loss distribution of dp-accounting (Doroshenko et al. 2022,
"Connect the Dots"), whose estimates are upper bounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from .errors import ConfigError

Mechanism = Literal["poisson-gaussian", "gaussian", "none"]

_LITTLE, _MUCH = 0.05, 1e5  # noise multipliers between which a calibrated one is sought

EXACT = "exact Gaussian"
PLD = "PLD (dp-accounting)"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyEvent:
    """One release: ``steps`` Gaussian mechanisms of noise ``noise_multiplier`` x sensitivity.

    ``poisson-gaussian``: each step sees a Poisson sample of rate ``sampling_rate``.
    ``gaussian``: each sees everything. ``none``: nothing is protected, epsilon is infinite.

    Raises:
        ValueError: values that describe no mechanism.
    """

    mechanism: Mechanism
    noise_multiplier: float
    sampling_rate: float = 1.0
    steps: int = 1

    def __post_init__(self) -> None:
        if self.mechanism not in ("poisson-gaussian", "gaussian", "none"):
            raise ValueError(f"unknown mechanism {self.mechanism!r}")
        if not 0 < self.sampling_rate <= 1:
            raise ValueError(f"a sampling rate lies in (0, 1], not {self.sampling_rate}")
        if self.mechanism == "gaussian" and self.sampling_rate != 1:
            raise ValueError("the mechanism 'gaussian' does not sample; use 'poisson-gaussian'")
        noisy = math.isfinite(self.noise_multiplier) and self.noise_multiplier > 0
        if self.mechanism != "none" and not noisy:
            raise ValueError(f"a noise multiplier is positive, not {self.noise_multiplier}")
        if self.steps < 0:
            raise ValueError(f"a number of steps is not negative, as {self.steps} is")


Groups = tuple[tuple[float, float, int], ...]
"""(noise multiplier, sampling rate, steps) of the releases that are composed, in rising order."""


class Composition:
    """How the cost of releases is worked out: here, in this process."""

    def epsilon(self, groups: Groups, delta: float) -> float:
        """An upper bound of epsilon for all ``groups`` together.

        Raises:
            ConfigError: some are sampled and dp-accounting is not installed.
        """
        return compose(groups, delta)

    def foresee(self, totals: Iterable[Groups], delta: float) -> None:
        """Hear which totals will be asked for next, one after the other."""

    def calibrate(
        self,
        *,
        epsilon: float,
        delta: float,
        sampling_rate: float,
        steps: int,
        mechanism: Mechanism,
    ) -> float:
        """As the function `calibrate`."""
        return calibrate(
            epsilon=epsilon,
            delta=delta,
            sampling_rate=sampling_rate,
            steps=steps,
            mechanism=mechanism,
        )


HERE = Composition()


class Accountant:
    """The running total of one peer's releases at one ``delta``; add-or-remove-one relation.

    Asking what the next release would bring the total to, making it, and asking for the total
    costs one composition of distributions (about 15 ms), not three.
    """

    def __init__(
        self,
        delta: float,
        events: Iterable[PrivacyEvent] = (),
        composition: Composition = HERE,
    ) -> None:
        self.delta = delta
        self._composition = composition
        self._steps: dict[tuple[float, float], int] = {}
        self._unprotected = False
        for event in events:
            self.add(event)

    @property
    def name(self) -> str:
        """Which method gives the total: the exact formula, or the privacy loss distribution."""
        return PLD if any(q < 1 for _, q in self._steps) else EXACT

    def add(self, event: PrivacyEvent) -> None:
        """Count a release."""
        if event.steps == 0:
            return
        if event.mechanism == "none":
            self._unprotected = True
            return
        key = (event.noise_multiplier, event.sampling_rate)
        self._steps[key] = self._steps.get(key, 0) + event.steps

    def epsilon(self) -> float:
        """An upper bound of epsilon for everything counted so far; infinite if unprotected.

        Raises:
            ConfigError: sampled releases are counted and dp-accounting is not installed.
        """
        if self._unprotected:
            return math.inf
        return self._composition.epsilon(self._groups(), self.delta)

    def would_be(self, event: PrivacyEvent) -> float:
        """What :meth:`epsilon` would be after ``event``.

        Raises:
            ConfigError: as :meth:`epsilon`.
        """
        return self._after(event).epsilon()

    def foresee(self, event: PrivacyEvent, releases: int) -> None:
        """Get ready for ``releases`` such events, which saves time where that takes long.

        Raises:
            ConfigError: as :meth:`epsilon`.
        """
        self._composition.foresee(self._totals(event, releases), self.delta)

    def _totals(self, event: PrivacyEvent, releases: int) -> Iterator[Groups]:
        """What will have been released after each of so many more."""
        ahead = self
        for _ in range(releases):
            ahead = ahead._after(event)
            yield ahead._groups()

    def _after(self, event: PrivacyEvent) -> Accountant:
        other = Accountant(self.delta, composition=self._composition)
        other._steps, other._unprotected = dict(self._steps), self._unprotected
        other.add(event)
        return other

    def _groups(self) -> Groups:
        return tuple(sorted((sigma, q, steps) for (sigma, q), steps in self._steps.items()))


def epsilon_of(events: Iterable[PrivacyEvent], delta: float) -> float:
    """An upper bound of epsilon for all ``events`` together, at ``delta``.

    Raises:
        ConfigError: there are sampled releases and dp-accounting is not installed.
    """
    return Accountant(delta, events).epsilon()


@lru_cache(maxsize=256)
def calibrate(
    *, epsilon: float, delta: float, sampling_rate: float, steps: int, mechanism: Mechanism
) -> float:
    """The noise multiplier with which ``steps`` steps spend the budget and no more.

    Unsampled releases spend it to the last part in 10^9. Sampled ones leave 0.25 to 0.45 % of it,
    so that the bounds of other accountants, which are a little looser, stay within it too.

    Raises:
        ConfigError: no noise fits the budget, or dp-accounting is needed and not installed.
        ValueError: the mechanism has no noise, or there are no steps.
    """
    if steps < 1 or mechanism == "none":
        raise ValueError("only a noisy mechanism of at least one step can be calibrated")
    exact = math.sqrt(steps) / _mu_of(epsilon, delta)
    if mechanism == "gaussian" or sampling_rate == 1:
        while compose(((exact, 1.0, steps),), delta) > epsilon:
            exact = math.nextafter(exact, math.inf)
        return exact

    def spent(sigma: float) -> float:
        # log of the share of the budget, a nearly straight line over log sigma
        return math.log(max(_pld_epsilon(((sigma, sampling_rate, steps),), delta), 1e-9) / epsilon)

    found = _falling_root(
        spent, low=math.log(0.9955), high=math.log(0.9975), start=sampling_rate * exact
    )
    if found is None:
        raise ConfigError(
            f"no noise multiplier from {_LITTLE:g} to {_MUCH:g} spends epsilon {epsilon:g} "
            f"at delta {delta:g} in {steps} steps",
            where="privacy.epsilon",
            fix="choose another budget, or name privacy.noise_multiplier",
        )
    return found


def _falling_root(
    f: Callable[[float], float], *, low: float, high: float, start: float
) -> float | None:
    """Some sigma with low <= f(sigma) <= high for a falling f; None if none is found."""
    middle = (low + high) / 2
    little, much = _LITTLE, _MUCH
    sigma = min(max(start, 0.5), much / 2)  # distributions of little noise are long and slow
    slope, last = -1.0, None  # of f over log sigma; epsilon falls about as 1/sigma, or faster
    for _ in range(60):
        value = f(sigma)
        if low <= value <= high:
            return sigma
        if value > high:
            little = sigma
        else:
            much = sigma
        if last is not None and value != last[1]:
            slope = min(-0.2, (value - last[1]) / math.log(sigma / last[0]))
        last = (sigma, value)
        # a secant step on the log-log line, else a bisection
        sigma *= math.exp(max(-1.5, min(1.5, (middle - value) / slope)))
        if not little < sigma < much:
            sigma = math.sqrt(little * much)
    return None


def is_sampled(groups: Groups) -> bool:
    """Whether some of these releases need the privacy loss distribution."""
    return any(q < 1 for _, q, _ in groups)


@lru_cache(maxsize=4096)
def compose(groups: Groups, delta: float) -> float:
    """Epsilon of ``groups`` together: exact if none is sampled, else an upper bound.

    Raises:
        ConfigError: some are sampled and dp-accounting is not installed.
    """
    if not is_sampled(groups):
        mu = math.sqrt(math.fsum(steps / sigma**2 for sigma, _, steps in groups))
        return gaussian_epsilon(mu, delta)
    return _pld_epsilon(groups, delta)


def _pld_epsilon(groups: Groups, delta: float) -> float:
    width = min(_cell_width(sigma, q) for sigma, q, _ in groups)
    total: Any = None
    for sigma, q, steps in groups:
        composed = _loss_distribution(sigma, q, width).self_compose(steps)
        total = composed if total is None else total.compose(composed)
    return float(total.get_epsilon_for_delta(delta))


def _cell_width(sigma: float, q: float) -> float:
    """Width of the cells of privacy loss: small against the loss of one step, about q / sigma.

    2e-3 divided by a power of two: distributions can be composed only when their widths agree.
    The bound is then 0.1 % or less above the limit (measured for rates from 0.001 up).
    """
    halvings = math.ceil(math.log2(max(1.0, 2e-2 * sigma / q)))
    return 2e-3 / 2.0 ** min(halvings, 5)


@lru_cache(maxsize=8)
def _loss_distribution(sigma: float, q: float, width: float) -> Any:
    try:
        from dp_accounting.pld import privacy_loss_distribution
    except ImportError:
        raise ConfigError(
            "privacy for single records needs the package dp-accounting, which is not installed",
            where="privacy.mode",
            fix="pip install 'tidings[privacy]', or set privacy.mode to 'peer' or 'none'",
        ) from None
    return privacy_loss_distribution.from_gaussian_mechanism(
        sigma, sampling_prob=q, value_discretization_interval=width, pessimistic_estimate=True
    )


def gaussian_epsilon(mu: float, delta: float) -> float:
    """The smallest epsilon >= 0 of a mu-GDP Gaussian mechanism at ``delta``, rounded up.

    Solves Phi(-eps/mu + mu/2) - e^eps Phi(-eps/mu - mu/2) = delta (Balle and Wang 2018).
    """
    if mu == 0 or gaussian_delta(mu, 0.0) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while gaussian_delta(mu, high) > delta:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if gaussian_delta(mu, middle) > delta:
            low = middle
        else:
            high = middle
    return high


def gaussian_delta(mu: float, epsilon: float) -> float:
    """delta of a mu-GDP Gaussian mechanism at ``epsilon``, without overflow or cancellation.

    With a = eps/mu - mu/2, b = eps/mu + mu/2 the formula is phi(a) (M(a) - M(b)), where M is
    Mills' ratio, because e^eps phi(b) = phi(a).
    """
    a, b = epsilon / mu - mu / 2, epsilon / mu + mu / 2
    density = math.exp(-a * a / 2) / math.sqrt(2 * math.pi)
    if a < 0:
        return 0.5 * math.erfc(a / math.sqrt(2)) - density * _mills(b)
    return density * (_mills(a) - _mills(b))


def _mills(x: float) -> float:
    """(1 - Phi(x)) / phi(x) for x >= 0, to about 1e-13."""
    if x < 20:
        return math.sqrt(math.pi / 2) * math.erfc(x / math.sqrt(2)) * math.exp(x * x / 2)
    # Laplace's continued fraction x + 1/(x + 2/(x + 3/(x + ...))), from its tail
    tail = x
    for k in range(20, 0, -1):
        tail = x + k / tail
    return 1 / tail


def _mu_of(epsilon: float, delta: float) -> float:
    """The largest mu with gaussian_epsilon(mu, delta) <= epsilon, to one part in 10^12."""
    low, high = 0.0, 1.0
    while gaussian_epsilon(high, delta) <= epsilon:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if gaussian_epsilon(middle, delta) <= epsilon:
            low = middle
        else:
            high = middle
    return low
