"""What an engine trains its nodes with: all of them, or those that are due, in one call.

    cohort = make_cohort(scenario, shares)
    lost = cohort.train(models, None, beta=0.0, plan=plan, nodes=nodes, keys=batch_keys(seeds))
    scores = cohort.evaluate(models)

``models`` is float32 (n, P), a row for each of ``nodes`` (n,), and changes in place. A node's
result depends on its own row, key and records alone: not on the other nodes of the call, their
order, or how many are worked on at a time. Without record-level privacy it trains on the same
records as the peer with the same seed does in the `sim` engine; linear models and perceptrons
(whatever is ``dense``) run through the same kernel as there and come to the same bits.

A cohort is for one thread. Noise has the scale that the accountant was told, but it follows from
the keys, so a simulated run protects nobody; the accounting is the engine's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...crypto.privacy_settings import PrivacySettings
from ...crypto.sampling import Keys
from ...gossip.grid import FloatVector
from ...peer.learners.base import TrainingPlan

if TYPE_CHECKING:
    pass

Nodes: TypeAlias = NDArray[np.intp]
"""Numbers of nodes, or of rows that belong to nodes, (n,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """How good n models are on the test records, of which there are ``samples``.

    ``accuracy`` and ``loss`` are float64 (n,) and mean what they mean in ``Evaluation``.
    """

    accuracy: NDArray[np.float64]
    loss: NDArray[np.float64]
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The privacy that all nodes train with: settings of mode "record" or "peer".

    ``multiplier`` is the noise's standard deviation divided by the clip norm, as the gate of each
    node would have chosen it (``PrivacyGate.noise_multiplier``).
    """

    settings: PrivacySettings
    multiplier: float


class Cohort(Protocol):
    """The learners of all nodes."""

    @property
    def samples(self) -> NDArray[np.int64]:
        """The number of training records of each node, int64 (N,)."""
        ...

    @property
    def parameters(self) -> int:
        """The number of parameters of a model, P."""
        ...

    def train(
        self,
        models: FloatVector,
        drift: FloatVector | None,
        *,
        beta: float,
        plan: TrainingPlan,
        nodes: Nodes,
        keys: Keys,
        noise: Noise | None = None,
    ) -> Nodes:
        """One round of local steps, in place: the rows of ``models`` (n, P) belong to ``nodes``.

        Each step is x -= lr (beta d + v), with ``drift`` d (n, P) or None for none, and v the
        gradient or the plan's own momentum. ``keys`` (n, 2) are those of the sessions' seeds
        (``crypto.sampling.batch_keys``). With ``noise`` the rows become what the nodes would
        release: trained by DP-SGD, or with the whole update clipped and noised.

        Returns the numbers of the rows that diverged; these are as they were before.
        """
        ...

    def evaluate(self, models: FloatVector) -> Scores:
        """How good ``models`` (n, P) are on the test records, which are the same for all nodes."""
        ...
