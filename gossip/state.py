"""All that one peer knows, as the protocol core sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..crypto.digest import digest
from ..crypto.identity import Identity
from ..crypto.membership import Bulletin, Certificate, GroupKey, Roster
from .algorithms.base import Turn
from .algorithms.chosen import algorithm_of
from .beacons import Beacon
from .checkpoint import Checkpoint, FeedRecord, Phase
from .door import PUBLIC_EPOCH, Door
from .effects import Trained
from .feed import Delta, Feed
from .grid import GridVector, from_grid
from .proof import verify_proof
from .rules import Rules
from .topology import Topology

FloatVector = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Myself:
    """What a peer is and does not change: its keys, its place, the rules, its step size."""

    identity: Identity
    certificate: Certificate
    rules: Rules
    genesis: GridVector = field(repr=False)  # int32 (P,): the network's initial model
    step_size: float  # learning rate x local steps
    samples: int  # records of one's own; published only where the rules weigh by them
    entropy: Callable[[int], bytes] = field(repr=False)  # n -> n random bytes, for nonces
    boot: int  # how often this peer has started; makes message counters unique

    @property
    def key(self) -> bytes:
        """The verify key, which is the peer's id."""
        return self.identity.verify_key


class State:
    """One peer's mutable state; only the functions of the core change it."""

    def __init__(
        self,
        me: Myself,
        *,
        initial: FloatVector,
        certificates: Iterable[Certificate] = (),
        bulletin: Bulletin | None = None,
        root_key: bytes,
    ) -> None:
        self.me = me
        self.topology = Topology(me.rules.topology)
        self.roster = Roster(me.certificate.network_id, root_key)
        for certificate in (me.certificate, *certificates):
            self.roster.admit(certificate)
        self.public_key = _public_key(me.certificate.network_id)
        self.group_keys: dict[int, GroupKey] = {PUBLIC_EPOCH: self.public_key}
        self._listed: frozenset[bytes] = frozenset()
        self.beacons: dict[bytes, Beacon] = {}  # the newest of each member, one's own among them
        self.guests: set[bytes] = set()  # new members to be greeted, neighbours or not
        self.algorithm = algorithm_of(me.rules)
        self.genesis = feed_genesis(me.genesis, self.algorithm.vectors)
        self.own = Feed(me.key, self.genesis)
        self.feeds: dict[bytes, Feed] = {me.key: self.own}
        self.proofs: dict[bytes, bytes] = {}  # author -> proof that it equivocated
        self.door = Door(
            network_id=me.certificate.network_id,
            roster=self.roster,
            group_keys=self.group_keys,
            feeds=self.feeds,
            proofs=self.proofs,
            max_frame_bytes=me.rules.max_frame_bytes,
            max_round=me.rules.rounds,
        )
        if bulletin is not None:
            self.take_bulletin(bulletin)

        self.phase = Phase.TRAINING
        self.resume_phase = Phase.TRAINING  # where gathering leads to
        self.returning = False  # no training since gathering
        self.hurried = False  # gathering waits but little longer, for a neighbour is there
        self.round = 1
        self.model = initial  # x_i at the start of the round
        # b_i of the round, (V, P)
        self.base = from_grid(self.genesis, me.rules.grid_bits).reshape(-1, initial.size)
        self.memory = np.zeros((self.algorithm.slots, initial.size), dtype=np.float32)  # (M, P)
        self.gamma = np.ones(self.algorithm.vectors)
        self.trained = False  # whether this round's release came from training
        self.stopped: str | None = None  # why training ended, in words
        self.rolled_back = False

        self.up: set[bytes] = set()  # links that are there
        self.hailed: dict[bytes, float] = {}  # link -> when our last hello went out
        self.greeted: set[bytes] = set()  # links whose hello came
        self.absent: set[bytes] = set()  # neighbours that nobody waits for
        self.known: dict[bytes, int] = {}  # link -> up to where it holds our feed
        self.told: dict[bytes, int] = {}  # link -> how long it said that its own feed is
        self.pulled: dict[bytes, float] = {}  # feed -> when it was last asked for
        self.foretold: dict[bytes, int] = {}  # feed -> how long its author's notice says it is
        self.heard: dict[bytes, float] = {}  # link -> when a hello of its was last taken up
        self.answered: dict[tuple[bytes, bytes], tuple[int, float]] = {}  # head, when
        self.claims: dict[bytes, int] = {}  # who says that our feed goes on -> times asked for it
        self.disbelieved: set[bytes] = set()  # who said so and never showed it
        self.held: Trained | None = None  # what is not published before a claim is settled
        self.counter = me.boot << 32
        self.beacon_heard: dict[bytes, float] = {}  # member -> when its last beacon counted
        self.untold: dict[bytes, dict[bytes, None]] = {}  # link -> whose beacons it has not heard
        self.is_telling = False  # the timer for beacons is set
        self.sought: Mapping[bytes, tuple[str, ...]] = {}  # as the driver was told last
        self._stored: dict[bytes, int] = {}  # author -> sequence that the last checkpoint held
        self._follow_neighbours()

    # -- who is who ------------------------------------------------------------------------

    @property
    def index(self) -> int:
        """This peer's node number."""
        return self.me.certificate.index

    def key_at(self, index: int) -> bytes | None:
        """The verify key of a node, None while its certificate is unknown."""
        certificate = self.roster.at(index)
        return certificate.verify_key if certificate else None

    def keys_at(self, indices: Iterable[int]) -> list[bytes]:
        """The known keys of some nodes, in their order."""
        return [key for index in indices if (key := self.key_at(index)) is not None]

    def neighbours(self) -> list[bytes]:
        """All peers that share an edge with this one in any round, by node number."""
        return self.keys_at(self.topology.all_neighbours(self.index))

    def heard_by(self, index: int) -> set[int]:
        """The nodes whose feeds a node follows: whom it hears in any round."""
        return set(self.topology.ever_heard(index))

    def index_of(self, key: bytes) -> int | None:
        """The node number of a member, None when it is none."""
        certificate = self.roster.certificate(key)
        return certificate.index if certificate else None

    @property
    def is_asynchronous(self) -> bool:
        """Whether rounds have no barrier."""
        return self.me.rules.pace == "asynchronous"

    def newest_key(self) -> GroupKey | None:
        """The group key to seal with; None when no bulletin gave this peer one."""
        newest = max(self.group_keys.keys() - {PUBLIC_EPOCH}, default=None)
        return None if newest is None else self.group_keys[newest]

    def excluded(self, key: bytes) -> bool:
        """Whether a peer's word counts no more: it equivocated or was revoked."""
        return key in self.proofs or self.roster.is_revoked(key)

    def admit(self, certificate: Certificate) -> None:
        """Learn of a member. Raises RemoteError when its node number is taken."""
        if self.roster.admit(certificate):
            self._follow_neighbours()

    def _follow_neighbours(self) -> None:
        for key in self.keys_at(sorted(self.heard_by(self.index))):
            self.feeds.setdefault(key, Feed(key, self.genesis))

    def take_bulletin(self, bulletin: Bulletin) -> bool:
        """Apply a bulletin; whether it was news. Takes up the group key in it.

        Raises RemoteError when this network's root did not sign it.
        """
        if not self.roster.apply(bulletin):
            return False
        self._listed = frozenset(key for key, _ in bulletin.sealed_keys)
        for revoked in bulletin.revoked:
            self.beacons.pop(revoked, None)
            self.guests.discard(revoked)
        key = bulletin.group_key(self.me.identity)
        if key is not None:
            self.group_keys[key.epoch] = key
        return True

    def may_link(self, key: bytes) -> bool:
        """Whether a verify key is a member's: by its certificate, or on the newest bulletin."""
        known = key in self._listed or self.roster.certificate(key) is not None
        return known and not self.excluded(key)

    def listed(self) -> frozenset[bytes]:
        """The members that the newest bulletin names."""
        return self._listed

    def has_met(self, key: bytes) -> bool:
        """Whether a neighbour has said hello, and brought the news that it spoke of."""
        feed = self.feeds.get(key)
        behind = feed is not None and feed.sequence < self.told.get(key, 0)
        return key in self.greeted and not behind

    def gather(self) -> None:
        """Wait for the neighbours' hellos before carrying on."""
        self.resume_phase, self.phase = self.phase, Phase.GATHERING
        self.returning, self.hurried = True, False

    @property
    def may_publish(self) -> bool:
        """Whether the world may still believe what this peer signs."""
        return not self.rolled_back and not self.excluded(self.me.key)

    def observe_only(self) -> None:
        """Publish and train no more; only listen and relay."""
        self.phase = Phase.OBSERVING
        self.held = None
        self.claims.clear()

    # -- what must survive -------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint:
        """What to store now: everything small, and the feeds that changed since last time."""
        changed = [f for f in self.feeds.values() if f.sequence > self._stored.get(f.author, 0)]
        self._stored.update({feed.author: feed.sequence for feed in changed})
        records = []
        for feed in changed:
            assert feed.entry is not None
            newest = feed.deltas[-1] if feed.deltas else None
            records.append(
                FeedRecord(author=feed.author, entry=feed.entry, copy=feed.copy, delta=newest)
            )
        bulletin = self.roster.bulletin
        return Checkpoint(
            round=self.round,
            phase=self.resume_phase if self.phase is Phase.GATHERING else self.phase,
            model=self.model,
            base=self.base,
            memory=self.memory,
            gamma=self.gamma,
            trained=self.trained,
            rolled_back=self.rolled_back,
            feeds=tuple(records),
            proofs=tuple(self.proofs.values()),
            certificates=tuple(c.to_bytes() for c in self.roster.members()),
            bulletin=bulletin.to_bytes() if bulletin else None,
        )

    def restore(self, stored: Checkpoint, deltas: Iterable[Delta] = ()) -> None:
        """Carry on from `stored`; `deltas` are the latest of the own feed.

        Raises StorageError when a stored public copy is not the one that its entry names.
        """
        for packed in stored.certificates:
            self.admit(Certificate.from_bytes(packed))
        if stored.bulletin is not None:
            self.take_bulletin(Bulletin.from_bytes(stored.bulletin))
        self.round, self.phase = stored.round, stored.phase
        self.model, self.base = stored.model, stored.base
        self.memory, self.gamma = stored.memory, stored.gamma
        self.trained = stored.trained
        self.rolled_back = stored.rolled_back
        for record in stored.feeds:
            feed = self.feeds.setdefault(record.author, Feed(record.author, self.genesis))
            own = record.author == self.me.key
            feed.restore(record.entry, record.copy, list(deltas) if own else [])
            self._stored[record.author] = feed.sequence
        for proof in stored.proofs:
            self.shun(proof)

    def shun(self, proof: bytes) -> tuple[bytes, int] | None:
        """Exclude whom a proof convicts; (author, sequence) when that is news.

        Raises RemoteError when it proves nothing.
        """
        author, sequence = verify_proof(proof, self.door.network_id)
        if author in self.proofs:
            return None
        self.proofs[author] = proof
        return author, sequence


def turn_of(state: State) -> Turn:
    """What the gossip rule knows of the peer."""
    trained = np.array(state.trained)
    return Turn(state.model, state.memory, state.me.step_size, trained, state.gamma)


def feed_genesis(genesis: GridVector, vectors: int) -> GridVector:
    """Where the feeds of a network start, int32 (V P,): the initial model ``genesis`` (P,), then
    zeros for what else a release holds.
    """
    return np.concatenate([genesis, np.zeros((vectors - 1) * genesis.size, dtype=np.int32)])


def _public_key(network_id: bytes) -> GroupKey:
    """The seal of hellos and bulletins: a peer with an old group key must be able to read how it
    gets the new one. What they say is public, and their signatures prove it.
    """
    return GroupKey(PUBLIC_EPOCH, digest("public-seal", network_id))
