"""The one door: each false frame has its reason and changes nothing; each true one gets in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.gossip.author import Author
from tests.helpers import Village, entropy_of
from tidings.crypto import canonical
from tidings.crypto.digest import digest
from tidings.crypto.envelope import open_body, seal_frame, split_frame
from tidings.crypto.errors import (
    BadSignature,
    Equivocation,
    Malformed,
    NotAMember,
    OutOfOrder,
    OverLong,
    RemoteError,
    Replayed,
    Revoked,
    Tampered,
    UnknownKey,
    Unwanted,
    WrongNetwork,
    WrongShape,
    WrongState,
)
from tidings.crypto.identity import Identity
from tidings.crypto.membership import GroupKey
from tidings.gossip import integers, wire
from tidings.gossip.door import PUBLIC_EPOCH
from tidings.gossip.feed import payload_digest
from tidings.gossip.grid import difference
from tidings.gossip.messages import (
    KIND_OF,
    MAX_BODY_BYTES,
    Alert,
    Beacons,
    BulletinNews,
    Control,
    ControlHeader,
    Head,
    Heads,
    Hello,
    News,
    Pull,
    Witness,
    pack_body,
)
from tidings.gossip.proof import make_proof

PULL = Pull(feed=bytes(32), have=0)
STRANGER = Identity.generate(entropy_of("stranger"))
LONG_CODE = integers.encode(np.ones(25, dtype=np.int32))
STEP = np.arange(24, dtype=np.int32)


class Scene:
    """Peer 0 of a ring of five, which follows 1 and 4; 1 and 2 are at two entries; 3 is revoked."""

    def __init__(self) -> None:
        self.village = village = Village(5, max_frame_bytes=4096, rounds=50)
        self.state = village.states[0]
        self.door = self.state.door
        self.state.take_bulletin(village.issue_bulletin(2, revoked=[3]))
        self.peers = [Author.of(village, index) for index in range(5)]
        self.author, self.far, self.outcast = self.peers[1], self.peers[2], self.peers[3]
        self.stranger = self.speaker(STRANGER)
        self.past = [self.author.publish(step) for step in (5, -3)]
        for news in self.past:
            self.take(self.author.frame(news))
        self.outcast.publish(1)
        self.seen = self.author.frame(PULL)
        self.take(self.seen)
        self.next = self.author.news(STEP)

    def speaker(self, identity: Identity, **changed: Any) -> Author:
        """Somebody with any key, who may know the group key."""
        village = self.village
        arguments = {
            "identity": identity,
            "network_id": village.network_id,
            "genesis": village.genesis,
            "key": village.group_key,
        }
        return Author(**{**arguments, **changed})

    def take(self, frame: bytes, link: bytes | None = None) -> News | wire.Letter:
        """What a peer does with a frame: through the door, then into the feed."""
        arrival = wire.decode(frame, self.door, link)
        if isinstance(arrival, News):
            self.state.feeds[arrival.entry.header.author].extend(arrival)
        return arrival

    def everything(self) -> tuple[Any, ...]:
        """All that the door and the feeds remember, to compare."""
        door, roster = self.door, self.door.roster
        return (
            {author: (w.newest, w.seen) for author, w in door.windows.items()},
            [(c.to_bytes()) for c in roster.members()],
            roster.bulletin,
            dict(door.proofs),
            dict(door.group_keys),
            [
                (
                    feed.entry,
                    feed.copy.tobytes(),
                    list(feed.deltas),
                    [(v.round, v.copy.tobytes()) for v in feed.versions],
                    dict(feed._entries),
                )
                for feed in door.feeds.values()
            ],
        )

    def keys(self, index: int) -> bytes:
        return self.village.keys[index]

    def signed(self, **changed: Any) -> bytes:
        """The author's next entry with other fields, properly signed."""
        return self.author.frame(replace(self.next, entry=self.author.sign(STEP, **changed)))

    def forged(self, author: bytes, **changed: Any) -> bytes:
        """An entry in the name of `author`, signed by somebody else."""
        return self.stranger.frame(
            replace(self.next, entry=self.stranger.sign(STEP, author=author, **changed))
        )

    def hello(self, certificate: bytes, who: Author | None = None) -> bytes:
        return (who or self.peers[4]).frame(Hello(certificate=certificate, heads=(), serial=1))

    def raw(self, header: ControlHeader, body: bytes, **changed: Any) -> bytes:
        """A control frame with a header of one's own, properly signed and sealed."""
        packed = header.pack()
        arguments: dict[str, Any] = {
            "header": packed,
            "signature": self.author.identity.sign("control", packed),
            "base": 0,
            "body": body,
            "key": self.village.group_key,
            "nonce": bytes(24),
        }
        return bytes(seal_frame(**{**arguments, **changed}))

    def control(self, kind: str, body: bytes, **changed: Any) -> ControlHeader:
        honest = ControlHeader(
            kind=kind,
            network_id=self.village.network_id,
            author=self.author.identity.verify_key,
            counter=99,
            body_digest=digest("control-body", body),
        )
        return replace(honest, **changed)

    def plain(self, kind: str, body: bytes) -> bytes:
        return self.raw(self.control(kind, body), body)

    def certificate(self, index: int, identity: Identity | None = None, **changed: Any) -> bytes:
        who = identity or self.village.identities[index]
        return self.village.certify(who, index, **changed).to_bytes()

    def equivocation(self, who: Author) -> bytes:
        """A proof that `who` signed two truths."""
        return make_proof(who.sign(STEP), who.sign(STEP, samples=7))

    def convict(self, index: int) -> None:
        self.state.shun(self.equivocation(self.peers[index]))


