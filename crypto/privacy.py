"""The only door out: what turns a private update into something that may leave a peer.

``PrivacyGate.privatize`` (and ``pass_on``, for models that nothing private entered) is the only
maker of a ``Release``, and publishing accepts nothing else. The ledger holds the release, on
disk, before ``privatize`` returns.

The claims are local: they hold against everybody else, all neighbours colluding, for
everything that the peer releases in its life. Public are the configuration and the number of
the peer's records, by which gradients are averaged.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import InitVar, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .accounting import HERE, PLD, Accountant, Composition, Mechanism, PrivacyEvent
from .errors import BudgetExhausted, ConfigError
from .integer_noise import SEED_BYTES
from .ledger import Ledger, Unit
from .privacy_settings import PrivacySettings
from .session import Session, expect_finite

__all__ = ["PrivacyGate", "Release", "Session", "Spending"]

FloatVector = NDArray[np.float32]
Entropy = Callable[[int], bytes]

TRUST_MODEL = "local: nobody but the peer itself is trusted"
_RELATIONS: dict[Unit, str] = {
    "record": "add-or-remove-one record",
    "peer": "add-or-remove-one peer",
    "none": "none",
}
_TOKEN = object()
FORESEEN_RELEASES = 256  # for which the cost is worked out at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A model that may leave: the proof that it went through the gate.

    ``z`` is float32 (P,) and cannot be written to. ``event`` is what the ledger counts for it;
    None when it protects nothing (mechanism ``none``) or costs nothing (``post-processing``).
    ``epsilon`` is what all releases of this peer cost together at ``delta``; None without
    privacy. ``ledger`` is the hash (hex) of the ledger's last row, so that what a log says can be
    held against the ledger itself. Only a :class:`PrivacyGate` can make one.

    Raises:
        TypeError: somebody else tried.
    """

    z: FloatVector
    round: int
    mechanism: str
    event: PrivacyEvent | None
    epsilon: float | None
    delta: float | None
    unit: Unit
    relation: str
    trust_model: str
    accountant: str
    ledger: str
    token: InitVar[object] = None

    def __post_init__(self, token: object) -> None:
        if token is not _TOKEN:
            raise TypeError("a Release is made by PrivacyGate.privatize or PrivacyGate.pass_on")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What a peer has spent in its life, and what exactly that protects.

    ``epsilon`` and ``delta`` are None when releases were made without privacy.
    """

    epsilon: float | None
    delta: float | None
    unit: Unit
    relation: str
    trust_model: str
    accountant: str
    releases: int


class PrivacyGate:
    """The door of one peer: its settings, its ledger and what it may still spend.

    ``samples`` is the number of training records, ``planned_steps`` that of local steps and
    ``planned_releases`` that of rounds over the whole run, also those made before a restart: with
    them the noise is calibrated where the settings leave it open. ``entropy(n)`` gives n random
    bytes (``os.urandom``; seeded in the simulator). ``composition`` works out what releases cost.

    Raises:
        ConfigError: the budget cannot be met, dp-accounting is missing, there are no records, or
            the ledger holds releases that protected something else.
        StorageError: the ledger cannot be read.
    """

    def __init__(
        self,
        settings: PrivacySettings,
        ledger: Ledger,
        *,
        samples: int,
        planned_steps: int,
        planned_releases: int,
        entropy: Entropy,
        composition: Composition = HERE,
    ) -> None:
        self.unit: Unit = settings.mode
        self.relation = _RELATIONS[self.unit]
        self.trust_model = "none" if self.unit == "none" else TRUST_MODEL
        self._settings = settings
        self._ledger = ledger
        self._samples = samples
        self._entropy = entropy
        self._session: Session | None = None
        if self.unit == "record" and samples < 1:
            raise ConfigError("this peer has no training records", fix="give it some data")
        entries = ledger.entries()
        self._refuse_other_units({entry.unit for entry in entries})
        self._releases = len(entries)
        self._composition = composition
        self._accountant = Accountant(
            settings.delta, (entry.event for entry in entries), composition
        )
        steps = planned_releases if self.unit == "peer" else planned_steps
        self._planned_releases = planned_releases
        self.noise_multiplier = self._chosen_noise(steps)

    def affordable(self, steps: int) -> str | None:
        """None if a round of ``steps`` local steps may be trained and released; else why not.

        Raises:
            ConfigError: dp-accounting is missing.
        """
        return self._objection(self._event(steps))

    def begin(self, round: int) -> Session:
        """A session for training ``round``; an earlier one that was not released is void."""
        self._session = Session(
            self._settings,
            noise_multiplier=self.noise_multiplier,
            samples=self._samples,
            round=round,
            seed=self._entropy(SEED_BYTES),
        )
        return self._session

    def privatize(self, session: Session, before: ArrayLike, after: ArrayLike) -> Release:
        """The release of a session's training: ``before`` and ``after`` are models (P,).

        ``before`` must be made of released things only (mixing them costs nothing); whatever
        training added must come from ``session``. The release is on the disk when this returns.

        Raises:
            BudgetExhausted: it would overspend, or the ledger is a copy. Nothing was written.
            StorageError: it could not be written, so it does not leave.
            ConfigError: the model is not finite: training diverged.
            RuntimeError: the session is another's or over, a batch was taken without its noisy
                mean, or the model changed without a step: errors of the learner's.
        """
        if session is not self._session:
            raise RuntimeError("this is not the session that the gate began last")
        start, end = np.asarray(before, dtype=np.float32), np.asarray(after, dtype=np.float32)
        if start.shape != end.shape or start.ndim != 1:
            raise RuntimeError(f"models of shapes {start.shape} and {end.shape} make no update")
        expect_finite(end)
        steps = session.finish()
        if self.unit == "record" and steps == 0 and not np.array_equal(start, end):
            raise RuntimeError("the model changed, but the learner made no noisy step")
        event = self._event(steps)
        objection = self._objection(event)
        if objection is not None:
            raise BudgetExhausted(objection, fix="the peer goes on mixing and relaying")
        if self.unit == "peer":
            start64 = start.astype(np.float64)
            end = (start64 + session.noise_update(end - start64)).astype(np.float32)
        self._ledger.append(event, session.round, unit=self.unit, delta=self._settings.delta)
        self._accountant.add(event)
        self._releases += 1
        protects = event if event.mechanism != "none" else None
        return self._release(end, session.round, event.mechanism, protects)

    def pass_on(self, round: int, model: ArrayLike) -> Release:
        """The release of a ``model`` (P,) that is made of released things only: it costs nothing.

        For rounds without training. That nothing private entered is the caller's promise.
        """
        return self._release(np.asarray(model, dtype=np.float32), round, "post-processing", None)

    def spent(self) -> Spending:
        """What everything released so far costs together."""
        epsilon = self._accountant.epsilon()
        known = self.unit != "none" and math.isfinite(epsilon)
        return Spending(
            epsilon=epsilon if known else None,
            delta=self._settings.delta if known else None,
            unit=self.unit,
            relation=self.relation,
            trust_model=self.trust_model,
            accountant=self._accountant_name(),
            releases=self._releases,
        )

    def _accountant_name(self) -> str:
        if self.unit == "none":
            return "none"
        return PLD if self._mechanism() == "poisson-gaussian" else self._accountant.name

    def _mechanism(self) -> Mechanism:
        if self.unit == "none":
            return "none"
        sampled = self.unit == "record" and self._settings.sampling_rate < 1
        return "poisson-gaussian" if sampled else "gaussian"

    def _event(self, steps: int) -> PrivacyEvent:
        """The event of a release after ``steps`` local steps."""
        return PrivacyEvent(
            mechanism=self._mechanism(),
            noise_multiplier=self.noise_multiplier,
            sampling_rate=self._settings.sampling_rate if self.unit == "record" else 1.0,
            steps=steps if self.unit == "record" else 1,
        )

    def _chosen_noise(self, steps: int) -> float:
        settings = self._settings
        if self.unit == "none":
            return 0.0
        if settings.noise_multiplier is not None:
            return settings.noise_multiplier
        return self._composition.calibrate(
            epsilon=settings.epsilon,
            delta=settings.delta,
            sampling_rate=settings.sampling_rate if self.unit == "record" else 1.0,
            steps=max(1, steps),
            mechanism=self._mechanism(),
        )

    def _objection(self, event: PrivacyEvent) -> str | None:
        if self.unit == "none":
            return None
        if self._ledger.is_copy():
            return "this folder is a copy, and the original may still spend: a copy never trains"
        left = max(1, self._planned_releases - self._releases)
        self._accountant.foresee(event, min(left, FORESEEN_RELEASES))
        budget, total = self._settings.epsilon, self._accountant.would_be(event)
        if total > budget:
            return (
                f"the next release would bring epsilon to {total:.4g}, above the budget of "
                f"{budget:g} (delta {self._settings.delta:g})"
            )
        return None

    def _refuse_other_units(self, units: set[Unit]) -> None:
        others = sorted(units - {self.unit})
        if others and self.unit != "none":
            raise ConfigError(
                f"this peer has made releases in privacy mode '{others[0]}', which do not keep "
                f"what mode '{self.unit}' promises",
                where="privacy.mode",
                fix=f"set it to '{others[0]}', or start a new peer in a new folder",
            )

    def _release(
        self, z: FloatVector, round: int, mechanism: str, event: PrivacyEvent | None
    ) -> Release:
        spent = self.spent()
        return Release(
            # over immutable bytes: nobody can make it writable again
            z=np.frombuffer(z.tobytes(), dtype=np.float32),
            round=round,
            mechanism=mechanism,
            event=event,
            epsilon=spent.epsilon,
            delta=spent.delta,
            unit=spent.unit,
            relation=spent.relation,
            trust_model=spent.trust_model,
            accountant=spent.accountant,
            ledger=self._ledger.head_hash().hex(),
            token=_TOKEN,
        )
