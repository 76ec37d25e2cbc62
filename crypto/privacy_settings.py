"""What a peer's configuration says about privacy: whom it protects, and how much may be spent."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Mode = Literal["none", "record", "peer"]


class PrivacySettings(BaseModel):
    """The ``[privacy]`` table of a peer's or a scenario's configuration.

    ``epsilon`` and ``delta`` are the budget for everything that the peer releases in its life.
    ``clip_norm`` is the L2 norm that one example's gradient (mode ``record``) or one whole update
    (mode ``peer``) is clipped to. ``noise_multiplier`` is the noise's standard deviation divided
    by ``clip_norm``; None means the smallest with which the planned releases fit the budget.
    ``sampling_rate`` is the probability with which each record takes part in a step (``record``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mode: Mode = "record"
    epsilon: float = Field(default=8.0, gt=0)
    delta: float = Field(default=1e-5, gt=0, lt=1)
    clip_norm: float = Field(default=1.0, gt=0)
    # less than 0.05 hides nobody, and its loss distribution no longer fits into memory
    noise_multiplier: float | None = Field(default=None, ge=0.05, le=1e6)
    sampling_rate: float = Field(default=0.25, gt=0, le=1)