def _broken(frame: bytes, place: int) -> bytes:
    """The frame with a bit changed at ``place``."""
    changed = bytearray(frame)
    changed[place] ^= 4
    return bytes(changed)


def _parts(frame: bytes, more: int = 0) -> tuple[bytes, bytes]:
    """What stands before the sealed body (and `more` bytes of it), and the rest."""
    place = len(split_frame(frame, len(frame)).associated) + more
    return frame[:place], frame[place:]


def _another_nonce(frame: bytes) -> bytes:
    head, body = _parts(frame)
    return _broken(head, -1) + body


def _rebased(scene: Scene, base: int) -> bytes:
    return scene.author.frame(replace(scene.next, base=base))


def _convicted(scene: Scene) -> bytes:
    scene.convict(1)
    return scene.author.frame(scene.next)


Lie = Callable[[Scene], bytes]
REFUSED: dict[str, tuple[type[RemoteError], Lie]] = {
    # forged
    "an entry signed by another key": (
        BadSignature,
        lambda s: s.forged(s.author.identity.verify_key),
    ),
    "a control message signed by another key": (
        BadSignature,
        lambda s: s.raw(
            s.control("pull", pack_body(PULL)), pack_body(PULL), signature=bytes(range(64))
        ),
    ),
    "an entry signed as a control message": (
        BadSignature,
        lambda s: s.author.frame(
            replace(
                s.next,
                entry=replace(
                    s.next.entry,
                    signature=s.author.identity.sign("control", s.next.entry.header.pack()),
                ),
            )
        ),
    ),
    "a signature of zeros": (
        BadSignature,
        lambda s: s.author.frame(replace(s.next, entry=replace(s.next.entry, signature=bytes(64)))),
    ),
    "an author that is no key": (BadSignature, lambda s: s.forged(bytes(32))),
    # replayed
    "the newest entry again": (Replayed, lambda s: s.author.frame(s.past[1])),
    "an old entry again": (Replayed, lambda s: s.author.frame(s.past[0])),
    "a control message again": (Replayed, lambda s: s.seen),
    "a counter of long ago": (
        Replayed,
        lambda s: (s.take(s.author.frame(PULL, counter=70)), s.author.frame(PULL, counter=6))[1],
    ),
    # re-ordered
    "an entry before the one that it follows": (
        OutOfOrder,
        lambda s: s.author.frame((s.author.publish(1), s.author.publish(2))[1]),
    ),
    "a road from where we no longer are": (OutOfOrder, lambda s: _rebased(s, 1)),
    # truncated
    "nothing": (Malformed, lambda s: b""),
    "the first bytes": (Malformed, lambda s: s.author.frame(s.next)[:17]),
    "a frame that ends in its header": (Malformed, lambda s: s.author.frame(s.next)[:60]),
    "a frame that ends before its body": (
        Malformed,
        lambda s: _parts(s.author.frame(s.next), 15)[0],
    ),
    "a frame without its last byte": (Tampered, lambda s: s.author.frame(s.next)[:-1]),
    "a frame with a byte too many": (Tampered, lambda s: s.author.frame(s.next) + b"\0"),
    # over-long
    "a frame beyond the limit": (OverLong, lambda s: s.author.frame(s.next).ljust(4097, b"\0")),
    "a payload longer than the model": (
        OverLong,
        lambda s: s.author.frame(
            replace(s.next, payload=bytes(s.author.feed.max_payload_bytes + 1))
        ),
    ),
    "a pull that is long": (OverLong, lambda s: s.plain("pull", bytes(65))),
    "a witness that is long": (OverLong, lambda s: s.plain("witness", bytes(2049))),
    "a header that is long": (OverLong, lambda s: b"TDG1\x01\x04" + bytes(2000)),
    # not a member
    "an entry of a stranger": (NotAMember, lambda s: s.stranger.frame(s.stranger.news(STEP))),
    "a word of a stranger": (NotAMember, lambda s: s.stranger.frame(PULL)),
    "a hello with another's certificate": (
        NotAMember,
        lambda s: s.hello(s.certificate(2), s.stranger),
    ),
    "a hello with a home-made certificate": (
        BadSignature,
        lambda s: s.hello(s.certificate(4, STRANGER, root=STRANGER), s.stranger),
    ),
    "a hello with no certificate": (NotAMember, lambda s: s.hello(b"", s.stranger)),
    "a hello with a torn certificate": (
        Malformed,
        lambda s: s.hello(s.certificate(4)[:-1]),
    ),
    "a hello with a certificate of another network": (
        WrongNetwork,
        lambda s: s.hello(s.certificate(4, network_id=bytes(16))),
    ),
    # revoked
    "an entry of a revoked member": (Revoked, lambda s: s.outcast.frame(s.outcast.news(STEP))),
    "a word of a revoked member": (Revoked, lambda s: s.outcast.frame(PULL)),
    "a hello of a revoked member": (
        Revoked,
        lambda s: s.hello(s.certificate(3), s.outcast),
    ),
    # of another network
    "an entry of another network": (WrongNetwork, lambda s: s.signed(network_id=bytes(16))),
    "a word of another network": (
        WrongNetwork,
        lambda s: s.author.frame(PULL, network_id=bytes(16)),
    ),
    # of another shape, to another state
    "a model of another size": (
        WrongShape,
        lambda s: s.author.frame(
            News(
                entry=s.author.sign(STEP, payload_digest=payload_digest(LONG_CODE)),
                base=2,
                payload=LONG_CODE,
            )
        ),
    ),
    "a road to another state": (WrongState, lambda s: s.signed(state=bytes(32))),
    "a copy of another state": (WrongState, lambda s: _rebased(s, 0)),
    # tampered
    "another payload than was signed": (
        Tampered,
        lambda s: s.author.frame(replace(s.next, payload=integers.encode(STEP + np.int32(1)))),
    ),
    "a broken seal": (Tampered, lambda s: _broken(s.author.frame(s.next), -20)),
    "another nonce": (Tampered, lambda s: _another_nonce(s.author.frame(s.next))),
    "another body than was signed": (
        Tampered,
        lambda s: s.raw(s.control("pull", pack_body(PULL)), pack_body(replace(PULL, have=9))),
    ),
    "sealed with another secret": (
        Tampered,
        lambda s: s.author.frame(s.next, key=GroupKey(1, bytes(32))),
    ),
    # sealed with a key that we lack, or that everybody has
    "sealed with a key to come": (
        UnknownKey,
        lambda s: s.author.frame(s.next, key=GroupKey(2, bytes(32))),
    ),
    "a word sealed with a key to come": (
        UnknownKey,
        lambda s: s.author.frame(PULL, key=GroupKey(2, bytes(32))),
    ),
    "news under the public seal": (
        UnknownKey,
        lambda s: s.author.frame(s.next, key=_public(s)),
    ),
    "a pull under the public seal": (
        UnknownKey,
        lambda s: s.author.frame(PULL, key=_public(s)),
    ),
    # unwanted
    "an entry that nobody here follows": (Unwanted, lambda s: s.far.frame(s.far.news(STEP))),
    # equivocating
    "a second entry with the number of the last": (
        Equivocation,
        lambda s: s.signed(sequence=2, round=2),
    ),
    "a second entry with an old number": (Equivocation, lambda s: s.signed(sequence=1, round=1)),
    "an entry that names another before it": (Equivocation, lambda s: s.signed(previous=bytes(32))),
    "an entry of a convicted author": (Equivocation, _convicted),
    # malformed
    "another magic": (Malformed, lambda s: _broken(s.author.frame(s.next), 0)),
    "a round that is over": (Malformed, lambda s: s.signed(round=2)),
    "a round that will never be": (Malformed, lambda s: s.signed(round=51)),
    "a road that starts behind its end": (Malformed, lambda s: _rebased(s, 3)),
    "a payload that is no code": (
        Malformed,
        lambda s: s.author.frame(
            News(entry=s.author.sign(STEP, payload_digest=payload_digest(b"")), base=2, payload=b"")
        ),
    ),
    "a pull with a road": (
        Malformed,
        lambda s: s.raw(s.control("pull", pack_body(PULL)), pack_body(PULL), base=1),
    ),
    "a pull with another body": (Malformed, lambda s: s.plain("pull", b"\xc0")),
    "heads out of order": (
        Malformed,
        lambda s: s.plain("heads", pack_body(Heads(heads=(HEAD, replace(HEAD, sequence=2))))),
    ),
    "a proof of nothing": (
        Malformed,
        lambda s: s.author.frame(Alert(proof=_harmless_proof(s))),
    ),
    "a proof against an unknown key": (
        NotAMember,
        lambda s: s.author.frame(Alert(proof=s.equivocation(s.stranger))),
    ),
    "a proof with a broken signature": (
        BadSignature,
        lambda s: s.author.frame(Alert(proof=_broken(s.equivocation(s.far), -3))),
    ),
    "a proof from another network": (
        WrongNetwork,
        lambda s: s.author.frame(
            Alert(proof=s.equivocation(s.speaker(STRANGER, network_id=bytes(16))))
        ),
    ),
}
HEAD = Head(author=b"a" * 32, sequence=1, hash=bytes(32))


