"""What goes wrong in a scenario, as its file says it. Times are seconds of the run's clock.

The simulator does all of it; real peers (scenarios/network/), in one process or each in its own,
all but what is marked with sim.

[faults]
loss = 0.02              # share of frames that vanish
delay_s = 0.02           # how long a frame travels
jitter_s = 0.01          # uniformly random, added to each frame; a link keeps frames in order
rate_bit_s = 2e6         # what a link carries in each direction; 0, and unless given: any amount
crash_every_s = 5.0      # besides those named below, one node crashes so often, on average ...
crash_for_s = 1.0        # ... and comes back so much later; 0: none
train_s = 0.1            # sim: how long a round of training takes
straggle = 0.5           # sim: each node has a pace: its training takes up to 1 + straggle as long

[[faults.cuts]]          # the network in pieces: no frame passes between two groups
from_s = 2.0
to_s = 6.0
groups = [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]

[[faults.crashes]]       # a node dies in mid-work and comes back from its last checkpoint
node = 3
at_s = 1.0
for_s = 2.0

[[faults.links]]         # sim: a link that is slower than the others, in both directions
ends = [2, 5]
delay_s = 0.5

[[faults.slow]]          # sim: a node whose training takes so many times as long
node = 4
times = 10.0

[[faults.clocks]]        # sim: a node whose event log is so far ahead of the time (or behind: -)
node = 6
ahead_s = 30.0

[[faults.liars]]         # sim: a node that breaks the protocol (scenarios/liars.py)
node = 7
behaviour = "equivocate"
"""

from __future__ import annotations

import math
from collections.abc import Callable
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
    "noise",
    "free-rider",
    "sleeper",
    "label-flip",
    "alie",
    "ipm",
    "dissensus",
    "spectral",
]
SILENCE_S = 0.5  # how long a cut goes unnoticed where no real heartbeat tells
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

    def overlaps(self, other: Crash) -> bool:
        """Whether both say that the same node is down at some moment."""
        apart = self.at_s > other.at_s + other.for_s or other.at_s > self.at_s + self.for_s
        return self.node == other.node and not apart


class SlowLink(_Table):
    """A frame between two nodes travels ``delay_s`` instead of the usual time."""

    ends: tuple[int, int]
    delay_s: Seconds


class SlowNode(_Table):
    """A node whose training takes ``times`` as long as it would."""

    node: int = Field(ge=0)
    times: float = Field(gt=0, allow_inf_nan=False)


class WrongClock(_Table):
    """A node whose clock, by which it notes its events, is ``ahead_s`` ahead of the time."""

    node: int = Field(ge=0)
    ahead_s: float = Field(allow_inf_nan=False)


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
    rate_bit_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    crash_every_s: Seconds = 0.0
    crash_for_s: Seconds = 1.0
    train_s: Seconds = 0.05
    straggle: float = Field(default=0.0, ge=0)
    cuts: tuple[Cut, ...] = ()
    crashes: tuple[Crash, ...] = ()
    links: tuple[SlowLink, ...] = ()
    slow: tuple[SlowNode, ...] = ()
    clocks: tuple[WrongClock, ...] = ()
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
        named |= {node for link in self.links for node in link.ends}
        named |= {crash.node for crash in self.crashes} | {liar.node for liar in self.liars}
        return named | {each.node for each in self.slow} | {each.node for each in self.clocks}

    def with_broker(self, node: int) -> Faults:
        """The same where a broker stands at ``node``: a cut leaves it with its first group."""
        cuts = [
            cut.model_copy(update={"groups": ((*cut.groups[0], node), *cut.groups[1:])})
            if cut.groups
            else cut
            for cut in self.cuts
        ]
        return self.model_copy(update={"cuts": tuple(cuts)})

    @property
    def asked_for(self) -> bool:
        """Whether anything is asked for."""
        return self != Faults()

    def only_simulated(self) -> list[str]:
        """The settings that were asked for and that only a simulated network has."""
        usual = Faults()
        names = ("train_s", "straggle", "links", "slow", "clocks", "liars")
        return [name for name in names if getattr(self, name) != getattr(usual, name)]

    def all_crashes(self, nodes: int, until_s: float, chance: Callable[[], float]) -> list[Crash]:
        """The named crashes and the random ones before ``until_s``, in the order of their times.

        ``chance()`` is uniform in [0, 1). A node never crashes while it is down.
        """
        crashes = list(self.crashes)
        up_at: dict[int, float] = {}
        at_s = 0.0
        while self.crash_every_s:
            at_s -= self.crash_every_s * math.log(1 - chance())
            if at_s >= until_s:
                break
            crash = Crash(node=int(nodes * chance()), at_s=at_s, for_s=self.crash_for_s)
            down = at_s <= up_at.get(crash.node, -1.0)
            if not down and not any(crash.overlaps(named) for named in self.crashes):
                up_at[crash.node] = at_s + self.crash_for_s
                crashes.append(crash)
        return sorted(crashes, key=lambda crash: crash.at_s)
