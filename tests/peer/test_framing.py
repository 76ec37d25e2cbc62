"""Frames survive any cutting of the stream; addresses are read strictly."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.crypto.errors import OverLong, TransportError
from tidings.peer.transports.addresses import parse
from tidings.peer.transports.framing import FrameParser, header

LIMIT = 50


@settings(deadline=None, derandomize=True)
@given(frames=st.lists(st.binary(max_size=LIMIT)), cuts=st.lists(st.integers(1, 70)))
def test_however_the_bytes_arrive_the_same_frames_come_out(frames, cuts):
    stream = b"".join(header(len(frame)) + frame for frame in frames)
    parser = FrameParser(LIMIT)
    received = []
    for size in cuts:
        received += parser.feed(stream[:size])
        stream = stream[size:]
    received += parser.feed(stream)
    assert received == [frame for frame in frames if frame]  # an empty one is a heartbeat


@given(size=st.integers(LIMIT + 1, 2**32 - 1), before=st.binary(min_size=1, max_size=LIMIT))
def test_an_announced_length_over_the_limit_is_refused_before_the_body(size, before):
    parser = FrameParser(LIMIT)
    arriving = parser.feed(header(len(before)) + before + header(size))
    assert next(arriving) == before
    with pytest.raises(OverLong, match=str(size)):
        next(arriving)


def test_a_frame_of_exactly_the_limit_passes():
    assert list(FrameParser(LIMIT).feed(header(LIMIT) + bytes(LIMIT))) == [bytes(LIMIT)]


@pytest.mark.parametrize(
    "text",
    [
        "/ip4/127.0.0.1/tcp/0",
        "/ip6/::1/tcp/65535",
        "/dns4/example.org/tcp/4001/p2p/12D3KooWGRUifrPdFi5tNRsTdMYSpF9JH1qYY6vmHsYyrAbS4UXd",
    ],
)
def test_a_good_address_is_read_and_written_back(text):
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1:4001",
        "/ip4/127.0.0.1",
        "/ip4/127.0.0.1/tcp/65536",
        "/ip4/a b/tcp/1",
        "/ip4//tcp/1",
        "/ip4/127.0.0.1/udp/1/quic-v1",
        "/ip4/127.0.0.1/tcp/1/ws",
        "/ip4/127.0.0.1/tcp/1\n",
    ],
)
def test_anything_else_is_refused_with_the_right_form(text):
    with pytest.raises(TransportError, match=r"/ip4/127\.0\.0\.1/tcp/4001"):
        parse(text)
