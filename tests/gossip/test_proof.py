"""Two contradicting entries convict their author before anybody, and nothing else convicts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gossip.author import Author
from tests.helpers import Village, entropy_of
from tidings.crypto import canonical
from tidings.crypto.errors import BadSignature, Malformed, RemoteError, WrongNetwork
from tidings.crypto.identity import Identity
from tidings.gossip.messages import EntryHeader, SignedEntry, sign_entry
from tidings.gossip.proof import MAX_PROOF_BYTES, contradict, make_proof, verify_proof

VILLAGE = Village(2)
NETWORK = VILLAGE.network_id
LIAR = VILLAGE.identities[1]
HEADER = EntryHeader(
    network_id=NETWORK,
    author=LIAR.verify_key,
    sequence=5,
    round=5,
    samples=0,
    previous=b"p" * 32,
    state=b"s" * 32,
    payload_digest=b"d" * 32,
)
ENTRY = sign_entry(LIAR, HEADER)
TWIN = sign_entry(LIAR, replace(HEADER, state=b"t" * 32))
HEIR = sign_entry(LIAR, replace(HEADER, sequence=6, round=6, previous=ENTRY.hash))
BASTARD = sign_entry(LIAR, replace(HEADER, sequence=6, round=6, previous=TWIN.hash))
LATER = sign_entry(LIAR, replace(HEADER, sequence=7, round=7, previous=bytes(32)))


def packed(*entries: SignedEntry) -> bytes:
    return canonical.pack(sorted(entry.pack() for entry in entries))


@pytest.mark.parametrize(
    ("one", "other", "sequence"), [(ENTRY, TWIN, 5), (ENTRY, BASTARD, 6), (TWIN, HEIR, 6)]
)
def test_a_third_party_convicts_with_the_proof_alone(
    one: SignedEntry, other: SignedEntry, sequence: int
) -> None:
    proof = make_proof(one, other)
    assert verify_proof(proof, NETWORK) == (LIAR.verify_key, sequence)
    assert make_proof(other, one) == proof  # whoever finds it, it has one form
    assert len(proof) <= MAX_PROOF_BYTES


@pytest.mark.parametrize("field", ["round", "samples", "previous", "state", "payload_digest"])
def test_any_difference_under_one_number_counts(field: str) -> None:
    value = getattr(HEADER, field)
    other = value + 1 if isinstance(value, int) else b"o" * 32
    assert verify_proof(
        make_proof(ENTRY, sign_entry(LIAR, replace(HEADER, **{field: other}))), NETWORK
    )


ELSEWHERE = sign_entry(LIAR, replace(TWIN.header, network_id=bytes(16)))
SOMEBODY = sign_entry(
    VILLAGE.identities[0], replace(TWIN.header, author=VILLAGE.identities[0].verify_key)
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ENTRY, ENTRY),
        (ENTRY, HEIR),
        (TWIN, BASTARD),
        (ENTRY, LATER),  # what lies between them is not known
        (ENTRY, ELSEWHERE),  # one key may be in two networks
        (ENTRY, SOMEBODY),
        # Ed25519 could sign a header twice, in two ways: that is still one fact
        (ENTRY, replace(ENTRY, signature=bytes(64))),
    ],
    ids=["itself", "heir", "other-heir", "gap", "network", "author", "signature"],
)
def test_what_an_honest_author_may_sign_convicts_nobody(
    one: SignedEntry, other: SignedEntry
) -> None:
    assert not contradict(one, other)
    assert not contradict(other, one)
    with pytest.raises(ValueError, match="do not contradict"):
        make_proof(one, other)
    with pytest.raises(RemoteError):
        verify_proof(packed(one, other), NETWORK)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.lists(st.integers(-5, 5), min_size=2, max_size=8))
def test_no_two_entries_of_an_honest_feed_contradict_each_other(steps: list[int]) -> None:
    author = Author.of(VILLAGE, 1)
    entries = [author.publish(step).entry for step in steps]
    assert not any(contradict(a, b) for a in entries for b in entries)


def test_no_changed_bit_of_a_proof_convicts() -> None:
    proof = make_proof(ENTRY, TWIN)
    for bit in range(len(proof) * 8):
        changed = bytearray(proof)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RemoteError):
            verify_proof(bytes(changed), NETWORK)


def test_a_proof_for_another_network_convicts_nobody_here() -> None:
    proof = make_proof(ENTRY, TWIN)
    with pytest.raises(WrongNetwork):
        verify_proof(proof, bytes(16))


def test_nobody_is_framed() -> None:
    """Entries signed by another than the author that they name."""
    stranger = Identity.generate(entropy_of("framer"))
    for signer in (stranger, VILLAGE.identities[0]):
        fake = SignedEntry(header=TWIN.header, signature=signer.sign("entry", TWIN.header.pack()))
        with pytest.raises(BadSignature):
            verify_proof(packed(ENTRY, fake), NETWORK)


@pytest.mark.parametrize(
    "proof",
    [
        b"",
        canonical.pack([]),
        canonical.pack([ENTRY.pack()]),
        canonical.pack([ENTRY.pack(), TWIN.pack(), HEIR.pack()]),
        canonical.pack(sorted([ENTRY.pack(), TWIN.pack()], reverse=True)),
        canonical.pack([1, 2]),
        canonical.pack("proof"),
        make_proof(ENTRY, TWIN) + b"\0",
        make_proof(ENTRY, TWIN)[:-1],
        canonical.pack([bytes(MAX_PROOF_BYTES), b""]),
    ],
)
def test_what_has_not_the_form_of_a_proof_is_malformed(proof: bytes) -> None:
    with pytest.raises(Malformed):
        verify_proof(proof, NETWORK)
