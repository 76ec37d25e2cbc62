"""Only two who hold their keys get a channel, and nothing on it can be read, changed or moved."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.crypto.errors import BadSignature, Malformed, RemoteError, Tampered
from tidings.crypto.identity import Identity
from tidings.peer.transports.mqtt.handshake import Channel, Dial, Pair, answer, kind_of
from tidings.peer.transports.mqtt.packets import Kind

DIALLER, ANSWERER, OTHER = (Identity.from_seed(bytes([n]) * 32) for n in (1, 2, 3))
PAIR = Pair(network_id=bytes(16), dialler=DIALLER.verify_key, answerer=ANSWERER.verify_key)


def shake() -> tuple[Channel, Channel]:
    dial = Dial(DIALLER, PAIR, os.urandom)
    answered = answer(ANSWERER, PAIR, dial.offer(), os.urandom)
    channel, confirmation = dial.confirm(answered.answer)
    answered.check(confirmation)
    return channel, answered.channel


def test_both_ends_get_the_same_session_and_every_session_is_another():
    (one, two), (three, _) = shake(), shake()
    assert one.session == two.session != three.session
    for sender, receiver in ((one, two), (two, one)):
        packet = sender.seal(Kind.DATA, b"secret text")
        assert b"secret text" not in packet
        assert receiver.open(packet) == (Kind.DATA, 1, b"secret text")
        with pytest.raises(Tampered):
            sender.open(packet)  # not to be turned around
        with pytest.raises(Tampered):
            three.open(packet)


def test_the_same_body_is_never_sealed_the_same():
    one, _ = shake()
    assert one.seal(Kind.STATE, b"beat")[26:] != one.seal(Kind.STATE, b"beat")[26:]


@given(st.data())
def test_no_bit_of_a_packet_can_be_changed(data):
    one, two = shake()
    packet = bytearray(one.seal(Kind.DATA, b"body"))
    packet[data.draw(st.integers(0, len(packet) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(RemoteError):
        two.open(bytes(packet))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_packet_or_a_remote_error(data):
    dial = Dial(DIALLER, PAIR, os.urandom)
    answered = answer(ANSWERER, PAIR, dial.offer(), os.urandom)
    kind_of(data)
    for read in (
        dial.confirm,
        answered.check,
        answered.channel.open,
        lambda data: answer(ANSWERER, PAIR, data, os.urandom),
    ):
        with pytest.raises(RemoteError):
            read(data)


@pytest.mark.parametrize("field", ["network_id", "dialler", "answerer"])
def test_a_proof_for_one_network_and_pair_is_none_for_another(field):
    elsewhere = replace(PAIR, **{field: b"\7" * (16 if field == "network_id" else 32)})
    dial = Dial(DIALLER, PAIR, os.urandom)
    with pytest.raises(BadSignature):
        answer(ANSWERER, elsewhere, dial.offer(), os.urandom)
    foreign = Dial(DIALLER, elsewhere, os.urandom)
    answered = answer(ANSWERER, PAIR, dial.offer(), os.urandom)
    foreign._public, foreign._secret = dial._public, dial._secret
    with pytest.raises(BadSignature):
        foreign.confirm(answered.answer)


def test_who_does_not_hold_the_key_proves_nothing():
    with pytest.raises(BadSignature):
        answer(ANSWERER, PAIR, Dial(OTHER, PAIR, os.urandom).offer(), os.urandom)
    dial = Dial(DIALLER, PAIR, os.urandom)
    with pytest.raises(BadSignature):
        dial.confirm(answer(OTHER, PAIR, dial.offer(), os.urandom).answer)
    answered = answer(ANSWERER, PAIR, dial.offer(), os.urandom)
    _, confirmation = dial.confirm(answered.answer)
    forged = confirmation[:18] + OTHER.sign("mqtt-confirm", answered.signed)
    with pytest.raises(BadSignature):
        answered.check(forged)


def test_a_recorded_handshake_is_of_no_use():
    old = Dial(DIALLER, PAIR, os.urandom)
    old_answer = answer(ANSWERER, PAIR, old.offer(), os.urandom)
    _, old_confirmation = old.confirm(old_answer.answer)
    with pytest.raises(Malformed, match="another offer"):
        Dial(DIALLER, PAIR, os.urandom).confirm(old_answer.answer)
    again = answer(ANSWERER, PAIR, old.offer(), os.urandom)
    with pytest.raises(Malformed, match="another session"):
        again.check(old_confirmation)


def test_an_ephemeral_key_of_small_order_is_refused():
    dial = Dial(DIALLER, PAIR, os.urandom)
    zero = bytes(32)
    offer = bytes([1, Kind.OFFER]) + zero + DIALLER.sign("mqtt-offer", PAIR.signed(zero))
    with pytest.raises(BadSignature, match="cannot be used"):
        answer(ANSWERER, PAIR, offer, os.urandom)
    signed = PAIR.signed(dial._public, zero)
    forged = bytes([1, Kind.ANSWER]) + dial._public + zero + ANSWERER.sign("mqtt-answer", signed)
    with pytest.raises(BadSignature, match="cannot be used"):
        dial.confirm(forged)


def test_a_channel_does_not_show_its_keys():
    channel, _ = shake()
    assert channel._outgoing_key.hex() not in repr(channel)
