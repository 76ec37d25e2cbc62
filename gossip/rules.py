"""The rules of a network: what every member must do alike.

They are part of the network file, and the network's id is a hash over them, so two peers
with different rules are in different networks and refuse each other at the door.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .compression import Compression
from .demands import Averaging, RobustRule, check_averaging, check_neighbours
from .factors import MOST_RANK, Layout, layout_of
from .topology_rule import DIRECTED, TopologyRule

__all__ = ["RobustRule", "Rules", "TopologyRule"]

TRACKING = ("k-gt", "beer")


class Rules(BaseModel):
    """What every member of a network does alike.

    Times are seconds, sizes are bytes, ``grid_bits`` is the number of binary places of the
    fixed-point grid (20 means units of 2^-20).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rounds: int = Field(default=60, ge=1, le=1_000_000)
    pace: Literal["synchronous", "asynchronous"] = "synchronous"
    deadline_s: float = Field(default=10.0, gt=0, description="wait for a round's neighbours")
    topology: TopologyRule = TopologyRule()
    mixing: Literal["restart", "feedback", "choco"] = "restart"
    averaging: Averaging = "public-copies"
    weighting: Literal["uniform", "samples"] = "uniform"
    compression: Compression = "int8"
    robust: RobustRule = "none"
    byzantine: int = Field(default=1, ge=0, description="how many neighbours of a peer may lie")
    keep: float = Field(default=0.25, gt=0, le=1, description="share of top-k and random-k")
    rank: int = Field(default=4, ge=1, le=MOST_RANK, description="of the factors of low-rank")
    shapes: tuple[tuple[int, ...], ...] = Field(
        default=(), description="of the model's parameters, for low-rank; filled in"
    )
    grid_bits: int = Field(default=20, ge=8, le=28)
    optimiser: Literal["qg-dsgdm", "sgd", "k-gt", "beer", "outer-momentum"] = "qg-dsgdm"
    momentum: float = Field(default=0.9, ge=0, lt=1)
    max_frame_bytes: int = Field(default=64 * 2**20, ge=4096, le=2**31 - 1)

    @property
    def layout(self) -> Layout:
        """How ``low-rank`` cuts a vector of the model into matrices."""
        return layout_of(self.shapes, self.rank)

    @model_validator(mode="after")
    def _weights_exist(self) -> Rules:
        if self.weighting == "samples" and self.topology.kind in DIRECTED:
            raise ValueError(
                "weighting 'samples' needs neighbours that hear each other; "
                f"topology '{self.topology.kind}' is directed (try 'base' or 'random-regular')"
            )
        return self

    @model_validator(mode="after")
    def _tracking_hears_all(self) -> Rules:
        if self.optimiser in TRACKING and self.pace == "asynchronous":
            raise ValueError(
                f"optimiser '{self.optimiser}' tracks gradients: its corrections sum up to 0 only "
                "where all mix what they published in one and the same round, which the pace "
                "'asynchronous' does not; choose 'qg-dsgdm' or 'sgd', or the pace 'synchronous'"
            )
        return self

    @model_validator(mode="after")
    def _choco_is_stable(self) -> Rules:
        if self.mixing != "choco":
            return self
        if self.optimiser != "sgd":
            raise ValueError(
                f"mixing 'choco' with optimiser '{self.optimiser}' diverges: what repeats pulls of "
                "earlier rounds repeats answers to old copies; choose mixing 'feedback', or "
                "optimiser 'sgd'"
            )
        if self.compression == "low-rank":
            raise ValueError(
                "mixing 'choco' has no step size that fits compression 'low-rank'; "
                "choose mixing 'feedback', or compression 'top-k-int8'"
            )
        return self

    @model_validator(mode="after")
    def _averaging_fits(self) -> Rules:
        if self.averaging == "public-copies":
            if self.topology.kind == "directed-edges":
                raise ValueError(
                    "topology 'directed-edges' keeps no average but with averaging 'push-sum'"
                )
            return self
        fixed = {"compression": "none", "mixing": "restart", "robust": "none"}
        for key, value in (fixed | {"weighting": "uniform"}).items():
            if getattr(self, key) != value:
                raise ValueError(
                    f"averaging '{self.averaging}' needs {key} = '{value}', not "
                    f"'{getattr(self, key)}': it sends sums or models as they are"
                )
        if self.optimiser in TRACKING:
            raise ValueError(
                f"averaging '{self.averaging}' takes one vector of each node, '{self.optimiser}' "
                "publishes two; choose 'sgd', 'qg-dsgdm' or 'outer-momentum'"
            )
        check_averaging(self.averaging, self.pace, self.topology)
        return self

    @model_validator(mode="after")
    def _neighbours_suffice(self) -> Rules:
        check_neighbours(self.robust, self.byzantine, self.topology)
        return self
