"""Streams on a connection, with a bound on what the other side can make this one keep.

yamux of py-libp2p counts what a stream may still receive and only writes a line in its log when
more comes; it accepts any number of streams; and its negotiation reads whatever length the other
side announces. Each class below sets one of these bounds; what is over it cuts the connection.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import trio

from .imports import (
    HEADER_SIZE,
    MULTISELECT_PROTOCOL_ID,
    TYPE_DATA,
    YAMUX,
    IOException,
    Multiselect,
    MultiselectClient,
    MultiselectClientError,
    MultiselectCommunicator,
    MultiselectCommunicatorError,
    MuxedConnUnavailable,
    MuxerMultistream,
    Yamux,
    encode_delim,
)
from .session import Session, take_nothing

logger = logging.getLogger(__name__)

_BRIEF_BYTES = 1024  # the names of protocols that are exchanged before a stream is used


class BoundedYamux(Yamux):  # type: ignore[misc]
    """A connection that is cut when too much lies unread on it, over all its streams.

    A link reads all the time, and a sender that keeps to its window has at most 1 MiB under way.
    """

    def __init__(self, session: Session, peer_id: Any, is_initiator: bool) -> None:
        super().__init__(session, peer_id, is_initiator=is_initiator)
        self.in_use = trio.Event()  # a link runs on it
        self._session = session
        self._socket = session.socket
        self._unanswered = 0
        self._socket.trust()

    def open_lane(self, stream: Any, take: Callable[[memoryview], None]) -> None:
        """Give what comes on this stream to ``take`` at once, past the buffers and locks of yamux.

        Only data without flags in a message of its own: the rest takes yamux's way, and while
        something lies in the stream's buffer, so does all that follows. ``take`` never waits, and
        bounds what it keeps.
        """
        head = struct.pack("!BBHI", 0, TYPE_DATA, 0, stream.stream_id)

        def divert(message: bytes) -> bool:
            if (
                not message.startswith(head)
                or int.from_bytes(message[len(head) : HEADER_SIZE], "big")
                != len(message) - HEADER_SIZE
                or self.stream_buffers.get(stream.stream_id) != b""
            ):
                return False
            stream.recv_window -= len(message) - HEADER_SIZE
            take(memoryview(message)[HEADER_SIZE:])
            return True

        self._session.divert = divert

    def close_lane(self) -> None:
        """Give everything to yamux again."""
        self._session.divert = take_nothing

    async def write_frames(self, frames: Iterable[bytes]) -> None:
        """Write whole frames of yamux, each in a message of its own."""
        await self._session.write_messages(frames)

    async def _read_data_body(self, length: int) -> bytes:
        """Read what a stream was sent; every way into a stream's buffer leads through here."""
        unread = sum(map(len, self.stream_buffers.values()))
        if unread + length > self._socket.limits.max_unread_bytes:
            self._cut(f"{unread + length} bytes were sent that nobody had read")
            raise trio.TooSlowError  # the one error on which yamux gives the connection up at once
        with self._session.in_a_body():
            data: bytes = await super()._read_data_body(length)
        return data

    async def accept_stream(self) -> Any:
        """The next stream that the other side opens."""
        stream = await super().accept_stream()
        self._unanswered += 1
        # those that are reset at once are in the first count only, those that wait in the second
        if max(self._unanswered, len(self.streams)) > self._socket.limits.max_streams:
            self._cut(f"{self._unanswered} streams were opened")
            raise MuxedConnUnavailable("too many streams")
        return stream

    def answered(self) -> None:
        """A stream that the other side opened has ended."""
        self._unanswered -= 1

    def _cut(self, why: str) -> None:
        logger.debug("the connection of %s is cut: %s", self.peer_id, why)
        self._socket.abort()


class BoundedMuxer(MuxerMultistream):  # type: ignore[misc]
    """Agrees on yamux and nothing else."""

    def __init__(self) -> None:
        super().__init__({YAMUX: BoundedYamux})
        self._selector.multiselect_client = DirectSelect()

    async def new_conn(self, conn: Any, peer_id: Any) -> BoundedYamux:
        """Negotiate, then take streams."""
        session = Session(conn)
        protocol, _ = await self._selector.select(
            session, conn.is_initiator, self.negotiate_timeout
        )
        muxed: BoundedYamux = self._annotate_connection(
            BoundedYamux(session, peer_id, conn.is_initiator), conn, protocol
        )
        return muxed


class Brief:
    """The head of a stream, on which only names of protocols are exchanged."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._left_bytes = _BRIEF_BYTES

    async def read(self, n: int) -> bytes:
        """Read up to ``n`` bytes; IOException when more is asked for than names have."""
        if n > self._left_bytes:
            raise IOException("a name of a protocol was announced that is too long")
        data: bytes = await self._stream.read(n)
        self._left_bytes -= len(data)
        return data

    async def write(self, data: bytes) -> None:
        """Write to the stream."""
        await self._stream.write(data)


class DirectSelect(MultiselectClient):  # type: ignore[misc]
    """Asks for the one protocol that there is together with the greeting: one round trip, not two.

    As go-libp2p does it; a link that is made anew on a slow line is up sooner.
    """

    async def select_one_of(
        self, protocols: Sequence[str], communicator: Any, negotiate_timeout: float = 5
    ) -> str:
        """Agree on ``protocols``, which has one; MultiselectClientError when that fails."""
        (wanted,) = protocols
        names = (MULTISELECT_PROTOCOL_ID, wanted)
        with trio.move_on_after(negotiate_timeout):
            try:
                request = b"".join(encode_delim(name.encode()) for name in names)
                await communicator.read_writer.write(request)
                answers = (await communicator.read(), await communicator.read())
            except (IOException, MultiselectCommunicatorError) as error:
                raise MultiselectClientError(f"asking for {wanted} failed: {error}") from error
            if answers != names:
                raise MultiselectClientError(f"asked for {names}, was answered {answers}")
            return wanted
        raise MultiselectClientError(f"{wanted} was asked for, and no answer came in time")


class BriefMultiselect(Multiselect):  # type: ignore[misc]
    """Answers which protocols there are, and reads no more than that takes."""

    async def negotiate(self, communicator: Any, negotiate_timeout: int = 5) -> Any:
        """Agree on the protocol of a stream that the other side opened."""
        brief = MultiselectCommunicator(Brief(communicator.read_writer))
        return await super().negotiate(brief, negotiate_timeout)
