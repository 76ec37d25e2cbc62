"""What an author leaves while it sleeps: believed when it proves itself, and used at once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import Village, entropy_of
from tidings.crypto.errors import (
    BadSignature,
    Equivocation,
    Malformed,
    NotAMember,
    RemoteError,
    UnknownKey,
    WrongNetwork,
)
from tidings.crypto.identity import short_id
from tidings.crypto.membership import GroupKey
from tidings.gossip import effects as fx
from tidings.gossip import wire
from tidings.gossip.events import Received, Refused, Sent
from tidings.gossip.messages import SignedEntry, sign_entry
from tidings.gossip.notice import MAX_BODY_BYTES, Notice
from tidings.gossip.noticing import missing
from tidings.gossip.topology import TopologyRule


def village(members: int = 3, rounds: int = 3) -> Village:
    made = Village(members, topology=TopologyRule(kind="complete", nodes=members), rounds=9)
    made.start()
    made.run(rounds)
    return made


GROWN = village()
AUTHOR, FOLLOWER, JOINER = GROWN.keys
ENTRY = GROWN.states[0].own.entry


def left(
    entry: SignedEntry = ENTRY,
    *,
    signer: int = 0,
    certificate: int = 0,
    key: GroupKey | None = None,
) -> bytes:
    notice = Notice(certificate=GROWN.certificates[certificate], entry=entry)
    return bytes(
        wire.encode_notice(
            notice,
            identity=GROWN.identities[signer],
            key=key or GROWN.group_key,
            entropy=entropy_of("notice"),
        )
    )


def refusal(frame: bytes, author: bytes = AUTHOR) -> type[RemoteError]:
    with pytest.raises(RemoteError) as caught:
        wire.decode_notice(frame, GROWN.states[2].door, author)
    return type(caught.value)


def test_a_notice_says_how_far_its_author_is_and_tells_an_outsider_nothing() -> None:
    frame = GROWN.left[0]
    notice = wire.decode_notice(frame, GROWN.states[2].door, AUTHOR)
    assert (notice.author, notice.entry) == (AUTHOR, ENTRY)
    assert notice.entry.header.sequence == 3
    assert len(notice.pack_body()) < MAX_BODY_BYTES / 2
    for secret in (AUTHOR, GROWN.certificates[0].name.encode(), ENTRY.header.state, b"entry"):
        assert secret not in frame


@given(st.data())
def test_a_changed_byte_is_noticed(data: st.DataObject) -> None:
    frame = bytearray(left())
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    refusal(bytes(frame))


@given(st.binary(max_size=600))
def test_garbage_is_no_notice(data: bytes) -> None:
    refusal(data)


def test_nobody_leaves_a_notice_for_another() -> None:
    assert refusal(left(signer=1)) is BadSignature
    assert refusal(left(signer=1), FOLLOWER) is NotAMember  # of another's feed, in its own name
    assert refusal(left(certificate=1)) is NotAMember
    theirs = GROWN.states[1].own.entry
    assert refusal(left(theirs)) is NotAMember


def test_another_key_or_network_or_an_end_that_never_comes_is_refused() -> None:
    assert refusal(left(key=GroupKey.generate(7, entropy_of("other")))) is UnknownKey
    assert refusal(left(key=GROWN.states[0].public_key)) is UnknownKey
    header = ENTRY.header
    far = type(header)(**{name: getattr(header, name) for name in header.__slots__} | {"round": 99})
    assert refusal(left(sign_entry(GROWN.identities[0], far))) is Malformed
    other = Village(3, seed=4)
    frame = wire.encode_notice(
        Notice(certificate=GROWN.certificates[0], entry=ENTRY),
        identity=GROWN.identities[0],
        key=GROWN.group_key,
        entropy=entropy_of("notice"),
    )
    with pytest.raises(WrongNetwork):
        wire.decode_notice(frame, other.states[2].door, AUTHOR)


def newcomer(grown: Village) -> None:
    """The last member as it was before it heard anything."""
    index = len(grown.keys) - 1
    grown.states[index] = grown.make_state(index, boot=2)
    grown.events[index].clear()
    grown.give(index, fx.Started())
    grown.give(index, fx.Noticed(author=grown.keys[0], frame=grown.left[0]))


def pulls(grown: Village, index: int) -> list[str]:
    return [e.to for e in grown.events[index] if isinstance(e, Sent) and e.message == "pull"]


def test_a_late_joiner_asks_a_follower_of_who_sleeps_before_that_has_spoken() -> None:
    grown = village()
    for other in (1, 2):
        grown.part(0, other)
    grown.part(1, 2)
    newcomer(grown)
    assert pulls(grown, 2) == []  # nobody is there
    grown.give(2, fx.NeighbourUp(link=grown.keys[1]))
    assert pulls(grown, 2) == [short_id(grown.keys[1])]
    grown.give(1, fx.NeighbourUp(link=grown.keys[2]))
    grown.exchange()
    assert grown.states[2].feeds[grown.keys[0]].sequence == 3
    assert missing(grown.states[2]) == []
    arrived = [e for e in grown.events[2] if isinstance(e, Received) and e.road]
    assert [e.sequence for e in arrived if e.author == short_id(grown.keys[0])] == [3]  # once


def test_an_author_that_is_linked_brings_its_news_itself() -> None:
    grown = village()
    for pair in ((0, 1), (0, 2), (1, 2)):
        grown.part(*pair)
    newcomer(grown)
    grown.give(2, fx.NeighbourUp(link=grown.keys[0]))
    assert pulls(grown, 2) == []


def test_an_old_notice_changes_nothing() -> None:
    grown = village()
    old = grown.left[0]
    grown.run(2)
    before = len(grown.events[2])
    assert grown.give(2, fx.Noticed(author=grown.keys[0], frame=old)) == []
    assert len(grown.events[2]) == before


def test_two_truths_in_a_notice_convict() -> None:
    grown = village()
    header = grown.states[0].own.entry.header
    forked = type(header)(
        **{name: getattr(header, name) for name in header.__slots__} | {"state": bytes(32)}
    )
    frame = wire.encode_notice(
        Notice(certificate=grown.certificates[0], entry=sign_entry(grown.identities[0], forked)),
        identity=grown.identities[0],
        key=grown.group_key,
        entropy=entropy_of("notice"),
    )
    grown.give(2, fx.Noticed(author=grown.keys[0], frame=frame))
    assert grown.keys[0] in grown.states[2].proofs
    refused = [e for e in grown.events[2] if isinstance(e, Refused)]
    assert [e.reason for e in refused] == [Equivocation.reason]


@settings(max_examples=20)
@given(st.integers(3, 6), st.integers(1, 3), st.data())
def test_after_a_renewal_new_members_read_every_notice_and_the_revoked_none(
    members: int, rounds: int, data: st.DataObject
) -> None:
    grown = village(members, rounds)
    numbers = st.integers(0, members - 1)
    out = data.draw(numbers)
    told = data.draw(numbers.filter(lambda index: index != out))
    new_key = GroupKey.generate(2, entropy_of("new"))
    grown.bulletin = grown.issue_bulletin(2, revoked=[out], key=new_key)
    grown.give(told, fx.Told(bulletin=grown.bulletin))
    grown.exchange()
    grown.states[out].take_bulletin(grown.bulletin)
    others = set(range(members)) - {out}
    new_member = grown.make_state(told, boot=2)  # who was never given the first key
    assert new_member.newest_key() == new_key
    assert len(new_member.group_keys) == 2  # this and the public one
    for index in others:
        author, notice = grown.keys[index], grown.left[index]
        found = wire.decode_notice(notice, new_member.door, author)
        assert found.entry == grown.states[index].own.entry
        with pytest.raises(UnknownKey):
            wire.decode_notice(notice, grown.states[out].door, author)


def test_a_bulletin_under_the_same_key_leaves_no_notice() -> None:
    grown = village()
    before = list(grown.left)
    grown.give(0, fx.Told(bulletin=grown.issue_bulletin(2)))
    grown.exchange()
    assert grown.left == before
