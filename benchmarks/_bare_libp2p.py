"""py-libp2p as it comes, for a yardstick: one stream over TCP, Noise and yamux that echoes."""

from __future__ import annotations

import os
from statistics import median
from time import perf_counter
from typing import Any

import trio
from libp2p import create_yamux_muxer_option, new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from multiaddr import Multiaddr

LOOPBACK = Multiaddr("/ip4/127.0.0.1/tcp/0")
PROTOCOL = "/echo/1.0.0"


def _host() -> Any:
    key_pair = create_new_key_pair()
    noise = NoiseTransport(key_pair, noise_privkey=create_noise_key_pair().private_key)
    return new_host(
        key_pair=key_pair, muxer_opt=create_yamux_muxer_option(), sec_opt={NOISE: noise}
    )


async def _read(stream: Any, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await stream.read(size - len(data))
    return data


async def answer(size: int) -> None:
    """Print an address, and send back what comes there in pieces of ``size`` bytes, for ever."""

    async def echo(stream: Any) -> None:
        while True:
            await stream.write(await _read(stream, size))

    host = _host()
    host.set_stream_handler(PROTOCOL, echo)
    async with host.run([LOOPBACK]):
        print(host.get_addrs()[0], flush=True)
        await trio.sleep_forever()


async def round_trip(address: str, size: int, repetitions: int) -> float:
    """Seconds for ``size`` bytes there and back, the median."""
    host, info = _host(), info_from_p2p_addr(Multiaddr(address))
    async with host.run([LOOPBACK]):
        await host.connect(info)
        stream = await host.new_stream(info.peer_id, [PROTOCOL])
        data, times = os.urandom(size), []
        for _ in range(repetitions):
            begun = perf_counter()
            await stream.write(data)
            await _read(stream, size)
            times.append(perf_counter() - begun)
        await stream.reset()
    return median(times)
