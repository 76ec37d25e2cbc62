"""What a scenario is made of before anything runs: a network, its members, their data.

Everything follows from the scenario's seed. The `live` engine writes it into peers' folders and
then uses what is in them; the `sim` engine keeps it in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from ..crypto.digest import digest
from ..crypto.identity import Identity
from ..crypto.integer_noise import SEED_BYTES, SecureStream
from ..crypto.ledger import Ledger
from ..crypto.membership import Bulletin, Certificate, GroupKey, JoinRequest
from ..crypto.network import NetworkFile
from ..gossip.grid import GridVector
from ..gossip.state import State
from ..peer.assembly import describe_model, genesis_of, make_state, make_trainer, with_shapes
from ..peer.learners.data import Dataset
from ..peer.learners.spec import build_learner, build_model, load_named_dataset
from ..peer.training import Trainer
from .attacks import poisoned
from .scenario import Scenario

Entropy = Callable[[int], bytes]


def seeded_entropy(seed: int, *purpose: str | int) -> Entropy:
    """Bytes that follow from the seed: for simulations alone, they protect nothing."""
    parts = [str(part).encode() for part in (seed, *purpose)]
    return SecureStream(digest("simulation", *parts)).bytes


@lru_cache(maxsize=64)
def session_seeds(seed: int, number: int, peers: int) -> NDArray[np.uint8]:
    """What each peer's training begins its ``number``-th session from: uint8 (peers, 32).

    All peers' seeds of one number come from one stream, so that those of ten thousand are drawn
    as fast as one.
    """
    drawn = seeded_entropy(seed, "sessions", number)(SEED_BYTES * peers)
    return np.frombuffer(drawn, dtype=np.uint8).reshape(peers, SEED_BYTES)


class SessionEntropy:
    """What the privacy gate of one simulated peer draws its sessions' seeds from, in turn."""

    def __init__(self, seed: int, node: int, peers: int) -> None:
        self._seed, self._node, self._peers = seed, node, peers
        self._drawn = 0

    def __call__(self, n: int) -> bytes:
        """The next seed, of 32 bytes. Raises ValueError when ``n`` is another number."""
        if n != SEED_BYTES:
            raise ValueError(f"a session begins from {SEED_BYTES} bytes, not {n}")
        row = session_seeds(self._seed, self._drawn, self._peers)[self._node]
        self._drawn += 1
        return bytes(row)


def shares_of(scenario: Scenario) -> list[Dataset]:
    """Each peer's data set, by the scenario's task, partition and seed."""
    task = scenario.task
    whole = load_named_dataset(
        task.dataset, task.dataset_args, seed=scenario.seed, where="task.dataset"
    )
    rng = np.random.default_rng([scenario.seed, 0xDA7A])
    rows = scenario.partition.divide(whole.train_y, scenario.peers, rng)
    return [whole.share(part) for part in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class Citizen:
    """A simulated member: its keys, its place, and its learner behind the privacy gate."""

    index: int
    name: str
    identity: Identity
    certificate: Certificate
    trainer: Trainer = field(repr=False)


class World:
    """A network in memory with all its members, made from a scenario."""

    def __init__(self, scenario: Scenario) -> None:
        model = build_model(scenario.learner)
        rules = with_shapes(scenario.rules, model)
        self.scenario = scenario = scenario.model_copy(update={"rules": rules})
        self.seed = scenario.seed
        self.genesis: GridVector = genesis_of(model, scenario.seed, scenario.rules)
        root = Identity.generate(seeded_entropy(self.seed, "root"))
        self.network = NetworkFile(
            name=scenario.name,
            root_key=root.verify_key,
            rules=scenario.rules.model_dump(mode="json"),
            model=describe_model(model, scenario.seed, scenario.rules),
        )
        network_id = self.network.network_id
        identities = [
            Identity.generate(seeded_entropy(self.seed, "identity", index))
            for index in range(scenario.peers)
        ]
        self.certificates = [
            Certificate.issue(root, JoinRequest.make(name, identity), network_id, index)
            for index, (name, identity) in enumerate(zip(scenario.names(), identities, strict=True))
        ]
        self.group_key = GroupKey.generate(1, seeded_entropy(self.seed, "group"))
        self._root, self._identities = root, identities

    # What only some engines need, and what takes long for thousands of members, is made on demand.

    @cached_property
    def shares(self) -> list[Dataset]:
        """Each member's data set."""
        return poisoned(shares_of(self.scenario), self.scenario.faults.liars)

    @cached_property
    def bulletin(self) -> Bulletin:
        """The list of the members, with the group key sealed for each."""
        return Bulletin.issue(
            self._root,
            network_id=self.network.network_id,
            serial=1,
            members=self.certificates,
            revoked=(),
            key=self.group_key,
            entropy=seeded_entropy(self.seed, "boxes"),
        )

    @cached_property
    def citizens(self) -> list[Citizen]:
        """The members with their learners."""
        return [
            Citizen(
                index=index,
                name=certificate.name,
                identity=identity,
                certificate=certificate,
                trainer=self._trainer(index, share),
            )
            for index, (identity, certificate, share) in enumerate(
                zip(self._identities, self.certificates, self.shares, strict=True)
            )
        ]

    def _trainer(self, index: int, share: Dataset) -> Trainer:
        scenario = self.scenario
        return make_trainer(
            build_learner(scenario.learner, dataset=share),
            privacy=scenario.privacy,
            plan=scenario.training,
            rules=scenario.rules,
            ledger=Ledger(None),
            entropy=SessionEntropy(self.seed, index, scenario.peers),
        )

    def state_of(self, citizen: Citizen, *, boot: int) -> State:
        """The core's state of a member that starts for the ``boot``-th time."""
        return make_state(
            identity=citizen.identity,
            certificate=citizen.certificate,
            bulletin=self.bulletin,
            root_key=self.network.root_key,
            rules=self.scenario.rules,
            genesis=self.genesis,
            plan=self.scenario.training,
            samples=citizen.trainer.learner.samples,
            entropy=seeded_entropy(self.seed, "nonces", citizen.index, boot),
            boot=boot,
            certificates=self.certificates,
        )
