"""A program that is linked with a peer and asks it without an end, for tests that freeze it.

    python lone_asker.py SEED_HEX PEER_HEX ADDRESS

It prints "linked" once it is, and answers nothing.
"""

from __future__ import annotations

import sys

import trio

from tests.peer.libp2p_kit import Peer, bare_host, dial, open_frames
from tidings.peer.transports.framing import header


async def main() -> None:
    seed, key, address = sys.argv[1:]
    peer = Peer(transport=None, key=bytes.fromhex(key), addresses=[address])
    async with bare_host(bytes.fromhex(seed)) as host:
        stream = await open_frames(host, await dial(host, peer))
        print("linked", flush=True)
        while True:
            await stream.write(header(20_000) + bytes(20_000))


trio.run(main)
