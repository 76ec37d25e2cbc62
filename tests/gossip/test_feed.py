"""Every road leads a follower to its author's bytes; what leads elsewhere is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gossip.author import Author
from tests.helpers import Village
from tidings.crypto.errors import (
    Malformed,
    RemoteError,
    Replayed,
    StorageError,
    Tampered,
    WrongShape,
    WrongState,
)
from tidings.gossip import integers
from tidings.gossip.feed import (
    KEPT_DELTA_COPIES,
    KEPT_DELTAS,
    KEPT_ENTRIES,
    KEPT_ROADS,
    KEPT_VERSIONS,
    Delta,
    EquivocationProven,
    Feed,
    Gap,
    payload_digest,
)
from tidings.gossip.grid import GridVector, add, difference, state_hash
from tidings.gossip.messages import News
from tidings.gossip.proof import verify_proof

SIZE = 40
VILLAGE = Village(3, parameters=SIZE)
PROPERTY = settings(derandomize=True, deadline=None, max_examples=60)


def new_author() -> Author:
    return Author.of(VILLAGE, 1)


def follower(author: Author) -> Feed:
    return Feed(author.identity.verify_key, VILLAGE.genesis)


def vector(seed: int, scale: int, sparse: bool = False, size: int = SIZE) -> GridVector:
    rng = np.random.default_rng(seed)
    step = np.rint(rng.normal(size=size) * scale).astype(np.int32)
    if sparse:
        step[rng.random(size) < 0.9] = 0
    return step


def everything(feed: Feed) -> tuple[Any, ...]:
    """All that a feed holds, to compare."""
    return (
        feed.entry,
        feed.copy.tobytes(),
        [(d.sequence, bytes(d.payload)) for d in feed.deltas],
        [(v.round, v.copy.tobytes()) for v in feed.versions],
        dict(feed._entries),
    )


# steps that wander, that stand still, and that lead back to where the feed began
STEPS = st.one_of(
    st.builds(vector, st.integers(0, 999), st.sampled_from([0, 1, 30, 2000, 2**20]), st.booleans()),
    st.just("back"),
)


@PROPERTY
@given(st.lists(STEPS, min_size=1, max_size=12), st.data())
def test_every_road_leads_to_the_heads_exact_bytes(
    steps: list[GridVector | str], data: st.DataObject
) -> None:
    author = new_author()
    holders = [follower(author)]  # holder n is up to entry n
    for step in steps:
        back = difference(author.feed.genesis, author.feed.copy)
        author.publish(back if isinstance(step, str) else step)
        news = author.feed.road_from(holders[-1].sequence)
        assert news is not None
        upto_date = Feed(author.feed.author, VILLAGE.genesis)
        upto_date.__dict__.update({k: _copied(v) for k, v in vars(holders[-1]).items()})
        upto_date.extend(news)
        holders.append(upto_date)
    # any follower may show the road, not the author alone
    guide = data.draw(st.sampled_from([author.feed, holders[-1]]))
    for base, holder in enumerate(holders):
        news = guide.road_from(base)
        if base == len(steps):
            assert news is None
            continue
        assert news is not None
        assert len(news.payload) <= holder.max_payload_bytes
        _assert_cheapest(news, guide, base)
        holder.extend(news)
        assert holder.copy.tobytes() == author.feed.copy.tobytes()
        assert state_hash(holder.copy) == news.entry.header.state
        assert holder.entry == author.feed.entry


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, (list, dict)) or hasattr(value, "popleft") else value


def _assert_cheapest(news: News, guide: Feed, base: int) -> None:
    missed = [delta for delta in guide.deltas if delta.sequence > base]
    if len(missed) == guide.sequence - base == 1:
        assert news.payload == missed[0].payload  # as it was signed, and nothing is encoded
        return
    costs = [len(integers.encode(difference(guide.copy, guide.genesis)))]
    if len(missed) == guide.sequence - base:
        steps = [integers.decode(delta.payload, SIZE) for delta in missed]
        costs.append(len(integers.encode(np.sum(steps, axis=0, dtype=np.int32))))
    assert len(news.payload) == min(costs)


def test_catching_up_costs_about_one_message() -> None:
    """k rounds apart, one sum: its values are larger by sqrt(k), so a few bits, not k messages."""
    size, k = 50_000, 10
    village = Village(2, parameters=size)
    author = Author.of(village, 1)
    # far from the start, the whole copy is the dearest road
    author.publish(vector(99, 10_000_000, size=size))
    late = Feed(author.feed.author, village.genesis)
    first = author.feed.road_from(0)
    assert first is not None
    late.extend(first)
    costs = [len(author.publish(vector(i, 40, size=size)).payload) for i in range(k)]
    news = author.feed.road_from(1)
    assert news is not None
    assert (news.base, news.road) == (1, "sum")
    assert len(news.payload) < 1.3 * np.mean(costs)
    late.extend(news)
    assert (late.copy == author.feed.copy).all()


def test_sparse_deltas_of_many_rounds_are_summed_too() -> None:
    size, k = 20_000, 20
    village = Village(2, parameters=size)
    author = Author.of(village, 1)
    author.publish(vector(99, 10_000_000, size=size))
    base = author.feed.copy
    costs = [len(author.publish(vector(i, 40, sparse=True, size=size)).payload) for i in range(k)]
    news = author.feed.road_from(1)
    assert news is not None
    assert (news.base, news.road) == (1, "sum")
    assert len(news.payload) < sum(costs) / 2
    assert (add(base, integers.decode(news.payload, size)) == author.feed.copy).all()


def test_a_late_joiner_gets_one_snapshot_from_anybody() -> None:
    author = new_author()
    other = follower(author)
    for i in range(200):
        other.extend(author.publish(vector(i, 3000)))
    assert len(other.deltas) <= KEPT_DELTAS
    news = other.road_from(0)
    assert news is not None
    assert (news.base, news.road) == (0, "snapshot")
    late = follower(author)
    late.extend(news)
    assert (late.copy == author.feed.copy).all()
    assert late.sequence == 200
    # and it can help the next one, with what it has
    again = late.road_from(0)
    assert again is not None
    third = follower(author)
    third.extend(again)
    assert (third.copy == author.feed.copy).all()


# -- what is refused -----------------------------------------------------------------------------


@dataclass
class Scene:
    """An author three entries ahead of nobody, and a follower that holds them all."""

    author: Author = field(default_factory=new_author)

    def __post_init__(self) -> None:
        self.feed = follower(self.author)
        self.past = [self.author.publish(vector(i, 50)) for i in range(3)]
        for news in self.past:
            self.feed.extend(news)
        self.next = self.author.news(STEP)

    def signed(self, **changed: Any) -> News:
        return replace(self.next, entry=self.author.sign(STEP, **changed))


STEP = vector(77, 50)
OTHER = vector(78, 50)
OTHER_CODE = integers.encode(OTHER)
LONG_CODE = integers.encode(np.ones(SIZE + 1, dtype=np.int32))
NO_CODE = integers.encode(OTHER)[:5] + b"\7 is no form of a block"
REFUSED: dict[str, tuple[type[RemoteError], Callable[[Scene], News]]] = {
    "the newest again": (Replayed, lambda s: s.past[2]),
    "an old one, honest but stale": (Replayed, lambda s: s.past[0]),
    "a gap": (Gap, lambda s: replace(s.signed(sequence=6, round=6), base=5)),
    "a road from the past": (Gap, lambda s: replace(s.next, base=2)),
    "no later round": (Malformed, lambda s: s.signed(round=3)),
    "a second truth": (EquivocationProven, lambda s: s.signed(sequence=3, round=3)),
    "a second truth, long ago": (EquivocationProven, lambda s: s.signed(sequence=1, round=9)),
    "no heir of the last": (EquivocationProven, lambda s: s.signed(previous=bytes(32))),
    "another payload": (Tampered, lambda s: replace(s.next, payload=OTHER_CODE)),
    "a payload cut off": (Tampered, lambda s: replace(s.next, payload=s.next.payload[:-1])),
    "no payload": (Tampered, lambda s: replace(s.next, payload=b"")),
    "another state": (WrongState, lambda s: s.signed(state=bytes(32))),
    "a snapshot of another copy": (WrongState, lambda s: replace(s.next, base=0)),
    "a snapshot that is no code": (Malformed, lambda s: replace(s.next, base=0, payload=NO_CODE)),
    "a snapshot of another size": (
        WrongShape,
        lambda s: replace(s.next, base=0, payload=LONG_CODE),
    ),
    "a model of another size": (
        WrongShape,
        lambda s: replace(
            s.signed(payload_digest=payload_digest(LONG_CODE)),
            payload=LONG_CODE,
        ),
    ),
    "off the grid": (
        WrongState,
        lambda s: replace(
            s.next, base=0, payload=integers.encode(np.full(SIZE, 2**31 - 1, dtype=np.int32))
        ),
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_leads_elsewhere_is_refused_and_changes_nothing(what: str) -> None:
    error, lie = REFUSED[what]
    scene = Scene()
    before = everything(scene.feed)
    with pytest.raises(RemoteError) as refusal:
        scene.feed.extend(lie(scene))
    assert type(refusal.value) is error
    assert everything(scene.feed) == before
    scene.feed.extend(scene.next)  # and the truth is welcome afterwards
    assert state_hash(scene.feed.copy) == scene.next.entry.header.state


def test_a_gap_names_the_feed_to_pull() -> None:
    scene = Scene()
    with pytest.raises(Gap) as refusal:
        scene.feed.extend(REFUSED["a gap"][1](scene))
    assert refusal.value.feed == scene.author.identity.verify_key


@pytest.mark.parametrize("what", [name for name, row in REFUSED.items() if "second" in name])
def test_equivocation_comes_with_a_proof_that_convicts(what: str) -> None:
    scene = Scene()
    with pytest.raises(EquivocationProven) as refusal:
        scene.feed.extend(REFUSED[what][1](scene))
    convicted, _ = verify_proof(refusal.value.proof, VILLAGE.network_id)
    assert convicted == scene.author.identity.verify_key


def test_stale_but_honest_entries_are_never_taken_for_equivocation() -> None:
    """Also those that this follower never saw, because one road led past them."""
    author = new_author()
    published = [author.publish(vector(i, 50)) for i in range(8)]
    skipping = follower(author)
    skipping.extend(published[0])
    road = author.feed.road_from(0)
    assert road is not None
    skipping.extend(road)
    for news in published:
        with pytest.raises(Replayed):
            skipping.extend(news)
        skipping.check_honest(news.entry)


def test_an_entry_that_its_known_heir_does_not_name_is_a_second_truth() -> None:
    """Its number was skipped here, but the entry after it is held."""
    author = new_author()
    for i in range(4):
        author.publish(vector(i, 50))
    skipping = follower(author)
    road = author.feed.road_from(0)
    assert road is not None
    skipping.extend(road)
    with pytest.raises(EquivocationProven) as refusal:
        skipping.check_new(author.sign(STEP, sequence=3, round=3))
    assert verify_proof(refusal.value.proof, VILLAGE.network_id) == (author.feed.author, 4)


def test_entries_that_are_forgotten_are_only_old() -> None:
    author = new_author()
    feed = follower(author)
    for i in range(KEPT_ENTRIES + 5):
        feed.extend(author.publish(1 + i % 2))
    assert len(feed._entries) == KEPT_ENTRIES
    lie = author.sign(STEP, sequence=2, round=2)
    feed.check_honest(lie)  # too long ago to tell
    with pytest.raises(Replayed):
        feed.check_new(lie)


def test_the_first_entry_may_be_reached_by_its_delta_or_by_the_whole_copy() -> None:
    """They are the same vector, but the one has the author's own code and digest."""
    author = new_author()
    first = author.publish(STEP)
    by_delta, by_copy = follower(author), follower(author)
    by_delta.extend(first)
    # another code of the same vector, as another version of the codec might make: one block of
    # the form DENSE, with 32 bits for each number
    numbers = ((STEP.astype(np.int64) << 1) ^ (STEP >> 31)).astype("<u4").tobytes()
    code = np.array([SIZE], "<u4").tobytes() + b"\0\x01" + b"\x20\0\0" + numbers
    assert (integers.decode(code, SIZE) == STEP).all()
    by_copy.extend(replace(first, payload=code))
    assert (by_copy.copy == by_delta.copy).all()
    assert len(by_delta.deltas) == 1
    assert not by_copy.deltas  # it is not what the author signed: not to be passed on as that
    road = by_copy.road_from(0)
    assert road is not None
    follower(author).extend(road)


