"""What neighbours say to each other: repair, equivocation, rollback, revocation, new keys."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.core_kit import Town, stepped
from tests.helpers import entropy_of
from tidings.crypto.identity import short_id
from tidings.crypto.membership import Bulletin, GroupKey
from tidings.gossip import effects as fx
from tidings.gossip import wire
from tidings.gossip.checkpoint import Phase
from tidings.gossip.core import handle
from tidings.gossip.events import (
    Equivocated,
    MembersChanged,
    Mixed,
    Published,
    Received,
    Refused,
    RolledBack,
    Sent,
)
from tidings.gossip.messages import Head, Heads, Hello, News, Pull
from tidings.gossip.proof import verify_proof


def sent(town: Town, index: int, message: str) -> int:
    return sum(event.message == message for event in town.seen(index, Sent))


def roads(town: Town, index: int) -> list[str]:
    return [event.road for event in town.seen(index, Received) if event.message == "news"]


def holds_the_same(town: Town, follower: int, author: int) -> bool:
    held, own = town.states[follower].feeds[town.keys[author]], town.states[author].own
    return held.head_hash == own.head_hash and held.copy.tobytes() == own.copy.tobytes()


# -- repair --------------------------------------------------------------------------------------


def test_a_lost_delta_is_pulled_when_the_next_one_shows_the_gap():
    town = Town(2, rounds=5)
    town.start()
    town.train(0)
    town.mail.clear()
    town.fire(0, "deadline")
    town.train(0)
    assert town.states[0].own.sequence == 2
    town.exchange()
    assert "out-of-order" in town.refusals(1)
    assert roads(town, 1)[-1] in ("sum", "snapshot")
    assert holds_the_same(town, 1, 0)


@pytest.mark.parametrize("place", [-1, -40])
def test_a_flipped_bit_is_refused_as_tampered_and_the_entry_is_repaired(place):
    town = Town(2, rounds=5)
    town.start()
    town.train(1)
    town.train(0)

    def flip(a: int, b: int, frame: bytes | bytearray) -> list[bytes]:
        flipped = bytearray(frame)
        flipped[place] ^= 1
        return [bytes(flipped)] if a == 0 else [bytes(frame)]

    town.exchange(flip)
    assert town.refusals(1) == ["tampered"]
    assert town.states[1].feeds[town.keys[0]].sequence == 0
    assert town.states[1].phase is Phase.WAITING
    town.pass_time(town.rules.deadline_s / 2)  # a nudge is enough
    assert holds_the_same(town, 1, 0)
    assert not any(event.missing for event in town.seen(1, Mixed))


def test_the_last_entry_of_a_feed_is_repaired_too():
    town = Town(2, rounds=1)
    town.start()
    town.train(1)
    town.exchange()
    town.train(0)
    town.mail.clear()
    town.pass_time(2 * town.rules.deadline_s)
    assert [state.phase for state in town.states] == [Phase.FINISHED] * 2
    assert holds_the_same(town, 1, 0)


@pytest.mark.parametrize("lost_from", [{0}, {1}, {0, 1}])
def test_a_lost_hello_is_said_again(lost_from):
    town = Town(2, rounds=5)
    for i in range(2):
        town.give(i, fx.Started())
    town.join(0, 1)
    town.exchange(lambda a, b, frame: [] if a in lost_from else [bytes(frame)])
    town.pass_time(2.5 * town.rules.deadline_s)
    assert [len(state.greeted) for state in town.states] == [1, 1]
    hellos = [sent(town, i, "hello") for i in range(2)]
    town.pass_time(5 * town.rules.deadline_s)
    assert [sent(town, i, "hello") for i in range(2)] == hellos  # and then no more
    town.finish()
    assert holds_the_same(town, 0, 1)
    assert holds_the_same(town, 1, 0)


def test_a_feed_is_brought_by_others_when_its_author_cannot():
    town = Town(3, rounds=5)
    town.start()
    town.part(0, 2)
    town.train(0)
    town.exchange()
    assert holds_the_same(town, 1, 0)
    assert not holds_the_same(town, 2, 0)
    town.pass_time(1.5 * town.rules.deadline_s)  # 1 and 2 compare their heads
    assert holds_the_same(town, 2, 0)
    news = [e for e in town.seen(2, Received) if e.author == short_id(town.keys[0])]
    assert {event.sender for event in news if event.message == "news"} == {short_id(town.keys[1])}


def test_the_same_pull_again_and_again_is_answered_once():
    town = Town(2, rounds=5)
    town.start()
    town.run(2)
    before = sent(town, 0, "news")
    for counter in range(20):
        pull = wire.encode_control(
            Pull(feed=town.keys[0], have=0),
            identity=town.identities[1],
            network_id=town.network_id,
            counter=(9 << 32) + counter,
            key=town.group_key,
            entropy=entropy_of("pull", counter),
        )
        town.give(0, fx.Received(link=town.keys[1], frame=bytes(pull)))
    assert sent(town, 0, "news") == before + 1
    assert not town.refusals(0)


# -- equivocation --------------------------------------------------------------------------------


def complete(members: int, **rules: object) -> Town:
    return Town(members, topology={"kind": "complete", "nodes": members}, rounds=9, **rules)


def two_truths(town: Town, author: int, deceived: int) -> None:
    """``author`` publishes; ``deceived`` is told another entry with the same number."""
    twin = town.make_state(author, boot=7)
    job = town.jobs[author]
    assert job is not None
    town.train(author)
    twin.phase, twin.up, twin.greeted = Phase.TRAINING, {town.keys[deceived]}, {town.keys[deceived]}
    z = stepped(job.model, 12345)
    lies = [
        effect.frame
        for effect in handle(twin, fx.Trained(round=1, release=town.release(1, z)), town.now)
        if isinstance(effect, fx.Send)
    ]
    assert len(lies) == 1

    def deceive(a: int, b: int, frame: bytes | bytearray) -> list[bytes]:
        return [bytes(lies[0])] if (a, b) == (author, deceived) and lies else [bytes(frame)]

    town.exchange(deceive)


def test_two_truths_are_found_by_comparing_heads_and_the_proof_convinces_a_third():
    town = complete(4)
    town.start()
    two_truths(town, 0, deceived=1)
    author = town.keys[0]
    assert {state.feeds[author].head_hash for state in town.states[1:]} != {
        town.states[0].own.head_hash
    }
    assert not any(town.seen(i, Equivocated) for i in range(4))
    for i in range(1, 4):
        town.give(i, fx.TimerFired(timer="heads"))
    town.exchange()
    for i in range(1, 4):
        (found,) = town.seen(i, Equivocated)  # once each
        assert (found.author, found.sequence) == (short_id(author), 1)
        assert town.states[i].excluded(author)
        assert not town.states[i].may_link(author)
        # nobody has to be believed: the proof stands alone
        assert verify_proof(bytes.fromhex(found.proof), town.network_id) == (author, 1)
        assert town.kept[i][-1].proofs == (bytes.fromhex(found.proof),)
    # each passed it on once, to its three neighbours, and nothing goes round for ever
    assert [sent(town, i, "alert") for i in range(1, 4)] == [3, 3, 3]
    town.pass_time(3 * town.rules.deadline_s)
    assert [sent(town, i, "alert") for i in range(1, 4)] == [3, 3, 3]


def test_nobody_mixes_with_a_convict_or_waits_for_it_and_newcomers_hear_of_it():
    town = complete(4)
    town.start()
    town.crash(3)
    two_truths(town, 0, deceived=1)
    for i in (1, 2):
        town.give(i, fx.TimerFired(timer="heads"))
    town.exchange()
    for i in (1, 2):
        town.train(i)
    town.exchange()
    for i in (1, 2):
        mixed = town.seen(i, Mixed)[0]
        assert short_id(town.keys[0]) in mixed.missing
        assert short_id(town.keys[0]) not in mixed.neighbours
        assert town.states[i].round == 2
    town.restart(3)
    town.exchange()
    assert town.states[3].excluded(town.keys[0])
    after = town.restart(1)
    assert after.excluded(town.keys[0])  # a conviction survives a crash


def test_a_convict_that_learns_of_it_publishes_no_more():
    town = complete(3)
    town.start()
    two_truths(town, 0, deceived=1)
    for i in (1, 2):
        town.give(i, fx.TimerFired(timer="heads"))
    town.exchange()
    assert town.states[0].phase is Phase.OBSERVING
    town.jobs[0] = None
    assert town.restart(0).phase is Phase.OBSERVING
    assert town.jobs[0] is None


def test_a_false_alarm_convicts_nobody():
    town = complete(3)
    town.start()
    town.run(1)
    forged = Head(author=town.keys[0], sequence=1, hash=bytes(range(32)))
    frame = wire.encode_control(
        Heads(heads=(forged,)),
        identity=town.identities[1],
        network_id=town.network_id,
        counter=9 << 32,
        key=town.group_key,
        entropy=entropy_of("forged"),
    )
    town.give(2, fx.Received(link=town.keys[1], frame=bytes(frame)))
    assert sent(town, 2, "witness") == 1
    town.exchange()
    assert not any(town.seen(i, Equivocated) for i in range(3))


# -- rollback ------------------------------------------------------------------------------------


def test_a_peer_put_back_from_a_backup_never_publishes_again():
    town = Town(3, rounds=9)
    town.start()
    town.run(1)
    backup = len(town.kept[0])
    town.run(3)
    published = len(town.seen(0, Published))
    state = town.restart(0, kept=backup)
    town.exchange()
    assert state.phase is Phase.OBSERVING
    assert town.seen(0, RolledBack)[0].seen_sequence == 4
    assert town.jobs[0] is None
    town.finish()
    assert len(town.seen(0, Published)) == published
    assert town.restart(0).phase is Phase.OBSERVING  # nor after another start
    for i in range(3):
        assert not town.seen(i, Equivocated)


def test_a_lost_database_counts_as_a_backup():
    town = Town(2, rounds=9)
    town.start()
    town.run(2)
    state = town.restart(0, kept=0)
    town.exchange()
    assert state.phase is Phase.OBSERVING


def test_what_was_learnt_is_held_back_until_the_neighbours_have_been_asked():
    """The race that matters: training is over before the neighbour has shown the entry."""
    town = Town(2, rounds=9)
    town.start()
    town.run(1)
    backup = len(town.kept[0])
    town.run(2)
    town.crash(0)
    town.crash(1)
    state = town.restart(0, kept=backup)
    town.pass_time(town.rules.deadline_s + 0.1)  # alone: it gathered, and trains
    assert town.jobs[0] is not None
    town.restart(1)
    # hellos cross; what peer 1 answers to the pull is still on its way
    mail = list(town.mail)
    town.mail.clear()
    for a, b, frame in mail:
        town.give(b, fx.Received(link=town.keys[a], frame=bytes(frame)))
    assert state.claims
    published = len(town.seen(0, Published))
    town.train(0)
    assert len(town.seen(0, Published)) == published
    town.exchange()
    assert state.phase is Phase.OBSERVING
    assert not town.seen(1, Equivocated)


def boast(town: Town, index: int, counter: int) -> bytes:
    """A hello of ``index`` that claims to hold entry 7 of peer 0."""
    hello = Hello(
        certificate=town.certificates[index].to_bytes(),
        heads=(Head(author=town.keys[0], sequence=7, hash=bytes(range(32))),),
        serial=1,
    )
    state = town.states[index]
    return bytes(
        wire.encode_control(
            hello,
            identity=town.identities[index],
            network_id=town.network_id,
            counter=counter,
            key=state.public_key,
            entropy=entropy_of("boast", counter),
        )
    )


def test_a_neighbour_that_only_claims_so_costs_one_deadline_once():
    town = Town(2, rounds=9)
    town.start()
    state = town.states[0]
    town.give(0, fx.Received(link=town.keys[1], frame=boast(town, 1, 9 << 32)))
    town.train(0)
    town.mail.clear()
    assert state.phase is Phase.TRAINING
    assert not town.seen(0, Published)
    town.pass_time(town.rules.deadline_s + 0.1)
    assert [event.sequence for event in town.seen(0, Published)] == [1]
    assert sent(town, 0, "pull") >= 4  # it was asked for more than once
    # the second time nobody listens
    town.pass_time(town.rules.deadline_s + 0.1)
    assert town.jobs[0] is not None
    town.give(0, fx.Received(link=town.keys[1], frame=boast(town, 1, 10 << 32)))
    town.train(0)
    assert [event.sequence for event in town.seen(0, Published)] == [1, 2]


def test_a_claim_while_gathering_delays_the_start_and_does_not_stop_it():
    town = Town(2, rounds=9)
    for i in range(2):
        town.give(i, fx.Started())
    town.join(0, 1)
    town.mail.clear()
    town.give(0, fx.Received(link=town.keys[1], frame=boast(town, 1, 9 << 32)))
    assert town.states[0].phase is Phase.GATHERING
    town.pass_time(1.1 * town.rules.deadline_s)
    assert town.states[0].phase is Phase.TRAINING


# -- bulletins -----------------------------------------------------------------------------------


def take(town: Town, index: int, bulletin: Bulletin) -> None:
    """A member's owner brings it a new admission: it starts again with that bulletin."""
    town.bulletin, before = bulletin, town.bulletin
    town.restart(index)
    town.bulletin = before


