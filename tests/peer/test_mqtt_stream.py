"""A link's stream over a network that loses, repeats and reorders; its parts take any bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.crypto.errors import Malformed, OverLong
from tidings.peer.transports.mqtt.delivery import DeliveryQueue
from tidings.peer.transports.mqtt.feed import (
    MAX_BROADCASTS,
    Feed,
    broadcast_digest,
    pack_piece,
)
from tidings.peer.transports.mqtt.limits import MIN_CHUNK_BYTES, MqttLimits
from tidings.peer.transports.mqtt.pacing import Pacer
from tidings.peer.transports.mqtt.packets import (
    Announcement,
    Item,
    ItemKind,
    ItemParser,
    State,
    pack_chunk,
    unpack_chunk,
)
from tidings.peer.transports.mqtt.stream import Inflow, Outflow

SMALL = MqttLimits(chunk_bytes=40, max_frame_bytes=2000, max_buffered_bytes=4000)
INSTANCE = b"instance"


def state_of(inflow: Inflow) -> State:
    return State(next=inflow.next, later=inflow.later, taken=0, wanted=0)


def frame(body: bytes) -> Item:
    return Item(ItemKind.FRAME, 0, body)


@given(
    bodies=st.lists(st.binary(min_size=1, max_size=300), max_size=12),
    fates=st.lists(st.sampled_from(["arrive", "lose", "twice", "last"]), min_size=1, max_size=60),
    acks=st.lists(st.booleans(), min_size=1, max_size=20),
)
def test_whatever_the_network_does_items_arrive_once_and_in_order(bodies, fates, acks):
    outflow, inflow = Outflow(SMALL), Inflow(SMALL)
    for body in bodies:
        outflow.queue(frame(body))
    received: list[bytes] = []
    late: list[tuple[int, bytes]] = []
    now, step = 0.0, 0
    while len(received) < len(bodies) or outflow.stalled_s(now + 1):
        step += 1
        assert step < 5000
        chunk = outflow.next_chunk(now)
        if chunk is None:
            for early in late:
                received += [item.body for item in inflow.take(*early)]
            late = []
            if acks[step % len(acks)] or step > 1000:
                outflow.acknowledged(state_of(inflow), now)
            now += max(0.01, outflow.due_in(now)) if step % 3 else 0.01
            continue
        fate = fates[step % len(fates)] if step < 1000 else "arrive"
        if fate == "last":
            late.append(chunk)
        elif fate != "lose":
            for _ in range(2 if fate == "twice" else 1):
                received += [item.body for item in inflow.take(*chunk)]
    assert received == bodies
    assert inflow.held_bytes == 0
    assert outflow.queued_bytes == 0


def test_no_more_than_the_window_is_under_way():
    limits = MqttLimits()
    outflow = Outflow(limits)
    outflow.queue(frame(bytes(20_000_000)))
    inflow, now, most = Inflow(limits), 0.0, 0
    while not inflow.next or outflow.queued_bytes:
        chunks = []
        while (chunk := outflow.next_chunk(now)) is not None:
            chunks.append(chunk)
        assert len(chunks) <= 8
        assert all(len(data) <= 256 * 1024 for _, data in chunks)
        most = max(most, sum(len(data) for _, data in chunks))
        for chunk in chunks:
            inflow.take(*chunk)
        now += 0.01
        outflow.acknowledged(state_of(inflow), now)
    assert most == 8 * 256 * 1024  # a fast line is used in full


def test_a_slow_line_gets_small_chunks_and_few_of_them():
    pacer, now = Pacer(MqttLimits()), 0.0
    for _ in range(30):
        now += 2.0
        pacer.acknowledged(pacer.chunk_bytes, 1.5, now)
    assert pacer.window_bytes == pacer.chunk_bytes == MIN_CHUNK_BYTES
    for _ in range(300):
        now += 0.1
        pacer.acknowledged(pacer.chunk_bytes, 0.1, now)
    assert pacer.window_bytes == 2**21
    assert pacer.chunk_bytes == 2**18
    before = pacer.window_bytes
    pacer.acknowledged(pacer.chunk_bytes, 0.8, now)  # between half the target and the target
    assert pacer.window_bytes == before


def test_a_chunk_that_was_overtaken_is_sent_again_at_once():
    outflow, inflow = Outflow(SMALL), Inflow(SMALL)
    outflow.queue(frame(bytes(200)))
    inflow.take(*outflow.next_chunk(0.0))
    outflow.acknowledged(state_of(inflow), 0.0)  # the window is two chunks now
    chunks = [outflow.next_chunk(0.0) for _ in range(2)]
    assert outflow.next_chunk(0.0) is None
    inflow.take(*chunks[1])
    outflow.acknowledged(state_of(inflow), 0.1)
    assert outflow.next_chunk(0.1) == chunks[0]


def test_a_chunk_that_nobody_acknowledges_is_sent_again_later_and_later():
    outflow = Outflow(SMALL)
    outflow.queue(frame(b"x"))
    chunk, now, times = outflow.next_chunk(0.0), 0.0, []
    while len(times) < 5:
        now += 0.5
        again = outflow.next_chunk(now)
        if again is not None:
            assert again == chunk
            times.append(now)
    gaps = [b - a for a, b in zip([0.0, *times], times, strict=False)]
    assert gaps == sorted(gaps)
    assert gaps[0] >= 2
    assert gaps[-1] <= 15
    assert outflow.stalled_s(now) == now


def test_what_is_put_first_goes_before_all_that_has_not_begun():
    outflow, inflow = Outflow(SMALL), Inflow(SMALL)
    outflow.queue(frame(b"begun" * 10))
    outflow.queue(frame(b"later"))
    items = inflow.take(*outflow.next_chunk(0.0))
    outflow.acknowledged(state_of(inflow), 0.0)
    outflow.queue(Item(ItemKind.FILL, 3, b"urgent"), first=True)
    while (chunk := outflow.next_chunk(0.0)) is not None:
        items += inflow.take(*chunk)
        outflow.acknowledged(state_of(inflow), 0.0)
    assert [item.body for item in items] == [b"begun" * 10, b"urgent", b"later"]


def test_chunks_far_ahead_are_not_kept():
    inflow = Inflow(SMALL)
    inflow.take(65, b"x")
    assert inflow.held_bytes == 0
    for sequence in range(1, 64):
        inflow.take(sequence, bytes(40))
    assert inflow.held_bytes == 8 * 40
    assert inflow.later == 0xFF


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.binary(max_size=60)), max_size=20))
def test_any_chunks_give_items_or_a_remote_error(chunks):
    inflow = Inflow(SMALL)
    try:
        for sequence, data in chunks:
            inflow.take(sequence, data)
            assert inflow.held_bytes <= 4 * SMALL.max_frame_bytes
    except (Malformed, OverLong):
        pass


def test_an_item_over_the_limit_is_refused_before_its_body_comes():
    parser = ItemParser(100)
    with pytest.raises(OverLong, match="101 bytes"):
        parser.feed(Item(ItemKind.FRAME, 0, bytes(101)).header())
    for bad in (b"\0" * 13, Item(ItemKind.FRAME, 0, b"").header()):
        with pytest.raises(Malformed):
            ItemParser(100).feed(bad)


@given(st.binary(max_size=80))
def test_the_small_forms_take_any_bytes(data):
    for read in (State.unpack, Announcement.unpack, unpack_chunk):
        try:
            value = read(data)
        except Malformed:
            continue
        again = pack_chunk(*value) if read is unpack_chunk else value.pack()
        assert again == data


# -- broadcasts --------------------------------------------------------------------------------


def announced(body: bytes) -> Announcement:
    return Announcement(instance=INSTANCE, digest=broadcast_digest(body), size=len(body))


@given(
    body=st.binary(min_size=1, max_size=400),
    size=st.integers(1, 90),
    order=st.randoms(use_true_random=False),
)
def test_pieces_in_any_order_make_the_broadcast(body, size, order):
    pieces = [pack_piece(INSTANCE, 7, body, at, size) for at in range(0, len(body), size)]
    order.shuffle(pieces)
    feed = Feed(SMALL)
    for piece in pieces[:-1]:
        assert feed.add(piece, 0.0) == 0
        assert feed.claim(7, announced(body)) is None
    assert feed.add(pieces[-1], 0.0) == 0
    assert feed.add(pieces[-1], 0.0) > 0  # in vain
    assert feed.claim(6, announced(body)) is None
    assert feed.claim(7, announced(body)) == body
    assert feed.claim(7, announced(body)) is None


def test_a_broadcast_that_is_not_the_announced_one_is_thrown_away():
    feed = Feed(SMALL)
    feed.add(pack_piece(INSTANCE, 1, b"forged", 0, 6), 0.0)
    assert feed.claim(1, announced(b"honest")) is None
    feed.add(pack_piece(INSTANCE, 1, b"honest", 0, 6), 0.0)
    assert feed.claim(1, announced(b"honest")) == b"honest"


def test_pieces_that_nobody_announces_are_bounded():
    limits = replace(SMALL, max_broadcast_bytes=10_000)
    feed = Feed(limits)
    for number in range(500):
        feed.add(pack_piece(INSTANCE, number, bytes(1000), 0, 500), 0.0)
        assert feed._cost_bytes <= 10_000
    newest = sorted(number for _, number in feed._partials)
    assert newest == list(range(500 - len(newest), 500))
    many = Feed(MqttLimits())
    for number in range(500):
        many.add(pack_piece(INSTANCE, number, b"xy", 0, 1), 0.0)
    assert len(many._partials) == MAX_BROADCASTS
    feed.forget(INSTANCE, 498)
    assert [number for _, number in feed._partials] == [499]
    feed.clear()
    assert feed._cost_bytes == 0


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 99), st.integers(1, 400)), max_size=60))
def test_what_a_feed_got_is_kept_or_was_in_vain(pieces):
    feed = Feed(replace(SMALL, max_broadcast_bytes=3000))
    came = wasted = 0
    for number, at, size in pieces:
        wasted += feed.add(pack_piece(INSTANCE, number, bytes(1000), at, size), 0.0)
        came += size
    kept = sum(partial.received for partial in feed._partials.values())
    assert kept <= came <= kept + wasted


@given(st.binary(max_size=120))
def test_any_message_on_a_feed_is_a_piece_or_malformed(data):
    feed = Feed(SMALL)
    for message in (data, pack_piece(INSTANCE, 1, b"abc", 0, 3)[:2] + data):
        try:
            feed.add(message, 0.0)
        except Malformed:
            continue
        assert feed._cost_bytes > 0


def test_frames_wait_behind_a_broadcast_that_is_missing_and_it_is_asked_for_once():
    feed = Feed(SMALL)
    queue = DeliveryQueue(feed)
    body = b"the broadcast"
    queue.add(Item(ItemKind.ANNOUNCEMENT, 4, announced(body).pack()), 0.0)
    queue.add(frame(b"behind"), 0.0)
    assert queue.next(0.0) is None
    assert not queue.look(2.9, 3.0)
    feed.add(pack_piece(INSTANCE, 4, body, 0, 5), 2.9)
    assert not queue.look(5.0, 3.0)  # there is progress
    assert queue.look(6.0, 3.0)
    assert not queue.look(60.0, 3.0)
    assert (queue.wanted, queue.taken) == (4, 0)
    queue.add(Item(ItemKind.FILL, 4, body), 6.0)
    queue.add(Item(ItemKind.FILL, 4, b"a second one"), 6.0)
    frames = [queue.next(6.0), queue.next(6.0), queue.next(6.0)]
    assert frames == [body, b"behind", None]
    assert queue.taken == 4
    for given_out in frames[:2]:
        queue.delivered(given_out)
    assert queue.held_bytes == 0
    assert not feed._partials


def test_empty_announcements_are_counted_as_memory():
    queue = DeliveryQueue(Feed(SMALL))
    for number in range(1000):
        queue.add(Item(ItemKind.ANNOUNCEMENT, number, announced(b"x").pack()), 0.0)
    assert queue.held_bytes >= 500_000


def test_the_delay_of_a_chunk_that_was_sent_twice_is_not_believed():
    outflow, inflow = Outflow(SMALL), Inflow(SMALL)
    outflow.queue(frame(b"x"))
    chunk = outflow.next_chunk(0.0)
    assert outflow.next_chunk(10.0) == chunk
    inflow.take(*chunk)
    outflow.acknowledged(state_of(inflow), 10.01)  # of which of the two?
    outflow.queue(frame(b"y"))
    outflow.next_chunk(11.0)
    assert outflow.due_in(11.0) == 4 * SMALL.target_delay_s  # as if nothing were known
