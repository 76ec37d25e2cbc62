"""What a transport delivers, as inputs of the core, in their order."""

from __future__ import annotations

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from ..gossip import effects as fx
from .outboxes import Outboxes
from .transports.base import Delivery, Frame, Left, LinkDown, LinkUp


class Inbox:
    """A ``PromptDeliver`` into a stream of inputs; links get their outboxes by the way."""

    def __init__(self, inputs: MemoryObjectSendStream[fx.Input], outboxes: Outboxes) -> None:
        self._inputs = inputs
        self._outboxes = outboxes

    async def __call__(self, delivery: Delivery) -> None:
        """Deliver, waiting while the stream is full."""
        await self._inputs.send(self._input(delivery))

    def now(self, frame: Frame) -> bool:
        """Deliver a frame unless the stream is full."""
        try:
            self._inputs.send_nowait(fx.Received(link=frame.peer, frame=frame.data))
        except anyio.WouldBlock:
            return False
        return True

    def _input(self, delivery: Delivery) -> fx.Input:
        match delivery:
            case Frame(peer=peer, data=data):
                return fx.Received(link=peer, frame=data)
            case LinkUp(peer=peer):
                self._outboxes.open(peer)
                return fx.NeighbourUp(link=peer)
            case LinkDown(peer=peer, why=why):
                self._outboxes.close(peer)
                return fx.NeighbourDown(link=peer, why=why)
            case Left(peer=peer, notice=notice):
                return fx.Noticed(author=peer, frame=notice)
