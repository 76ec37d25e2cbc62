"""The gossip rule that a network's rules name."""

from __future__ import annotations

from ..rules import Rules
from .base import Algorithm
from .gradient_tracking import BEER, KGT
from .outer_momentum import OuterMomentum
from .quasi_global import DPSGD, QuasiGlobal


def algorithm_of(rules: Rules) -> Algorithm:
    """The rule that ``rules.optimiser`` names; ``rules.momentum`` is for those that have one."""
    match rules.optimiser:
        case "sgd":
            return DPSGD()
        case "qg-dsgdm":
            return QuasiGlobal(rules.momentum)
        case "k-gt":
            return KGT()
        case "beer":
            return BEER()
        case "outer-momentum":
            return OuterMomentum(rules.momentum)