def _harmless_proof(scene: Scene) -> bytes:
    return canonical.pack(sorted(news.entry.pack() for news in scene.past))


def _public(scene: Scene) -> GroupKey:
    key = GroupKey(PUBLIC_EPOCH, b"p" * 32)
    scene.state.group_keys[PUBLIC_EPOCH] = key
    return key


@pytest.mark.parametrize("what", REFUSED)
def test_each_false_frame_has_its_reason_and_changes_nothing(what: str) -> None:
    error, lie = REFUSED[what]
    scene = Scene()
    truth = scene.author.frame(scene.next)
    frame = lie(scene)
    before = scene.everything()
    with pytest.raises(RemoteError) as refusal:
        scene.take(frame)
    assert isinstance(refusal.value, error)
    assert refusal.value.reason == error.reason
    assert scene.everything() == before
    if "convicted" not in what:
        scene.take(truth)  # refused, and repaired
        assert scene.state.feeds[scene.keys(1)].sequence == 3


def _reasons(error: type[RemoteError]) -> set[str]:
    return {error.reason}.union(*(_reasons(kind) for kind in error.__subclasses__()))


def test_the_table_has_every_reason() -> None:
    assert {error.reason for error, _ in REFUSED.values()} == _reasons(RemoteError) - {"refused"}