# -- bounds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 3, 1000], ids=["large", "mixed", "tiny"])
def test_what_a_feed_keeps_is_bounded_whatever_its_author_publishes(every: int) -> None:
    author = new_author()
    feed = follower(author)
    zero = np.zeros(SIZE, dtype=np.int32)
    for i in range(1, 200):
        feed.extend(author.publish(zero if i % every else vector(i, 2**24)))
    assert len(feed.deltas) <= KEPT_DELTAS
    assert len(feed.versions) <= KEPT_VERSIONS
    assert len(feed._entries) <= KEPT_ENTRIES
    assert sum(len(d.payload) for d in feed.deltas) <= KEPT_DELTA_COPIES * feed.copy.nbytes


def test_a_neighbour_that_asks_for_every_road_does_not_fill_the_memory() -> None:
    author = new_author()
    for i in range(300):
        author.publish(vector(i, 2**24))
    feed = author.feed
    roads = [feed.road_from(base) for base in range(300)]
    assert all(news is not None for news in roads)
    assert len(feed._roads) == KEPT_ROADS
    snapshots = {id(news.payload) for news in roads if news is not None and news.base == 0}
    assert len(snapshots) == 1  # made once, whoever asks
    assert feed.road_from(299) is not None
    assert feed.road_from(300) is feed.road_from(2**63) is None