def test_a_revoked_neighbour_is_cut_off_and_no_longer_waited_for():
    town = complete(3)
    town.start()
    town.run(1)
    town.train(0)
    town.exchange()
    news = town.issue_bulletin(2, revoked=[1], key=GroupKey.generate(2, entropy_of("key 2")))
    cut: list[bytes] = []
    give = town.give

    def watching(index: int, event: fx.Input) -> list[fx.Effect]:
        effects = give(index, event)
        if index == 0:
            cut.extend(e.link for e in effects if isinstance(e, fx.Disconnect))
        return effects

    town.give = watching  # type: ignore[method-assign]
    take(town, 2, news)
    town.exchange()
    assert cut == [town.keys[1]]
    for i in (0, 2):
        assert not town.states[i].may_link(town.keys[1])
    changed = town.seen(0, MembersChanged)
    assert [(e.serial, e.revoked, e.key_epoch) for e in changed] == [
        (2, (short_id(town.keys[1]),), 2)
    ]
    town.fire(2, "gather")  # node 1 might have been given to another device
    town.train(2)
    town.exchange()
    assert town.states[0].round == 3  # it waited for 2 alone


def test_the_new_key_reaches_those_who_have_only_the_old_one():
    town = Town(3, rounds=9)
    town.start()
    town.run(1)
    news = town.issue_bulletin(2, key=GroupKey.generate(2, entropy_of("key 2")))
    take(town, 0, news)  # it has only the new key now, the others only the old one
    town.exchange()
    for i in range(3):
        newest = town.states[i].newest_key()
        assert newest is not None
        assert newest.epoch == 2
    town.run(2)
    assert town.states[0].round == 4
    assert holds_the_same(town, 1, 0)
    assert holds_the_same(town, 0, 1)
    # it is passed on, not asked for: and a peer that restarts still has it
    assert town.restart(2).newest_key() == newest


