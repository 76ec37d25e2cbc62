"""A Noise session that is read and written many messages at a time.

libp2p asks the socket twice for each message, copies it five times, and writes each alone; then
most of a transfer's time goes into locks and turns of the event loop. Here the socket is read and
written for several messages at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import trio

from .imports import HEADER_SIZE, MAX_PLAINTEXT_LENGTH, ConnectionClosedError

_LENGTH_BYTES = 2
_SMALL_BYTES = 4096


def take_nothing(message: bytes) -> bool:
    """Leave every message to yamux."""
    return False


class Session:
    """A secured connection as yamux reads and writes it; ``socket`` is the one below it.

    Before yamux asks for a header of a frame, ``divert`` is shown the next message, and may take
    it: that is the way past yamux (``BoundedYamux.open_lane``).
    """

    def __init__(self, conn: Any) -> None:
        self.socket = conn.socket
        self.divert: Callable[[bytes], bool] = take_nothing
        self._conn = conn
        noise = conn.conn.noise_state.noise_protocol
        self._seal = noise.cipher_state_encrypt.encrypt_with_ad
        self._open = noise.cipher_state_decrypt.decrypt_with_ad
        self._sealed = memoryview(b"")  # came over the socket
        self._opened = memoryview(b"")  # the rest of a message that yamux reads
        self._in_body = False

    async def read(self, n: int | None = None) -> bytes:
        """Up to ``n`` bytes; there is one reader at a time."""
        if n == 0:
            return b""
        while not self._opened:
            message = await self._next_message()
            if n == HEADER_SIZE and not self._in_body and self.divert(message):
                if len(message) < _SMALL_BYTES:
                    await trio.lowlevel.checkpoint()  # many of them may have come at once
            else:
                self._opened = memoryview(message)
        data = bytes(self._opened[:n])
        self._opened = self._opened[len(data) :]
        return data

    @contextmanager
    def in_a_body(self) -> Iterator[None]:
        """What is read now is the body of a frame, even if it is as long as a header."""
        self._in_body = True
        try:
            yield
        finally:
            self._in_body = False

    async def write(self, data: bytes) -> None:
        """Write it all, in as many messages as it takes."""
        starts = range(0, len(data), MAX_PLAINTEXT_LENGTH)
        await self.write_messages(data[at : at + MAX_PLAINTEXT_LENGTH] for at in starts)

    async def write_messages(self, messages: Iterable[bytes]) -> None:
        """Seal messages of at most ``MAX_PLAINTEXT_LENGTH`` bytes, and write them in one go.

        Writers need no lock: sealed and queued at the socket in the same moment, messages of two
        of them are in the order of their nonces.
        """
        sealed: list[bytes] = []
        for message in messages:
            text = self._seal(None, message)
            sealed += (len(text).to_bytes(_LENGTH_BYTES, "big"), text)
        await self.socket.write(b"".join(sealed))

    async def _next_message(self) -> bytes:
        length = int.from_bytes(await self._take(_LENGTH_BYTES), "big")
        message: bytes = self._open(None, await self._take(length))
        if not message:
            raise ConnectionClosedError("an empty message came")
        return message

    async def _take(self, size: int) -> memoryview:
        """The next ``size`` bytes from the socket."""
        if len(self._sealed) < size:
            taken = bytearray(self._sealed)
            while len(taken) < size:
                chunk = memoryview(await self.socket.read())
                if not chunk:
                    raise ConnectionClosedError("the other side closed the connection")
                missing = size - len(taken)
                taken += chunk[:missing]
                self._sealed = chunk[missing:]
            return memoryview(taken)
        taken_whole, self._sealed = self._sealed[:size], self._sealed[size:]
        return taken_whole

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conn, name)
