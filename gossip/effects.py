"""The two alphabets of the protocol core: what happens to it, and what it wants done.

    handle(state, input, now) -> effects

A driver (peer/node.py, scenarios/engines/sim.py) turns the world into inputs and carries effects
out in their order. Peers are verify keys (32 bytes), times are seconds of the driver's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..crypto.membership import Bulletin
from ..crypto.privacy import Release
from .checkpoint import Checkpoint
from .events import Event

FloatVector = npt.NDArray[np.float32]
Frame = bytes | bytearray

# -- inputs ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The driver is ready: links may come up, training may begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """The answer to `Train`: a privatized release, already on the ledger.

    ``stopped`` says in words why there was no training (budget, copied folder); the release is
    then post-processing of what was public before.
    """

    round: int
    release: Release
    stopped: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """The answer to `Evaluate`."""

    round: int
    accuracy: float
    loss: float
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A frame came over the link to `link`."""

    link: bytes
    frame: Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourUp:
    """A link to `link` is there."""

    link: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourDown:
    """The link to `link` is gone."""

    link: bytes
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFired:
    """A timer that was set came due."""

    timer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Others can reach this peer at these multiaddrs from now on; none where a broker leads."""

    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The peer's owner has a bulletin of the network's root."""

    bulletin: Bulletin


@dataclass(frozen=True, slots=True, kw_only=True)
class Noticed:
    """A notice was found that `author` is said to have left."""

    author: bytes
    frame: Frame


Input = (
    Started
    | Trained
    | Tested
    | Received
    | NeighbourUp
    | NeighbourDown
    | TimerFired
    | Listening
    | Told
    | Noticed
)

# -- effects -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Train:
    """Train `model` (float32, P) on one's own data, privatize, and answer with `Trained`.

    Each local step is x -= lr (`beta` * `drift` + gradient); `drift` (P,) may be None.
    """

    round: int
    model: FloatVector
    drift: FloatVector | None = None
    beta: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluate:
    """Test `model` (float32, P) on held-out data and answer with `Tested`."""

    round: int
    model: FloatVector


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Hand `frame` to one link."""

    to: bytes
    frame: Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Broadcast:
    """Hand the same `frame` to several links."""

    to: tuple[bytes, ...]
    frame: Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTimer:
    """Answer with `TimerFired(timer)` at `at`; a timer that is set again moves."""

    timer: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Note a fact in the event log."""

    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Store this and sync it before any effect that follows is carried out."""

    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """Leave this notice, in place of the one before, where others find it while we are away.

    A driver that has no such place does nothing.
    """

    notice: Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnect:
    """Cut the link to `link`."""

    link: bytes
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seek:
    """Have links with these peers, each at the multiaddrs that it named itself: any, even none.

    Replaces what was sought before. The addresses are unchecked words of other members.
    """

    peers: Mapping[bytes, tuple[str, ...]]


Effect = Train | Evaluate | Send | Broadcast | SetTimer | Record | Keep | Disconnect | Seek | Leave
