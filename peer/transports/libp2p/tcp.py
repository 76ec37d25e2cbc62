"""TCP for libp2p: listening sockets that are ours alone, and connections that can be cut at once.

libp2p listens with SO_REUSEPORT, so a second program could share a port without a word, and it
closes a connection by writing a farewell, which hangs when the other side is frozen.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio

from ....crypto.errors import TransportError
from ..addresses import TcpAddress, parse
from ..limits import Limits
from .imports import (
    TCP,
    IListener,
    OpenConnectionError,
    RawConnection,
    TrioTCPStream,
)

logger = logging.getLogger(__name__)

ATTEMPT_EVERY_S = 0.5  # to connect

# In a handshake read_exactly() of libp2p tries 100 times: this bounds what it buffers for one
# announced length.
_READ_BYTES = 64 * 1024
_TRUSTED_READ_BYTES = 128 * 1024  # two messages of Noise, nearly


class Socket(TrioTCPStream):  # type: ignore[misc]
    """A TCP connection that can be cut at once.

    Closing a connection in libp2p writes a farewell and waits for locks, so it hangs when the
    other side is frozen, and a cancelled write leaves it listed but unusable. Cutting the socket
    wakes every task of the connection, and libp2p then cleans up by itself.
    """

    def __init__(
        self, stream: trio.SocketStream, on_close: Callable[[Socket], None], limits: Limits
    ) -> None:
        super().__init__(stream)
        self.limits = limits
        self._on_close = on_close
        self._unread = b""
        self._at = 0
        self._read_bytes = _READ_BYTES
        self._allowance_bytes: int | None = limits.max_handshake_bytes

    def trust(self) -> None:
        """Read without end from now on: the handshake is over, and the other side a member."""
        self._allowance_bytes = None
        self._read_bytes = _TRUSTED_READ_BYTES

    def abort(self) -> None:
        """Close the socket; nothing is written or awaited."""
        self.stream.socket.close()
        self._on_close(self)

    async def close(self) -> None:
        """Close the socket without a farewell."""
        self.abort()
        await trio.lowlevel.checkpoint()

    async def read(self, n: int | None = None) -> bytes:
        """Read up to ``n`` bytes, at most 64 KiB and 256 from a member; there is one reader.

        libp2p asks for two bytes, then for the message: the socket is read for both at once.
        """
        if self._at == len(self._unread):
            await self._fill()
        end = len(self._unread) if n is None else min(self._at + n, len(self._unread))
        data, self._at = self._unread[self._at : end], end
        return data

    async def _fill(self) -> None:
        # In a handshake libp2p goes on reading for as long as a message was announced to be.
        if self._allowance_bytes == 0:
            self.abort()
        size = min(self._read_bytes, self._allowance_bytes or self._read_bytes)
        self._unread, self._at = await super().read(size), 0
        if self._allowance_bytes is not None:
            self._allowance_bytes -= len(self._unread)


class Doorstep:
    """The inbound connections that have not finished the handshake: at most ``most``.

    A connection more takes the place of the oldest one from the address that has most of them: a
    member needs milliseconds, so who stays is silent. Libp2p itself would hold each for its whole
    timeout and refuse all others meanwhile.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[Socket, str] = {}  # with their addresses, in the order of arrival

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, connection: Socket) -> None:
        """Take a new connection; another may have to go."""
        address = connection.get_remote_address()
        self._waiting[connection] = address[0] if address else ""
        if len(self._waiting) > self._most:
            counts = Counter(self._waiting.values())
            crowd = max(counts.values())
            oldest = next(c for c, where in self._waiting.items() if counts[where] == crowd)
            del self._waiting[oldest]
            oldest.abort()

    def leave(self, connection: Socket) -> None:
        """The handshake is over, or the connection is."""
        self._waiting.pop(connection, None)


class _Listener(IListener):  # type: ignore[misc]
    """Serves a socket that was bound before libp2p started."""

    background_nursery: trio.Nursery  # set by Swarm.listen

    def __init__(self, handler: Callable[[Socket], Awaitable[None]], tcp: ExclusiveTcp) -> None:
        self._handler = handler
        self._tcp = tcp
        self._address: Any = None

    async def listen(self, maddr: Any) -> None:
        self._address = maddr
        listener = self._tcp.bound[str(maddr)]
        self.background_nursery.start_soon(trio.serve_listeners, self._serve, [listener])

    async def _serve(self, stream: trio.SocketStream) -> None:
        connection = self._tcp.track(stream)
        self._tcp.doorstep.enter(connection)
        try:
            await self._handler(connection)
        except Exception:
            logger.debug("an inbound connection ended with an error", exc_info=True)
        finally:
            self._tcp.doorstep.leave(connection)
            connection.abort()

    def get_addrs(self) -> tuple[Any, ...]:
        return (self._address,) if self._address is not None else ()

    async def close(self) -> None:
        await self._tcp.bound[str(self._address)].aclose()


