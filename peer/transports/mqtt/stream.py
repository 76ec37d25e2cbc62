"""The two ends of a link's stream: chunks out, acknowledgements back, nothing lost or twice.

Pure: time is an argument, and what is to be sent is returned. A broker's PUBACK proves only that
the broker has a chunk, so a chunk counts as received when the other peer says so.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from .limits import MqttLimits
from .pacing import Pacer
from .packets import WINDOW_CHUNKS, Item, ItemParser, State


@dataclass(slots=True)
class _Sent:
    data: bytes
    order: int  # of all sendings on this link: what was sent later and is there overtook it
    at: float
    patience_s: float
    tries: int = 1
    overtaken: bool = False


@dataclass(slots=True)
class _Waiting:
    """An item in the queue; ``at`` is where the next chunk begins."""

    item: Item
    header: bytes = field(init=False)
    at: int = 0

    def __post_init__(self) -> None:
        self.header = self.item.header()

    @property
    def left(self) -> int:
        return len(self.header) + len(self.item.body) - self.at

    def take(self, size: int) -> bytes:
        """The next bytes, at most ``size``."""
        start, end = self.at, self.at + min(size, self.left)
        self.at = end
        ahead = len(self.header)
        body = memoryview(self.item.body)[max(0, start - ahead) : max(0, end - ahead)]
        return b"".join((self.header[start:end], body))


class Outflow:
    """What is to be sent on a link: a queue of items, and the chunks under way."""

    def __init__(self, limits: MqttLimits) -> None:
        self._pacer = Pacer(limits)
        self._most = min(limits.chunks_in_flight, WINDOW_CHUNKS)
        self._queue: deque[_Waiting] = deque()
        self._under_way: dict[int, _Sent] = {}
        self._under_way_bytes = 0
        self._next = 0
        self._order = 0
        self._progress_at = 0.0
        self.queued_bytes = 0

    def queue(self, item: Item, *, first: bool = False) -> None:
        """Add an item; ``first`` puts it before all that has not begun."""
        waiting = _Waiting(item)
        self.queued_bytes += len(item.body)
        if not first:
            self._queue.append(waiting)
        elif self._queue and self._queue[0].at:
            self._queue.insert(1, waiting)
        else:
            self._queue.appendleft(waiting)

    def next_chunk(self, now: float) -> tuple[int, bytes] | None:
        """The number and the bytes of the chunk to send now, if there is one."""
        for sequence, sent in self._under_way.items():
            if sent.overtaken or now >= sent.at + sent.patience_s:
                self._pacer.lost(now)
                self._order += 1
                sent.order, sent.at, sent.tries, sent.overtaken = (
                    self._order,
                    now,
                    sent.tries + 1,
                    False,
                )
                sent.patience_s = min(15.0, 2 * sent.patience_s)
                return sequence, sent.data
        size = self._pacer.chunk_bytes
        if not self._queue or len(self._under_way) >= self._most:
            return None
        if self._under_way and self._under_way_bytes + size > self._pacer.window_bytes:
            return None
        return self._new_chunk(size, now)

    def _new_chunk(self, size: int, now: float) -> tuple[int, bytes]:
        parts: list[bytes] = []
        while size and self._queue:
            first = self._queue[0]
            part = first.take(size)
            parts.append(part)
            size -= len(part)
            if not first.left:
                self._queue.popleft()
                self.queued_bytes -= len(first.item.body)
        data = b"".join(parts)
        if not self._under_way:
            self._progress_at = now
        sequence, self._next, self._order = self._next, self._next + 1, self._order + 1
        self._under_way[sequence] = _Sent(data, self._order, now, self._pacer.patience_s)
        self._under_way_bytes += len(data)
        return sequence, data

    def acknowledged(self, state: State, now: float) -> None:
        """Take in what the other side says that it has."""
        newest = 0
        for sequence in list(self._under_way):
            ahead = sequence - state.next - 1
            if sequence >= state.next and not (
                0 <= ahead < WINDOW_CHUNKS and state.later >> ahead & 1
            ):
                continue
            sent = self._under_way.pop(sequence)
            self._under_way_bytes -= len(sent.data)
            self._progress_at = now
            newest = max(newest, sent.order)
            if sent.tries == 1:  # of a chunk sent twice nobody knows which one arrived
                self._pacer.acknowledged(len(sent.data), now - sent.at, now)
        for sent in self._under_way.values():
            # The broker keeps the order, so what was overtaken is lost.
            sent.overtaken = sent.overtaken or sent.order < newest

    def stalled_s(self, now: float) -> float:
        """For how long nothing was acknowledged although something is under way."""
        return now - self._progress_at if self._under_way else 0.0

    def due_in(self, now: float) -> float:
        """Seconds until ``next_chunk`` may have something that is not a matter of room."""
        due = (sent.at + sent.patience_s for sent in self._under_way.values())
        return max(0.0, min(due, default=now + 3600.0) - now)


class Inflow:
    """What was received on a link: chunks in any order become items in theirs."""

    def __init__(self, limits: MqttLimits) -> None:
        self._parser = ItemParser(limits.max_frame_bytes)
        self._most_bytes = limits.chunk_bytes * limits.chunks_in_flight
        self._early: dict[int, bytes] = {}
        self._early_bytes = 0
        self._next = 0
        self.wasted_bytes = 0  # of chunks that were not kept

    @property
    def held_bytes(self) -> int:
        """How much is kept of items that are not complete."""
        return self._parser.held_bytes + self._early_bytes

    @property
    def next(self) -> int:
        """The number of the first chunk that is missing."""
        return self._next

    @property
    def later(self) -> int:
        """One bit for each chunk behind the first missing one."""
        return sum(1 << (sequence - self._next - 1) for sequence in self._early)

    def take(self, sequence: int, data: bytes) -> list[Item]:
        """Take a chunk and give the items that it completes; a second copy gives nothing.

        A chunk that there is no room for is not kept: it will be sent again. Raises OverLong and
        Malformed as ``ItemParser`` does.
        """
        if sequence != self._next:
            if (
                self._next < sequence <= self._next + WINDOW_CHUNKS
                and sequence not in self._early
                and self._early_bytes + len(data) <= self._most_bytes
            ):
                self._early[sequence] = data
                self._early_bytes += len(data)
            else:
                self.wasted_bytes += len(data)
            return []
        items = []
        following: bytes | None = data
        while following is not None:
            items += self._parser.feed(following)
            self._next += 1
            following = self._early.pop(self._next, None)
            self._early_bytes -= len(following or b"")
        return items
