"""What goes wrong in a scenario, as its file says it. Times are seconds of the run's clock.

[faults]
loss = 0.02              # share of frames that vanish
delay_s = 0.02           # how long a frame travels
jitter_s = 0.01          # uniformly random, added to each frame; a link keeps frames in order
train_s = 0.1            # how long a round of training takes
straggle = 0.5           # each node has a pace: its training takes up to 1 + straggle as long

[[faults.cuts]]          # the network in pieces: no frame passes between two groups
from_s = 2.0
to_s = 6.0
groups = [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]

[[faults.crashes]]       # a node dies in mid-work and comes back from its last checkpoint
node = 3
at_s = 1.0
for_s = 2.0

[[faults.liars]]         # a node that breaks the protocol (scenarios/liars.py)
node = 7
behaviour = "equivocate"
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Behaviour = Literal[
    "equivocate",
    "garbage",
    "flip-bits",
    "replay",
    "truncate",
    "wrong-shape",
    "wrong-state",
    "forge",
    "stranger",
    "wrong-network",
    "sign-flip",
]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Cut(_Table):
    """No frame passes between two groups in [from_s, to_s); who is in none is alone."""

    from_s: Seconds
    to_s: Seconds
    groups: tuple[tuple[int, ...], ...]

    @model_validator(mode="after")
    def _sensible(self) -> Cut:
        if self.to_s <= self.from_s:
            raise ValueError("a cut ends after it begins: to_s must be larger than from_s")
        nodes = [node for group in self.groups for node in group]
        if len(nodes) != len(set(nodes)):
            raise ValueError("a node stands in two groups of this cut")
        return self

    def separates(self, a: int, b: int) -> bool:
        """Whether two nodes are in different pieces."""
        return not any(a in group and b in group for group in self.groups)


class Crash(_Table):
    """A node dies at ``at_s`` and starts again from its store ``for_s`` later."""

    node: int = Field(ge=0)
    at_s: Seconds
    for_s: Seconds


class Liar(_Table):
    """A node that breaks the protocol from round ``from_round`` on."""

    node: int = Field(ge=0)
    behaviour: Behaviour
    from_round: int = Field(default=1, ge=1)


class Faults(_Table):
    """The table [faults] of a scenario."""

    loss: float = Field(default=0.0, ge=0, lt=1)
    delay_s: Seconds = 0.005
    jitter_s: Seconds = 0.0
    train_s: Seconds = 0.05
    straggle: float = Field(default=0.0, ge=0)
    cuts: tuple[Cut, ...] = ()
    crashes: tuple[Crash, ...] = ()
    liars: tuple[Liar, ...] = ()

    @model_validator(mode="after")
    def _sensible(self) -> Faults:
        up_at: dict[int, float] = {}
        for crash in sorted(self.crashes, key=lambda crash: crash.at_s):
            if crash.at_s < up_at.get(crash.node, 0.0):
                raise ValueError(f"node {crash.node} crashes again while it is down")
            up_at[crash.node] = crash.at_s + crash.for_s
        liars = [liar.node for liar in self.liars]
        if len(liars) != len(set(liars)):
            raise ValueError("a node is named as a liar twice; it has one behaviour")
        return self

    def nodes(self) -> set[int]:
        """All node numbers that are named."""
        named = {node for cut in self.cuts for group in cut.groups for node in group}
        return named | {crash.node for crash in self.crashes} | {liar.node for liar in self.liars}

    @property
    def asked_for(self) -> bool:
        """Whether anything is asked for: only a simulated network can be told how to fail."""
        return self != Faults()
