"""What a peer notes in its event log: one frozen type for each kind of fact.

A line of ``events.jsonl`` is the event's fields plus ``event`` (the kind), ``time`` (seconds,
the clock of the driver: wall time when live, virtual time in the simulator) and ``peer`` (the
name of who wrote it). Peers are named by their short id (``short_id`` of the verify key).
Nothing here is a function of private data that was not released: an event log may be shared.
docs/event-log.md describes the format for others; tools/log_schema.py derives its JSON Schema.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

LOG_VERSION = 1  # counts changes that an older reader would misunderstand; new fields are none


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A fact; subclasses name it."""

    kind: ClassVar[str] = "event"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # object.__init_subclass__: slots=True makes a new class, which breaks zero-argument super
        object.__init_subclass__()
        cls.kind = re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()

    @classmethod
    @cache
    def names(cls) -> tuple[str, ...]:
        """The names of the fields, in their order."""
        return tuple(each.name for each in dataclasses.fields(cls))

    def as_fields(self) -> dict[str, Any]:
        """The event as the fields of its log line, without time and peer."""
        return {"event": self.kind, **{name: getattr(self, name) for name in self.names()}}


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStarted(Event):
    """A peer began or came back; ``id`` is its short id, ``index`` its node number.

    ``log_version`` is that of the format in which the peer writes its log.
    """

    id: str
    index: int
    round: int
    sequence: int
    network: str
    parameters: int
    log_version: int = LOG_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerFinished(Event):
    """All rounds are done; the peer keeps answering until it is stopped."""

    round: int
    state: str  # hex of the hash of its own public copy


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkUp(Event):
    """A neighbour can be reached."""

    neighbour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkDown(Event):
    """A neighbour can no longer be reached."""

    neighbour: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Released(Event):
    """A privatized update left the private side; the ledger holds it already.

    ``epsilon`` is what all releases of this peer cost together at ``delta``; None without privacy.
    ``ledger`` is the hash (hex) of the row that the privacy ledger ends with.
    """

    round: int
    unit: str  # "record", "peer" or "none"
    epsilon: float | None
    delta: float | None
    relation: str
    trust_model: str
    accountant: str
    mechanism: str  # "poisson-gaussian", "gaussian", "none" or "post-processing"
    noise_multiplier: float
    sampling_rate: float
    steps: int
    ledger: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSpent(Event):
    """The next release would overspend the budget: training ended, mixing goes on."""

    round: int
    epsilon: float
    delta: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Published(Event):
    """An entry was appended to the peer's own feed."""

    round: int
    sequence: int
    state: str
    size_bytes: int  # encoded payload of the single delta
    captured: float  # share of the delta's squared norm that the compressed delta carries


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent(Event):
    """A frame was handed to the transport; bytes are those of the whole frame."""

    to: str
    message: str  # hello, news, pull, alert, bulletin; sum, model, ... where simulated
    size_bytes: int
    author: str = ""
    sequence: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Received(Event):
    """A frame was accepted."""

    sender: str
    message: str
    size_bytes: int
    author: str = ""
    sequence: int = 0
    road: str = ""  # news: delta, sum or snapshot
    state: str = ""  # news: hash of the copy it led to


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Event):
    """A frame was refused; ``reason`` is the name of the RemoteError."""

    sender: str
    reason: str
    detail: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed(Event):
    """A round ended.

    ``neighbours`` maps short ids to the weights really used, ``missing`` are those whose weight
    returned to the peer itself. ``staleness`` tells by how many rounds a neighbour's copy was
    older (negative: newer) than this peer's own; who was in the same round is left out.
    """

    round: int
    neighbours: dict[str, float]
    missing: tuple[str, ...]
    gamma: float
    staleness: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketched(Event):
    """How the model of a round compares with others; noted when the next training has begun.

    ``sketch`` is a linear sketch of the mixed model (gossip/sketch.py): the distance of two
    sketches estimates the distance of their models. ``alignment`` maps the short ids of those
    that were mixed with to cosines (gossip/alignment.py): near 1 who pulls where the others pull,
    below 0 who pulls away.
    """

    round: int
    sketch: tuple[float, ...]
    alignment: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped(Event):
    """A peer that came back joined the round its neighbours are in, and went on from their models.

    ``neighbours`` maps short ids to the weights of those whose public copies it took the mean of,
    ``staleness`` tells by how many rounds such a copy was older (negative: newer) than
    ``to_round``; those of that very round are left out. With no neighbours it kept its own model.
    """

    from_round: int
    to_round: int
    neighbours: dict[str, float] = field(default_factory=dict)
    staleness: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated(Event):
    """The mixed model was tested on held-out data."""

    round: int
    accuracy: float
    loss: float
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivocated(Event):
    """An author signed two entries with one number; ``proof`` is a portable proof in hex."""

    author: str
    sequence: int
    proof: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack(Event):
    """Neighbours hold a later entry of this peer than its own folder does.

    The folder is a copy or an old backup: it must not train again, for its ledger has
    missed releases.
    """

    own_sequence: int
    seen_sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MembersChanged(Event):
    """A bulletin of the network's root was accepted."""

    serial: int
    revoked: tuple[str, ...]
    key_epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberFound(Event):
    """A member's beacon came that was not known: it is there, or somewhere else than before."""

    member: str
    name: str
    index: int
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportWarning(Event):
    """Trouble with the transport that a person may be able to mend, such as a broker that is gone.

    The same trouble is noted once in a while; links that come up again show that it is over.
    """

    what: str


KINDS: dict[str, type[Event]] = {cls.kind: cls for cls in Event.__subclasses__()}
