"""A portable proof that an author equivocated.

An honest author signs one entry for each number, and each entry names the hash of the one before.
So two signed entries of one author prove misbehaviour, to anybody and without trusting whoever
hands them over, when they

- bear the same number and differ, or
- bear neighbouring numbers, and the later does not name the earlier as its predecessor.
"""

from __future__ import annotations

from ..crypto import canonical
from ..crypto.errors import Malformed, WrongNetwork
from .messages import MAX_HEADER_BYTES, SignedEntry

MAX_PROOF_BYTES = 4 * MAX_HEADER_BYTES


def contradict(one: SignedEntry, other: SignedEntry) -> bool:
    """Whether an honest author cannot have signed both."""
    a, b = sorted((one, other), key=lambda entry: entry.header.sequence)
    if a.header.author != b.header.author or a.header.network_id != b.header.network_id:
        return False
    if a.header.sequence == b.header.sequence:
        return a.header != b.header
    return b.header.sequence == a.header.sequence + 1 and b.header.previous != a.hash


def make_proof(one: SignedEntry, other: SignedEntry) -> bytes:
    """The proof in its portable form. Raises ValueError when the two agree."""
    if not contradict(one, other):
        raise ValueError("these two entries do not contradict each other")
    return canonical.pack(sorted([one.pack(), other.pack()]))


def verify_proof(proof: bytes, network_id: bytes) -> tuple[bytes, int]:
    """Who equivocated, at which number: (verify key, sequence of the later entry).

    Whether the author is anybody in the network is for the caller to ask: two entries signed with
    a key that was made up for the purpose contradict each other as well.

    Raises Malformed, BadSignature or WrongNetwork when this proves nothing.
    """
    match canonical.unpack(proof, max_bytes=MAX_PROOF_BYTES):
        case [bytes() as first, bytes() as second]:
            one, other = SignedEntry.unpack(first), SignedEntry.unpack(second)
        case _:
            raise Malformed("a proof is two signed entries")
    if first > second:
        raise Malformed("the entries of this proof are not in their order")
    if one.header.network_id != network_id:
        raise WrongNetwork("the proof is about a peer of another network")
    if not contradict(one, other):
        raise Malformed("the two entries of this proof do not contradict each other")
    return one.header.author, max(one.header.sequence, other.header.sequence)
