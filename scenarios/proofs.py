"""Checking the proofs of equivocation that a log holds, as any third party can."""

from __future__ import annotations

from collections.abc import Iterable

from ..crypto.errors import RemoteError
from ..crypto.identity import short_id
from ..gossip.proof import verify_proof


def proves(proof: str, author: str, networks: Iterable[str]) -> bool | None:
    """Whether ``proof`` (hex) shows that ``author`` (a short id) equivocated.

    ``networks`` are the network ids (hex) that it may be about, as peers note them when they start;
    None when there is none to check against. Otherwise the answer takes nobody's word for it: it
    follows from the two signatures.
    """
    answer: bool | None = None
    for network in networks:
        try:
            key, _sequence = verify_proof(bytes.fromhex(proof), bytes.fromhex(network))
        except (RemoteError, ValueError):
            answer = False
            continue
        if short_id(key) == author:
            return True
        answer = False
    return answer
