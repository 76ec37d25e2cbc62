"""Peers joined without a network: real keys, real frames and the real core; no socket, no clock.

    village = Village(2)                 # two members of a ring, a model of 24 parameters
    village.start()                      # links are up, hellos exchanged, training was asked for
    village.train(0)                     # peer 0 publishes something ...
    village.exchange()                   # ... and every frame in flight arrives

All chance comes from the seed. Frames wait in ``mail`` until ``exchange``, so a test may look at
them, drop them, or put others in their place. ``events``, ``kept`` and ``timers`` hold what each
peer recorded, stored and set; ``jobs`` the training that it asked for and has not got.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np

from tidings.crypto.digest import digest
from tidings.crypto.identity import Identity
from tidings.crypto.integer_noise import SecureStream
from tidings.crypto.ledger import Ledger
from tidings.crypto.membership import Bulletin, Certificate, GroupKey, JoinRequest
from tidings.crypto.privacy import PrivacyGate, Release
from tidings.crypto.privacy_settings import PrivacySettings
from tidings.gossip import effects as fx
from tidings.gossip.beacons import Beacon
from tidings.gossip.checkpoint import Checkpoint
from tidings.gossip.core import handle
from tidings.gossip.events import Event, Refused
from tidings.gossip.grid import GridVector
from tidings.gossip.rules import Rules, TopologyRule
from tidings.gossip.state import State
from tidings.peer.assembly import make_state
from tidings.peer.learners.base import TrainingPlan

Kind = TypeVar("Kind", bound=Event)
Frame = bytes | bytearray
Tamper = Callable[[int, int, Frame], Iterable[Frame]]


def entropy_of(*purpose: object) -> Callable[[int], bytes]:
    """Bytes that follow from the purpose alone."""
    return SecureStream(digest("test", *(str(part).encode() for part in purpose))).bytes


class Village:
    """A network of ``members`` with the state of each; keyword arguments are rules."""

    def __init__(
        self, members: int = 2, *, parameters: int = 24, seed: int = 0, **rules: object
    ) -> None:
        topology = TopologyRule(kind="ring", nodes=members)
        self.rules = Rules.model_validate({"topology": topology, "compression": "none", **rules})
        self.seed = seed
        self.network_id = digest("test-network", str((members, parameters, seed)).encode())[:16]
        self.root = Identity.generate(entropy_of(seed, "root"))
        self.identities = [Identity.generate(entropy_of(seed, i)) for i in range(members)]
        self.keys = [identity.verify_key for identity in self.identities]
        self.certificates = [self.certify(who, i) for i, who in enumerate(self.identities)]
        self.group_key = GroupKey.generate(1, entropy_of(seed, "group"))
        self.bulletin = self.issue_bulletin()
        rng = np.random.default_rng(seed)
        self.genesis: GridVector = rng.integers(-999, 999, parameters, dtype=np.int32)
        self.states = [self.make_state(i) for i in range(members)]
        self.now = 0.0
        self.mail: deque[tuple[int, int, Frame]] = deque()
        self.events: list[list[Event]] = [[] for _ in range(members)]
        self.kept: list[list[Checkpoint]] = [[] for _ in range(members)]
        self.timers: list[dict[str, float]] = [{} for _ in range(members)]
        self.jobs: list[fx.Train | None] = [None] * members
        self.sought: list[dict[bytes, tuple[str, ...]]] = [{} for _ in range(members)]
        self.left: list[bytes] = [b""] * members  # the newest notice of each
        self.cut: list[tuple[int, int]] = []  # who wants the link to whom cut

    # -- papers ------------------------------------------------------------------------------

    def certify(self, who: Identity, index: int, **changed: object) -> Certificate:
        """A certificate by the root, or by ``root=``, for this network or ``network_id=``."""
        root, network_id = changed.get("root", self.root), changed.get("network_id")
        assert isinstance(root, Identity)
        network = network_id if isinstance(network_id, bytes) else self.network_id
        return Certificate.issue(root, JoinRequest.make(f"peer-{index}", who), network, index)

    def issue_bulletin(
        self, serial: int = 1, *, revoked: Iterable[int] = (), key: GroupKey | None = None
    ) -> Bulletin:
        """A bulletin by the root that revokes some members by number."""
        return Bulletin.issue(
            self.root,
            network_id=self.network_id,
            serial=serial,
            members=self.certificates,
            revoked=[self.keys[index] for index in revoked],
            key=key or self.group_key,
            entropy=entropy_of(self.seed, "bulletin", serial),
        )

    def beacon(self, index: int, number: int, *addresses: str) -> bytes:
        """A member's packed beacon."""
        who, certificate = self.identities[index], self.certificates[index]
        return Beacon.make(who, certificate, number, addresses).to_bytes()

    def make_state(self, index: int, *, boot: int = 1) -> State:
        """The state of a member that starts for the first time and knows all certificates."""
        return make_state(
            identity=self.identities[index],
            certificate=self.certificates[index],
            bulletin=self.bulletin,
            root_key=self.root.verify_key,
            rules=self.rules,
            genesis=self.genesis,
            plan=TrainingPlan(),
            samples=10,
            entropy=entropy_of(self.seed, "nonces", index, boot),
            boot=boot,
            certificates=self.certificates,
        )

    # -- what happens ------------------------------------------------------------------------

    def give(self, index: int, event: fx.Input) -> list[fx.Effect]:
        """Tell one peer something; its frames go to ``mail``, the rest is written down."""
        effects = handle(self.states[index], event, self.now)
        for effect in effects:
            match effect:
                case fx.Send():
                    self.mail.append((index, self.keys.index(effect.to), effect.frame))
                case fx.Broadcast():
                    for link in effect.to:
                        self.mail.append((index, self.keys.index(link), effect.frame))
                case fx.Record():
                    self.events[index].append(effect.event)
                case fx.Keep():
                    self.kept[index].append(effect.checkpoint)
                case fx.SetTimer():
                    self.timers[index][effect.timer] = effect.at
                case fx.Train():
                    self.jobs[index] = effect
                case fx.Seek():
                    self.sought[index] = dict(effect.peers)
                case fx.Leave():
                    self.left[index] = bytes(effect.notice)
                case fx.Disconnect():
                    self.cut.append((index, self.keys.index(effect.link)))
        return effects

    def join(self, a: int, b: int) -> None:
        """A link between two members comes up."""
        self.give(a, fx.NeighbourUp(link=self.keys[b]))
        self.give(b, fx.NeighbourUp(link=self.keys[a]))

    def part(self, a: int, b: int, why: str = "test") -> None:
        """The link breaks; frames that were on it are lost."""
        self.mail = deque(m for m in self.mail if {m[0], m[1]} != {a, b})
        self.give(a, fx.NeighbourDown(link=self.keys[b], why=why))
        self.give(b, fx.NeighbourDown(link=self.keys[a], why=why))

    def start(self) -> None:
        """Start every member, join all neighbours, exchange hellos."""
        for index, state in enumerate(self.states):
            self.give(index, fx.Started())
            for other in state.topology.all_neighbours(index):
                if other < index:
                    self.join(other, index)
        self.exchange()

    def exchange(self, tamper: Tamper | None = None) -> None:
        """Deliver frames, and those that they cause, until there are none.

        ``tamper(from, to, frame)`` gives what arrives instead of each.
        """
        while self.mail:
            a, b, frame = self.mail.popleft()
            for arriving in [frame] if tamper is None else tamper(a, b, frame):
                self.give(b, fx.Received(link=self.keys[a], frame=bytes(arriving)))

    def release(self, round: int, z: np.ndarray) -> Release:
        """A release of ``z`` without privacy, through the real gate."""
        gate = PrivacyGate(
            PrivacySettings(mode="none"),
            Ledger(None),
            samples=10,
            planned_steps=1,
            planned_releases=1,
            entropy=entropy_of(self.seed, "gate"),
        )
        return gate.privatize(gate.begin(round), np.zeros_like(z), z)

    def train(self, index: int, step: float = 0.01) -> None:
        """Answer the training that a member asked for: every parameter moves by about ``step``."""
        job, self.jobs[index] = self.jobs[index], None
        assert job is not None, "it did not ask for training"
        rng = np.random.default_rng([self.seed, index, job.round])
        z = job.model + np.float32(step) * rng.standard_normal(job.model.size, dtype=np.float32)
        self.give(index, fx.Trained(round=job.round, release=self.release(job.round, z)))

    def run(self, rounds: int) -> None:
        """Let every member train, publish and mix, some rounds long."""
        for _ in range(rounds):
            for index in range(len(self.states)):
                self.train(index)
            self.exchange()

    # -- what was seen -----------------------------------------------------------------------

    def seen(self, index: int, kind: type[Kind]) -> list[Kind]:
        """The events of a kind that a member recorded."""
        return [event for event in self.events[index] if isinstance(event, kind)]

    def refusals(self, index: int) -> list[str]:
        """The reasons for which a member refused frames, in order."""
        return [event.reason for event in self.seen(index, Refused)]
