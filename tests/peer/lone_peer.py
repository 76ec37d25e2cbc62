"""A program that runs one libp2p transport and prints what it delivers, for tests that kill it.

    python lone_peer.py SEED_HEX LISTEN LIMITS_JSON PEER_HEX [ADDRESS]

Frames are sent back with "echo:" before them. The first line printed is its address.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress

import trio

from tidings.crypto.errors import TransportError
from tidings.peer.transports.base import Delivery, Frame, LinkUp
from tidings.peer.transports.libp2p.transport import Libp2pTransport
from tidings.peer.transports.limits import Limits


async def main() -> None:
    seed, listen, limits, peer, *addresses = sys.argv[1:]
    transport = Libp2pTransport(
        bytes.fromhex(seed), listen, lambda key: True, Limits(**json.loads(limits))
    )
    transport.seek({bytes.fromhex(peer): addresses})

    async def deliver(delivery: Delivery) -> None:
        if isinstance(delivery, Frame):
            with suppress(TransportError):  # the link may have broken since
                await transport.send(delivery.peer, b"echo:" + delivery.data)
        else:
            print("up" if isinstance(delivery, LinkUp) else "down", flush=True)

    async with trio.open_nursery() as nursery:
        (address,) = await nursery.start(transport.run, deliver)
        print(address, flush=True)


trio.run(main)