def test_a_revoked_peer_that_hears_of_it_publishes_no_more():
    town = complete(3)
    town.start()
    town.run(1)
    news = town.issue_bulletin(2, revoked=[1], key=GroupKey.generate(2, entropy_of("key 2")))
    take(town, 2, news)
    town.exchange()
    state = town.states[1]
    assert state.phase is Phase.OBSERVING
    assert not state.rolled_back
    published = len(town.seen(1, Published))
    town.finish()
    assert len(town.seen(1, Published)) == published
    assert town.restart(1).phase is Phase.OBSERVING


def test_what_a_revoked_peer_says_is_refused():
    town = complete(3)
    town.start()
    town.run(1)
    town.states[0].take_bulletin(town.issue_bulletin(2, revoked=[1]))
    town.train(1)
    town.exchange()
    assert set(town.refusals(0)) == {"revoked"}


def test_an_old_bulletin_changes_nothing():
    town = Town(2)
    town.start()
    state = town.states[0]
    assert state.take_bulletin(town.issue_bulletin(3))
    assert not state.take_bulletin(town.issue_bulletin(2, revoked=[1]))
    assert not state.excluded(town.keys[1])


# -- who speaks ------------------------------------------------------------------------------------


def test_nobody_says_hello_for_somebody_else():
    town = complete(3)
    for i in range(3):
        town.give(i, fx.Started())
    town.join(0, 1)
    (letter,) = [m for m in town.mail if m[0] == 1]
    town.join(0, 2)
    town.mail.clear()
    town.give(0, fx.Received(link=town.keys[2], frame=bytes(letter[2])))
    assert [(e.reason, "another peer" in e.detail) for e in town.seen(0, Refused)] == [
        ("malformed", True)
    ]
    assert not town.states[0].greeted


def test_news_may_come_from_anybody():
    town = complete(3)
    town.start()
    town.part(0, 1)
    town.train(0)
    town.exchange()
    news = town.states[2].feeds[town.keys[0]].road_from(0)
    assert isinstance(news, News)
    frame = wire.encode_news(replace(news), key=town.group_key, entropy=entropy_of("relay"))
    town.give(1, fx.Received(link=town.keys[2], frame=bytes(frame)))
    assert holds_the_same(town, 1, 0)
    assert np.array_equal(town.states[1].feeds[town.keys[0]].copy, town.states[0].own.copy)
