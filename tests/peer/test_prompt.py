"""Frames that are taken and delivered in the same turn of the event loop keep their order."""

from __future__ import annotations

from dataclasses import replace

import anyio
import numpy as np
import pytest
import trio

from tests.peer.libp2p_kit import LARGE, LOOPBACK, QUICK, SMALL, everybody, key_of, running
from tidings.gossip import effects as fx
from tidings.peer.inbox import Inbox
from tidings.peer.outboxes import Outboxes
from tidings.peer.transports.base import Delivery, Frame, LinkDown, LinkUp, Prompt, PromptDeliver
from tidings.peer.transports.libp2p.transport import Libp2pTransport


class Moody:
    """Takes some frames at once, and others only after a while."""

    def __init__(self, seed: int) -> None:
        self._draw = np.random.default_rng(seed)
        self.seen: list[Delivery] = []
        self.at_once = 0

    async def __call__(self, delivery: Delivery) -> None:
        await trio.sleep(float(self._draw.choice([0, 0, 0.001])))
        self.seen.append(delivery)

    def now(self, frame: Frame) -> bool:
        if self._draw.random() < 0.3:
            return False
        self.at_once += 1
        self.seen.append(frame)
        return True


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_frames_stay_in_order_whoever_takes_them(seed: int) -> None:
    async def main() -> None:
        keys = [key_of(each) for each in (SMALL, LARGE)]
        transports = [Libp2pTransport(each, LOOPBACK, everybody, QUICK) for each in (SMALL, LARGE)]
        deliver, draw = Moody(seed), np.random.default_rng(seed + 100)
        assert isinstance(deliver, PromptDeliver)
        frames = [bytes([n % 256]) * int(draw.choice([1, 9, 70_000])) for n in range(300)]
        async with trio.open_nursery() as nursery:
            (address,) = await nursery.start(transports[1].run, deliver)
            transports[0].seek({keys[1]: [address]})
            transports[1].seek({keys[0]: []})
            up = trio.Event()

            async def first(delivery: Delivery) -> None:
                if isinstance(delivery, LinkUp):
                    up.set()

            await nursery.start(transports[0].run, first)
            await up.wait()
            for frame in frames:
                # what is said to be taken at once is; what is not, has to be sent
                if draw.random() < 0.5 or not transports[0].send_now(keys[1], frame):
                    await transports[0].send(keys[1], frame)
                await trio.sleep(float(draw.choice([0, 0.004])))  # so that some come to an idle end
            with trio.fail_after(10):
                while len(deliver.seen) < len(frames) + 1:
                    await trio.sleep(0.01)
                await transports[0].disconnect(keys[1], "done")
                while not isinstance(deliver.seen[-1], LinkDown):
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        assert deliver.seen[0] == LinkUp(peer=keys[0])
        assert [each.data for each in deliver.seen[1 : len(frames) + 1]] == frames  # type: ignore[union-attr]
        assert deliver.at_once > 20

    trio.run(main)


def test_nothing_is_taken_at_once_that_cannot_be_sent() -> None:
    limits = replace(QUICK, max_queued_bytes=100_000, max_frame_bytes=100_000)

    async def main() -> None:
        async with running(SMALL, LARGE, limits=limits) as (a, b):
            await a.linked()
            assert isinstance(a.transport, Prompt)
            assert not a.transport.send_now(bytes(32), b"to nobody")
            assert not a.transport.send_now(b.key, b"")
            assert not a.transport.send_now(b.key, bytes(100_001))
            taken = 0
            while a.transport.send_now(b.key, bytes(40_000)):  # nobody else has a turn meanwhile
                taken += 1
            assert taken == 2
            await b.until(lambda seen: len(b.frames()) == 2)
            await a.transport.disconnect(b.key, "test")
            assert not a.transport.send_now(b.key, b"too late")

    trio.run(main)


@pytest.mark.anyio
async def test_an_inbox_takes_at_once_what_there_is_room_for() -> None:
    send, receive = anyio.create_memory_object_stream[fx.Input](2)
    async with anyio.create_task_group() as tasks:
        outboxes = Outboxes(tasks, lambda: None)  # type: ignore[arg-type, return-value]
        inbox = Inbox(send, outboxes)
        frames = [Frame(peer=b"a" * 32, data=bytes([n])) for n in range(3)]
        assert [inbox.now(each) for each in frames] == [True, True, False]
        assert receive.receive_nowait() == fx.Received(link=b"a" * 32, frame=b"\x00")
        await inbox(frames[2])
        assert [receive.receive_nowait().frame for _ in range(2)] == [b"\x01", b"\x02"]  # type: ignore[union-attr]
        tasks.cancel_scope.cancel()
    send.close()
    receive.close()
