"""Working out what a peer's rounds will cost in privacy before it runs, while its owner waits.

A peer that starts then finds the answers in its folder: no seconds and no memory for the library
that gives them (peer/costs.py).
"""

from __future__ import annotations

import os

from ..crypto.ledger import Ledger
from ..crypto.privacy import PrivacyGate
from ..gossip.rules import Rules
from .costs import Remembered
from .folder import PeerFolder


def foresee_costs(folder: PeerFolder) -> None:
    """Fill ``costs.json`` for a peer that begins as it is configured and admitted.

    Raises ConfigError when the budget cannot be met or a library is missing, StorageError when
    the file cannot be written.
    """
    config = folder.config()
    rules = Rules.model_validate(folder.admission().network.rules)
    steps = config.training.local_steps
    gate = PrivacyGate(
        config.privacy,
        Ledger(None),
        samples=1,  # averages, but no cost, depend on it
        planned_steps=rules.rounds * steps,
        planned_releases=rules.rounds,
        entropy=os.urandom,
        composition=Remembered(folder.costs_file),
    )
    gate.affordable(steps)