TRUE_WORDS: dict[str, Callable[[Scene], Control]] = {
    "hello": lambda s: Hello(certificate=s.certificate(1), heads=(HEAD,), serial=3),
    "heads": lambda s: Heads(heads=(HEAD,)),
    "pull": lambda s: PULL,
    "witness": lambda s: Witness(entry=s.past[0].entry.pack()),
    "alert": lambda s: Alert(proof=s.equivocation(s.far)),
    "bulletin": lambda s: BulletinNews(bulletin=s.village.bulletin.to_bytes()),
    "beacons": lambda s: Beacons(beacons=(s.village.beacon(1, 5),)),
}


def test_there_is_a_true_word_of_each_kind() -> None:
    assert {KIND_OF[type(make(Scene()))] for make in TRUE_WORDS.values()} == set(TRUE_WORDS)


@pytest.mark.parametrize("kind", TRUE_WORDS)
def test_what_a_member_says_is_heard_once(kind: str) -> None:
    scene = Scene()
    message = TRUE_WORDS[kind](scene)
    frame = scene.author.frame(message)
    letter = scene.take(frame, scene.keys(1))
    assert isinstance(letter, wire.Letter)
    assert (letter.author, letter.message) == (scene.keys(1), message)
    with pytest.raises(Replayed):
        scene.take(frame, scene.keys(1))


