"""Many messages of Noise at once: the same bytes in the same order, whatever way they take."""

from __future__ import annotations

import gc
import struct
import weakref
from contextlib import suppress
from types import SimpleNamespace

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.peer.libp2p_kit import LARGE, SMALL, bare_host, dial, open_frames, running
from tidings.peer.transports.framing import header
from tidings.peer.transports.libp2p.imports import ConnectionClosedError
from tidings.peer.transports.libp2p.session import Session

PROPERTY = settings(derandomize=True, deadline=None, max_examples=100)
TAG = b"+" * 16


class Wire:
    """A socket from which bytes come in pieces of given sizes, and that keeps what is written."""

    def __init__(self, data: bytes = b"", sizes: list[int] | None = None) -> None:
        self.data = data
        self.sizes = sizes or []
        self.written: list[bytes] = []

    async def read(self) -> bytes:
        size = self.sizes.pop(0) if self.sizes else len(self.data)
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    async def write(self, data: bytes) -> None:
        self.written.append(data)


class Counting:
    """In place of a cipher: a tag in front, and no secrets."""

    def encrypt_with_ad(self, ad: None, text: bytes) -> bytes:
        return TAG + text

    def decrypt_with_ad(self, ad: None, sealed: memoryview) -> bytes:
        assert sealed[:16] == TAG
        return bytes(sealed[16:])


def session(wire: Wire) -> Session:
    noise = SimpleNamespace(cipher_state_encrypt=Counting(), cipher_state_decrypt=Counting())
    state = SimpleNamespace(noise_protocol=noise)
    return Session(SimpleNamespace(socket=wire, conn=SimpleNamespace(noise_state=state)))


def sealed(messages: list[bytes]) -> bytes:
    return b"".join((16 + len(text)).to_bytes(2, "big") + TAG + text for text in messages)


MESSAGES = st.lists(st.binary(min_size=1, max_size=40), max_size=12)


@PROPERTY
@given(MESSAGES, st.lists(st.integers(1, 90), max_size=30), st.integers(1, 50))
def test_bytes_come_as_they_were_sent_however_they_arrive(messages, sizes, n):
    async def main() -> bytes:
        got, taken = session(Wire(sealed(messages), sizes)), b""
        with suppress(ConnectionClosedError):  # at the end
            while True:
                data = await got.read(n)
                assert 0 < len(data) <= n
                taken += data
        return taken

    assert trio.run(main) == b"".join(messages)


@PROPERTY
@given(MESSAGES, st.sets(st.integers(0, 11)), st.lists(st.integers(1, 90), max_size=30))
def test_only_whole_messages_before_a_header_are_offered_for_diversion(messages, wanted, sizes):
    """A reader that asks for headers is shown each message that begins one, and no other."""

    async def main() -> None:
        got, shown, diverted, taken = session(Wire(sealed(messages), sizes)), [], [], []

        def divert(message: bytes) -> bool:
            shown.append(message)
            if len(shown) - 1 in wanted:
                diverted.append(message)
                return True
            return False

        got.divert = divert
        with suppress(ConnectionClosedError):  # at the end
            while True:
                message = await got.read(12)
                with got.in_a_body():  # the rest of it, and never past it
                    while got._opened:
                        message += await got.read(12)
                taken.append(message)
        assert shown == messages
        assert diverted == [m for i, m in enumerate(messages) if i in wanted]
        assert taken == [m for i, m in enumerate(messages) if i not in wanted]

    trio.run(main)


def test_a_body_as_long_as_a_header_is_not_diverted():
    async def main() -> None:
        got = session(Wire(sealed([b"a" * 12])))
        got.divert = lambda message: True
        with got.in_a_body():
            assert await got.read(12) == b"a" * 12

    trio.run(main)


def test_what_is_too_long_for_one_message_takes_several_and_one_write():
    async def main() -> None:
        wire = Wire()
        data = bytes(range(256)) * 600
        await session(wire).write(data)
        (written,) = wire.written
        pieces = [data[at : at + 65_519] for at in range(0, len(data), 65_519)]
        assert written == sealed(pieces)
        assert len(pieces) == 3

    trio.run(main)


# ---- over real links


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_data_past_yamux_and_through_it_keep_their_order(anyio_backend):
    """Frames of yamux alone in a message, several in one, cut in two, and none but a header."""
    async with running(LARGE) as (b,), bare_host(SMALL) as host:
        connection = await dial(host, b)
        stream = await open_frames(host, connection)
        muxed, number = connection.muxed_conn, stream.muxed_stream.stream_id

        def data(body: bytes) -> bytes:
            return struct.pack("!BBHII", 0, 0, 0, number, len(body)) + body

        frames = [bytes([n]) * (n * 37 % 300 + 1) for n in range(200)]
        stream_bytes = b"".join(header(len(frame)) + frame for frame in frames)
        at = 0
        for turn in range(10**6):
            first, second = stream_bytes[at : at + 101], stream_bytes[at + 101 : at + 150]
            at += 150
            if turn % 4 == 0:
                await muxed.write_frames([data(first), data(second)])
            elif turn % 4 == 1:
                await muxed._session.write(data(first) + data(second))
            elif turn % 4 == 2:
                both = data(first) + data(second)
                await muxed.write_frames([both[:7], both[7:60], both[60:]])
            else:
                await muxed.write_frames([data(first), data(b""), data(second)])
            if at >= len(stream_bytes):
                break
        await b.until(lambda seen: len(b.frames()) == len(frames))
        assert b.frames() == frames
        assert b.links() == ["up"]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_a_link_and_what_waited_on_it_are_let_go_without_the_garbage_collector(
    anyio_backend,
):
    gc.disable()
    try:
        async with running(LARGE, SMALL) as (b, a):
            await b.linked()
            link = weakref.ref(b.transport._links[a.key])
            await b.transport.disconnect(a.key, "a test")
            await b.until(lambda seen: "down" in b.links())
            with trio.fail_after(8):
                while link() is not None:
                    await trio.sleep(0.05)
    finally:
        gc.enable()
