"""A link over a slow line is up after few round trips, and a dial never cuts a handshake short."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
import trio

from tests.peer.libp2p_kit import LARGE, LOOPBACK, QUICK, SMALL, Peer, everybody, key_of
from tidings.peer.transports.addresses import parse
from tidings.peer.transports.libp2p.transport import Libp2pTransport
from tidings.peer.transports.limits import Limits


@pytest.fixture
def anyio_backend():
    return "trio"


pytestmark = pytest.mark.anyio


@dataclass
class SlowLine:
    """A line to ``to`` on which each burst takes ``delay_s``; counts the turns on it."""

    to: str
    delay_s: float
    turns: int = 0  # how often the answering side spoke after the dialling one
    dialler_spoke: bool = False
    address: str = ""

    async def run(self, *, task_status=trio.TASK_STATUS_IGNORED) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.address = f"/ip4/127.0.0.1/tcp/{listener.socket.getsockname()[1]}"
        await trio.serve_listeners(self._carry, [listener], task_status=task_status)

    async def _carry(self, near: trio.SocketStream) -> None:
        target = parse(self.to)
        far = await trio.open_tcp_stream(target.host, target.port)
        async with near, far, trio.open_nursery() as nursery:
            nursery.start_soon(self._pass, near, far, True)
            nursery.start_soon(self._pass, far, near, False)

    async def _pass(self, source: trio.SocketStream, sink: trio.SocketStream, dialler: bool):
        while chunk := await source.receive_some():
            if not dialler and self.dialler_spoke:
                self.turns += 1
            self.dialler_spoke = dialler
            await trio.sleep(self.delay_s)
            await sink.send_all(chunk)


@asynccontextmanager
async def linked_over_a_slow_line(delay_s: float, limits: Limits) -> AsyncIterator[SlowLine]:
    """Two peers with one link up; the smaller key dialled through the line that is given."""
    near, far = (
        Peer(Libp2pTransport(seed, LOOPBACK, everybody, limits), key_of(seed))
        for seed in (SMALL, LARGE)
    )
    async with trio.open_nursery() as nursery:
        (address,) = await nursery.start(far.transport.run, far.deliver)
        line = SlowLine(address, delay_s)
        await nursery.start(line.run)
        await nursery.start(near.transport.run, near.deliver)
        far.transport.seek({near.key: []})
        near.transport.seek({far.key: [line.address]})
        await near.linked()
        yield line
        nursery.cancel_scope.cancel()


async def test_a_link_takes_four_round_trips_after_the_first_packet():
    # Noise is asked for, Noise, yamux is asked for, our protocol is asked for
    quiet = replace(QUICK, heartbeat_s=60, silence_s=120)
    async with linked_over_a_slow_line(0.05, quiet) as line:
        assert line.turns == 4


async def test_a_handshake_that_begins_late_in_a_dial_has_its_own_time():
    short = replace(QUICK, dial_s=0.3, handshake_s=8, heartbeat_s=1, silence_s=4)
    async with linked_over_a_slow_line(0.15, short) as line:
        assert line.turns >= 4
