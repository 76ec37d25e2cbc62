"""What of a peer's state must survive a crash."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from .feed import Delta
from .grid import FloatVector, GridVector
from .messages import SignedEntry


class Phase(StrEnum):
    """Where a peer is in its round."""

    GATHERING = "gathering"  # waiting for its neighbours' hellos
    TRAINING = "training"  # the learner is at work
    WAITING = "waiting"  # published; waiting for its neighbours' entries
    FINISHED = "finished"  # all rounds done; answers, relays, heals
    OBSERVING = "observing"  # its key is in use elsewhere, or revoked; publishes nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedRecord:
    """A feed as it is stored: its head, and the delta that led there when there was one."""

    author: bytes
    entry: SignedEntry
    copy: GridVector = field(repr=False)
    delta: Delta | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a peer needs to carry on after a crash.

    With V vectors in a release and M in the memory of the gossip rule, ``model`` has shape (P,),
    ``base`` (V, P), ``memory`` (M, P), ``gamma`` (V,).
    ``feeds`` holds only those that changed since the checkpoint before; a store keeps the newest
    record of each author. In the phase WAITING the own entry of ``round`` is among them, so an
    entry is stored before it is sent and no sequence number is ever used twice.
    """

    round: int
    phase: Phase
    model: FloatVector = field(repr=False)
    base: FloatVector = field(repr=False)
    memory: FloatVector = field(repr=False)
    gamma: NDArray[np.float64]
    trained: bool
    rolled_back: bool
    feeds: tuple[FeedRecord, ...]
    proofs: tuple[bytes, ...]
    certificates: tuple[bytes, ...]
    bulletin: bytes | None