def test_roads_are_made_once_and_forgotten_when_the_feed_goes_on() -> None:
    author = new_author()
    for i in range(4):
        author.publish(vector(i, 2**24))
    road, same = author.feed.road_from(2), author.feed.road_from(2)
    assert road is not None
    assert same is not None
    assert road.payload is same.payload
    author.publish(STEP)
    later = author.feed.road_from(2)
    assert later is not None
    assert later.entry.header.sequence == 5
    assert later.payload != road.payload


@pytest.mark.parametrize("size", [0, 1, 100, 4095, 4096, 4097, 20_000])
def test_no_code_is_longer_than_a_payload_may_be(size: int) -> None:
    rng = np.random.default_rng(size)
    feed = Feed(bytes(32), np.zeros(size, dtype=np.int32))
    for low, high in [(-(2**31), 2**31), (-5, 5), (2**31 - 2, 2**31)]:
        v = rng.integers(low, high, size).astype(np.int32)
        v[: size // 2] |= 1
        assert len(integers.encode(v)) <= feed.max_payload_bytes


# -- rounds and restarts -------------------------------------------------------------------------


def test_versions_are_kept_by_round_until_they_are_mixed() -> None:
    author = new_author()
    feed = follower(author)
    for round_ in (1, 2, 5):
        feed.extend(author.publish(vector(round_, 50), round=round_))
    assert [feed.version(r).round for r in (1, 2, 3, 5)] == [1, 2, 5, 5]  # type: ignore[union-attr]
    assert feed.version(6) is None
    feed.forget_versions(2)
    assert feed.version(1).round == 5  # type: ignore[union-attr]
    assert (feed.version(1).copy == author.feed.copy).all()  # type: ignore[union-attr]


def restored(scene: Scene, deltas: list[Delta], copy: GridVector | None = None) -> Feed:
    feed = follower(scene.author)
    held = scene.author.feed
    assert held.entry is not None
    feed.restore(held.entry, held.copy if copy is None else copy, deltas)
    return feed


def test_a_restored_feed_goes_on_and_guides_others() -> None:
    scene = Scene()
    feed = restored(scene, list(scene.author.feed.deltas))
    assert everything(feed)[:3] == everything(scene.author.feed)[:3]
    for base in range(3):
        ours, theirs = feed.road_from(base), scene.author.feed.road_from(base)
        assert ours == theirs
    feed.extend(scene.next)
    with pytest.raises(Replayed):
        feed.extend(scene.next)


def test_stored_deltas_that_do_not_lead_to_the_head_are_left_out() -> None:
    """After a snapshot the older deltas may still be on the disk; their sum leads nowhere."""
    scene = Scene()
    kept = list(scene.author.feed.deltas)
    assert [d.sequence for d in restored(scene, kept[1:]).deltas] == [2, 3]
    assert not restored(scene, kept[:2]).deltas
    assert [d.sequence for d in restored(scene, [kept[0], kept[2]]).deltas] == [3]
    assert [d.sequence for d in restored(scene, kept[::-1]).deltas] == [1, 2, 3]
    for deltas in (kept[1:], kept[:2], [kept[0], kept[2]]):
        news = restored(scene, deltas).road_from(0)
        assert news is not None
        late = follower(scene.author)
        late.extend(news)
        assert (late.copy == scene.author.feed.copy).all()


def test_a_stored_copy_that_was_damaged_is_noticed() -> None:
    scene = Scene()
    damaged = scene.author.feed.copy.copy()
    damaged[3] ^= 1
    with pytest.raises(StorageError, match="not the one of entry 3"):
        restored(scene, [], damaged)
