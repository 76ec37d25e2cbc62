"""What can be told of a peer from its folder alone, whether it runs or not."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..crypto.identity import libp2p_peer_id, short_id
from ..crypto.ledger import Ledger
from ..crypto.privacy import PrivacyGate
from ..crypto.privacy_settings import PrivacySettings
from ..gossip.rules import Rules
from .costs import Remembered
from .folder import PeerFolder
from .settings_files import check_settings
from .store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """The peer's network and its place in it; ``id`` is the network's, in hex."""

    name: str
    id: str
    index: int
    nodes: int
    rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where the peer is; ``sequence`` (0 before the first) and ``state`` are its feed's head."""

    round: int
    phase: str
    sequence: int
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy:
    """What was spent of the budget, and what exactly that protects.

    ``spent`` and ``left`` are epsilons at ``delta``; None when releases are made without privacy.
    """

    unit: str
    budget: float | None
    spent: float | None
    left: float | None
    delta: float | None
    relation: str
    trust_model: str
    accountant: str
    releases: int
    is_copy: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """All of it. Before the admission there is no membership, before the first run no progress."""

    name: str
    id: str
    peer_id: str
    membership: Membership | None
    progress: Progress | None
    privacy: Privacy


def status_of(folder: PeerFolder) -> Status:
    """Read a peer's folder.

    Raises ConfigError (MovedAway when the peer lives elsewhere now), IdentityError, StorageError.
    """
    config, identity = folder.config(), folder.identity()
    has_run = folder.database_file.exists()
    return Status(
        name=config.name,
        id=short_id(identity.verify_key),
        peer_id=libp2p_peer_id(identity.verify_key),
        membership=_membership(folder) if folder.admission_file.exists() else None,
        progress=_progress(folder, identity.verify_key) if has_run else None,
        privacy=_privacy(folder, config.privacy, has_run=has_run),
    )


def _membership(folder: PeerFolder) -> Membership:
    admission = folder.admission()
    rules = check_settings(Rules, admission.network.rules, where=str(folder.admission_file))
    return Membership(
        name=admission.network.name,
        id=admission.network.network_id.hex(),
        index=admission.certificate.index,
        nodes=rules.topology.nodes,
        rounds=rules.rounds,
    )


def _progress(folder: PeerFolder, own_key: bytes) -> Progress | None:
    store = Store(folder.database_file, own_key)
    try:
        stored = store.load()
    finally:
        store.close()
    if stored is None:
        return None
    checkpoint, _ = stored
    head = next((feed.entry.header for feed in checkpoint.feeds if feed.author == own_key), None)
    return Progress(
        round=checkpoint.round,
        phase=checkpoint.phase.value,
        sequence=head.sequence if head is not None else 0,
        state=head.state.hex() if head is not None else "",
    )


def _privacy(folder: PeerFolder, settings: PrivacySettings, *, has_run: bool) -> Privacy:
    ledger = Ledger(folder.database_file if has_run else None)
    try:
        ledger.must_be_here()
        # Asked for its words on the past only, so the future that it plans noise for is no matter.
        past = settings.model_copy(update={"noise_multiplier": 1.0})
        gate = PrivacyGate(
            past,
            ledger,
            samples=1,
            planned_steps=1,
            planned_releases=1,
            entropy=os.urandom,
            composition=Remembered(folder.costs_file),
        )
        spent = gate.spent()
        is_copy = ledger.is_copy()
    finally:
        ledger.close()
    protects = spent.epsilon is not None
    return Privacy(
        unit=spent.unit,
        budget=settings.epsilon if protects else None,
        spent=spent.epsilon,
        left=max(0.0, settings.epsilon - spent.epsilon) if spent.epsilon is not None else None,
        delta=spent.delta,
        relation=spent.relation,
        trust_model=spent.trust_model,
        accountant=spent.accountant,
        releases=spent.releases,
        is_copy=is_copy,
    )
