"""One round of local training, for every kind of learner alike.

The local step is that of QG-DSGDm (Lin, Karimireddy, Stich and Jaggi 2021), the noise that of
DP-SGD (Abadi et al. 2016).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ...crypto.errors import ConfigError
from .base import FloatVector, Rows, TrainingPlan

if TYPE_CHECKING:
    from ...crypto.privacy import Session

# Norms are computed in float32, so a clipped gradient could come out longer than it should by
# some units in the last place. Clipping this little shorter keeps the bound that noise relies on.
CLIP_MARGIN = 2.0**-12


class Gradients(Protocol):
    """What a learner computes from its records."""

    def mean_gradient(self, model: FloatVector, rows: Rows) -> FloatVector:
        """The gradient of the mean loss over ``rows`` (at least one), float32 (P,)."""
        ...

    def clipped_sum(self, model: FloatVector, rows: Rows, clip_norm: float) -> FloatVector:
        """The sum over ``rows`` (perhaps none) of each record's gradient, clipped, float32 (P,).

        Adding or removing one record changes the sum by at most ``clip_norm`` in Euclidean norm.
        """
        ...


def descend(
    gradients: Gradients,
    samples: int,
    model: FloatVector,
    drift: FloatVector | None,
    *,
    beta: float,
    plan: TrainingPlan,
    session: Session,
) -> FloatVector:
    """``model`` after ``plan.local_steps`` steps on batches that the session draws, float32 (P,).

    Raises ConfigError when the result is not finite: the learning rate is too large.
    """
    x = model.copy()
    with np.errstate(over="ignore", invalid="ignore"):  # told below, once
        pull = None if drift is None or not beta else np.float32(beta) * drift
        velocity = np.zeros_like(x) if plan.momentum else None
        for _ in range(plan.local_steps):
            rows = session.sample(samples, plan.batch_size)
            if session.per_example_clip is None:
                step = gradients.mean_gradient(x, rows)
            else:
                step = session.noisy_mean(gradients.clipped_sum(x, rows, session.per_example_clip))
            take_step(x, step, velocity=velocity, pull=pull, plan=plan)
    if not np.isfinite(x).all():
        raise ConfigError(
            "training diverged: parameters grew beyond all bounds",
            where="training",
            fix=f"choose a learning_rate below {plan.learning_rate:g}",
        )
    return x


def take_step(
    x: FloatVector,
    gradient: FloatVector,
    *,
    velocity: FloatVector | None,
    pull: FloatVector | None,
    plan: TrainingPlan,
) -> None:
    """One step of training, in place, all (..., P): x -= lr (pull + v) with v = momentum v + g.

    ``velocity`` is v (None: no local momentum, v is g), ``pull`` what every step of the round
    adds to its gradient. ``gradient`` is used up.
    """
    if velocity is not None:
        velocity *= np.float32(plan.momentum)
        velocity += gradient
        gradient[...] = velocity
    if pull is not None:
        gradient += pull
    gradient *= np.float32(plan.learning_rate)
    x -= gradient


def clip_factors(norms: NDArray[np.floating], clip_norm: float) -> FloatVector:
    """What to multiply gradients of these norms (B,) with, so that none is longer than clip_norm.

    A gradient that is not finite gets 0: one broken record must not decide the whole sum. Its
    entries have to be set to 0 by the caller, for 0 times infinity is not 0.
    """
    bound = clip_norm * (1 - CLIP_MARGIN)
    usable = np.isfinite(norms)
    divisors = np.maximum(np.where(usable, norms, bound), bound)
    return np.where(usable, bound / divisors, 0).astype(np.float32)
