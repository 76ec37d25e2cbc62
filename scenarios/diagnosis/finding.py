"""What a diagnosis says: one finding for each thing that a good operator would notice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "partition",
    "silent-peer",
    "flapping-peer",
    "slow-link",
    "straggler",
    "equivocator",
    "outlier",
    "label-skew",
    "split-graph",
    "sparse-graph",
    "budget",
    "clock",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A line of a log that a finding rests on: when, whose log, and what it says there."""

    time: float
    peer: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not as it should be.

    ``what`` says it in a sentence, ``advice`` what to do about it. ``peers`` are those whom it
    concerns; for a slow link its two ends. ``from_s`` and ``to_s`` are times of the run's clock:
    None where a finding has no beginning, or no end yet.
    """

    kind: Kind
    what: str
    advice: str
    peers: tuple[str, ...] = ()
    from_s: float | None = None
    to_s: float | None = None
    evidence: tuple[Evidence, ...] = ()