class ExclusiveTcp(TCP):  # type: ignore[misc]
    """TCP without SO_REUSEPORT, so that a port that is taken is an error, not a silent share."""

    def __init__(self, bound: Mapping[str, trio.SocketListener], limits: Limits) -> None:
        super().__init__()
        self.bound = bound
        self.doorstep = Doorstep(limits.max_handshakes)
        self._limits = limits
        self._open: set[Socket] = set()

    def track(self, stream: trio.SocketStream) -> Socket:
        """Wrap an open connection and remember it until it is closed."""
        connection = Socket(stream, self._open.discard, self._limits)
        self._open.add(connection)
        return connection

    def abort_all(self) -> None:
        """Cut every connection."""
        for connection in list(self._open):
            connection.abort()

    def create_listener(self, handler_function: Any) -> _Listener:
        """Serve one of the bound sockets, as ``Swarm.listen`` asks for."""
        return _Listener(handler_function, self)

    async def dial(self, maddr: Any) -> Any:
        """Open a connection; names are resolved by the system.

        Raises OpenConnectionError when the address does not answer in time. The handshake has a
        time of its own: a line that heals late in this one must not cut it short.
        """
        address = parse(str(maddr))
        with trio.move_on_after(self._limits.dial_s):
            return RawConnection(self.track(await _connect(address)), True)
        raise OpenConnectionError(f"{address} did not answer for {self._limits.dial_s:g} s")


async def _connect(address: TcpAddress) -> trio.SocketStream:
    """Connect: a fresh attempt each half second beside those that wait, and the first wins.

    A line that was cut and heals lets the next attempt through, where one alone would wait up to
    four seconds for the system to repeat its first packet. The caller has a deadline. Raises
    OpenConnectionError when an attempt is refused.
    """
    connected: list[trio.SocketStream] = []
    refused: list[OSError] = []

    async def attempt() -> None:
        try:
            stream = await trio.open_tcp_stream(address.host, address.port)
        except OSError as error:
            refused.append(error)
        else:
            if connected:  # in the same moment
                await trio.aclose_forcefully(stream)
                return
            connected.append(stream)
        attempts.cancel_scope.cancel()

    async def try_and_try() -> None:
        while True:
            attempts.start_soon(attempt)
            await trio.sleep(ATTEMPT_EVERY_S)

    async with trio.open_nursery() as attempts:
        attempts.start_soon(try_and_try)
    if not connected:
        raise OpenConnectionError(f"{address} does not answer: {refused[0]}") from refused[0]
    return connected[0]


async def bind(address: TcpAddress) -> dict[str, trio.SocketListener]:
    """Bind a listening address: the addresses really bound (port 0 resolved) and their sockets.

    Raises ``TransportError`` that says what is wrong with the address.
    """
    try:
        listeners = await trio.open_tcp_listeners(address.port, host=address.host)
    except (OSError, UnicodeError) as error:
        raise _bind_error(error, address) from error
    bound = {}
    for listener in listeners:
        host, port = listener.socket.getsockname()[:2]
        kind = "ip6" if listener.socket.family == socket.AF_INET6 else "ip4"
        bound[str(TcpAddress(kind=kind, host=host, port=port))] = listener
    return bound


def _bind_error(error: Exception, address: TcpAddress) -> TransportError:
    # trio gathers the errors of several sockets, and asyncio-style errno is on the inner ones
    code = getattr(error, "errno", None) or getattr(error.__cause__, "errno", None)
    if code == errno.EADDRINUSE:
        what = f"port {address.port} is in use by another program"
        fix = "stop that program or listen on another port"
    elif code == errno.EADDRNOTAVAIL:
        what, fix = f"{address.host} is not an address of this machine", "listen on one that is"
    elif code == errno.EACCES:
        what, fix = f"port {address.port} is not allowed to this user", "use one above 1023"
    else:
        what, fix = f"this address cannot be listened on: {error}", "check how it is written"
    return TransportError(what, where=str(address), fix=fix)
