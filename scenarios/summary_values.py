"""What a run amounted to, as frozen values: the summary and the rows that it is made of.

Names are those of the peers; where a log knows an id without a name, the short id stands.
``as_json`` gives what ``tidings inspect --json`` and ``tidings run --json`` print.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from .run_log import BadLine


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRow:
    """One round over all peers that reported it; None where nobody did.

    ``bytes_sent`` are those of all peers, where an engine that works on all at once has told them.
    """

    round: int
    accuracy_peers: int
    accuracy_mean: float | None
    accuracy_min: float | None
    accuracy_max: float | None
    accuracy_deviation: float | None
    bytes_sent: int | None
    consensus_distance: float | None
    epsilon_max: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRow:
    """One peer over the whole run; accuracy and loss are those of its last evaluation."""

    name: str
    id: str
    index: int
    starts: int
    rounds: int
    finished: bool
    accuracy: float | None
    loss: float | None
    epsilon: float | None
    delta: float | None
    unit: str
    mechanism: str
    noise_multiplier: float | None
    sampling_rate: float | None
    releases: int
    ledger: str  # hash (hex) of the last row of its privacy ledger
    budget_spent_round: int | None
    bytes_sent: int
    messages_sent: int
    bytes_received: int
    messages_received: int
    refused: int
    missing: int  # neighbours that a round went on without, summed over rounds
    skipped: int  # rounds jumped over after coming back


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """What one peer sent to another."""

    sender: str
    receiver: str
    bytes: int
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkRow:
    """How often one peer saw its link to a neighbour come and go."""

    peer: str
    neighbour: str
    up: int
    down: int
    last_why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalRow:
    """Frames that one peer refused from one sender for one reason; ``detail`` is the last one's."""

    peer: str
    sender: str
    reason: str
    count: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofRow:
    """A proof (hex) that an author signed two entries with one number.

    ``verified`` is True when both signatures were checked here and name this author, False when
    the proof proves nothing, None when the log does not tell the network that it belongs to.
    """

    author: str
    sequence: int
    proof: str
    reported_by: tuple[str, ...]
    verified: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """A peer whose neighbours hold a later entry of it than its own folder does."""

    peer: str
    own_sequence: int
    seen_sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyDifference:
    """A follower's last copy of an author that is not what the author published."""

    author: str
    follower: str
    sequence: int
    published: str
    held: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """Do followers hold the public copies that their authors published?

    ``agree`` is whether each follower's last copy is the one in the author's own log,
    ``followers_agree`` whether followers who are equally far hold the same; where only the first
    fails, the author's log tells another story than its signed entries. Both are None when
    nothing could be compared, and leave out authors whose equivocation is proven. ``behind``
    counts followers whose last copy is older than the author's last entry: normal at the end of a
    run that was interrupted. ``reused`` lists authors and sequence numbers that were published
    twice with different states.
    """

    agree: bool | None
    followers_agree: bool | None
    compared: int
    behind: int
    differences: tuple[CopyDifference, ...]
    reused: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One run in numbers, from its event logs alone.

    ``accuracy_*`` and ``consensus_distance`` are over each peer's last model. Consensus distances
    are estimates: sqrt(mean_i ||x_i - mean||^2) of linear sketches of 64 numbers a model, whose
    expected square is that of the models themselves. ``epsilon_max`` is the largest epsilon that
    any one peer spent at ``delta``, None without privacy. ``duration_s`` is in the run's own clock.
    """

    name: str
    engine: str
    transport: str
    seed: int | None
    outcome: str
    duration_s: float
    peers: int
    rounds: int
    accuracy_mean: float | None
    accuracy_min: float | None
    consensus_distance: float | None
    bytes_sent: int
    messages_sent: int
    epsilon_max: float | None
    delta: float | None
    privacy_unit: str
    neighbouring_relation: str
    trust_model: str
    accountant: str
    refused: dict[str, int]
    roads: dict[str, int]
    revoked: tuple[str, ...]
    edges: tuple[Edge, ...]
    by_round: tuple[RoundRow, ...]
    by_peer: tuple[PeerRow, ...]
    links: tuple[LinkRow, ...]
    refusals: tuple[RefusalRow, ...]
    proofs: tuple[ProofRow, ...]
    rolled_back: tuple[Rollback, ...]
    copies: Copies
    corrupt_lines: int
    bad_lines: tuple[BadLine, ...]
    torn_logs: tuple[str, ...]

    @property
    def copies_agree(self) -> bool | None:
        """Whether every follower's last copy is what its author published."""
        return self.copies.agree

    def as_json(self) -> dict[str, Any]:
        """The summary as a JSON value; a number that is not finite becomes null."""
        whole = dataclasses.asdict(self)
        del whole["by_round"]
        whole["copies_agree"] = self.copies.agree
        whole["edges"] = [
            {
                "from": edge.sender,
                "to": edge.receiver,
                "bytes": edge.bytes,
                "messages": edge.messages,
            }
            for edge in self.edges
        ]
        whole["links_up"] = sum(row.up for row in self.links)
        whole["links_down"] = sum(row.down for row in self.links)
        whole["accuracy_by_round"] = [
            {"round": row.round, "mean": row.accuracy_mean, "min": row.accuracy_min}
            for row in self.by_round
            if row.accuracy_mean is not None
        ]
        whole["consensus_by_round"] = [
            {"round": row.round, "distance": row.consensus_distance}
            for row in self.by_round
            if row.consensus_distance is not None
        ]
        whole["epsilon_by_round"] = [
            {"round": row.round, "max": row.epsilon_max}
            for row in self.by_round
            if row.epsilon_max is not None
        ]
        cleaned: dict[str, Any] = finite(whole)
        return cleaned


def finite(value: Any) -> Any:
    """A JSON value with null for each number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