@pytest.mark.parametrize("kind", TRUE_WORDS)
def test_a_word_is_heard_from_its_author_alone(kind: str) -> None:
    """A member that passes on another's words must not use up their counters."""
    scene = Scene()
    frame = scene.author.frame(TRUE_WORDS[kind](scene))
    before = scene.everything()
    with pytest.raises(Malformed, match="another peer"):
        scene.take(frame, scene.keys(4))
    assert scene.everything() == before
    scene.take(frame, scene.keys(1))


def test_news_is_heard_from_anybody() -> None:
    scene = Scene()
    scene.take(scene.author.frame(scene.next), scene.keys(4))
    assert scene.state.feeds[scene.keys(1)].sequence == 3


@pytest.mark.parametrize("kind", ["hello", "bulletin"])
def test_how_to_get_the_group_key_may_be_public(kind: str) -> None:
    scene = Scene()
    scene.take(scene.author.frame(TRUE_WORDS[kind](scene), key=_public(scene)), scene.keys(1))


def test_a_newcomer_is_let_in_by_the_certificate_that_it_shows() -> None:
    scene = Scene()
    newcomer = Identity.generate(entropy_of("newcomer"))
    speaker = scene.speaker(newcomer)
    with pytest.raises(NotAMember):
        scene.take(speaker.frame(PULL))
    letter = scene.take(scene.hello(scene.certificate(7, newcomer), speaker))
    assert isinstance(letter, wire.Letter)
    assert letter.author == newcomer.verify_key


def test_a_proof_against_a_far_member_counts_though_its_certificate_was_never_shown() -> None:
    scene = Scene()
    del scene.door.roster._certificates[scene.keys(2)]
    scene.take(scene.author.frame(Alert(proof=scene.equivocation(scene.far))))


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1])
def test_what_is_sealed_is_what_comes_out(size: int) -> None:
    key, body = GroupKey(3, bytes(32)), bytes(range(256)) * (size // 256) + bytes(size % 256)
    frame = seal_frame(
        header=b"head", signature=b"s" * 64, base=2**64 - 1, body=body, key=key, nonce=b"n" * 24
    )
    parts = split_frame(frame, len(frame))
    assert (parts.header, parts.signature, parts.nonce) == (b"head", b"s" * 64, b"n" * 24)
    assert (parts.epoch, parts.base) == (3, 2**64 - 1)
    assert open_body(parts, key) == body
    with pytest.raises(OverLong):
        split_frame(frame, len(frame) - 1)


def test_an_outsider_reads_who_speaks_and_nothing_else() -> None:
    scene = Scene()
    frame = scene.author.frame(scene.next)
    assert scene.keys(1) in frame
    assert bytes(scene.next.payload) not in frame
    again = scene.author.frame(scene.next)
    assert frame[-len(scene.next.payload) :] != again[-len(again) :]


FRAMES: dict[str, Callable[[Scene], bytes]] = {
    "delta": lambda s: s.author.frame(s.next),
    "snapshot": lambda s: s.author.frame(
        replace(
            s.next,
            base=0,
            payload=integers.encode(difference(s.author.feed.copy + STEP, s.author.feed.genesis)),
        )
    ),
    **{kind: lambda s, make=make: s.author.frame(make(s)) for kind, make in TRUE_WORDS.items()},
}


@pytest.mark.parametrize("what", FRAMES)
def test_one_flipped_bit_anywhere_is_refused_and_a_clean_copy_repairs(what: str) -> None:
    scene = Scene()
    frame = FRAMES[what](scene)
    before = scene.everything()
    reasons = set()
    for bit in range(len(frame) * 8):
        flipped = bytearray(frame)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RemoteError) as refusal:
            scene.take(bytes(flipped))
        reasons.add(refusal.value.reason)
    assert {"malformed", "bad-signature", "tampered", "unknown-key"} <= reasons
    assert scene.everything() == before
    scene.take(frame)
    assert scene.everything() != before


def test_limits_hold_before_the_seal_is_opened() -> None:
    """The work that a long frame costs is none: it has no valid seal, and nobody notices."""
    scene = Scene()
    for kind, limit in MAX_BODY_BYTES.items():
        scene.door.max_frame_bytes = 2**22
        frame = bytearray(scene.plain(kind, bytes(limit + 1)))
        frame[-1] ^= 1
        with pytest.raises(OverLong):
            scene.take(bytes(frame))
