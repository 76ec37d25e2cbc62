"""The order in which a link's frames are delivered, broadcasts among them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from .feed import Feed
from .packets import Announcement, Item, ItemKind

_SLOT_OVERHEAD_BYTES = 512  # what an empty place costs, so that a million of them are noticed


@dataclass(slots=True)
class _Slot:
    """A frame's place; that of a broadcast is filled when the broadcast is there."""

    frame: bytes | None
    number: int = 0
    announced: Announcement | None = None
    since: float = 0.0


class DeliveryQueue:
    """Frames that arrived on a link, or were announced there, and were not delivered.

    Attributes:
        held_bytes: what it keeps.
        taken: the number of the last broadcast that was given out.
        wanted: the number of one that is asked for directly; 0 when there was none yet.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._slots: deque[_Slot] = deque()
        self.held_bytes = 0
        self.taken = 0
        self.wanted = 0

    def add(self, item: Item, now: float) -> None:
        """Take an item of the stream. Raises Malformed for an announcement that is none."""
        match item.kind:
            case ItemKind.FRAME:
                self._append(_Slot(item.body))
            case ItemKind.ANNOUNCEMENT:
                self._append(_Slot(None, item.number, Announcement.unpack(item.body), now))
            case ItemKind.FILL:
                for slot in self._slots:
                    if slot.frame is None and slot.number == item.number:
                        slot.frame = item.body
                        self.held_bytes += len(item.body)

    def _append(self, slot: _Slot) -> None:
        self._slots.append(slot)
        self.held_bytes += len(slot.frame or b"") + _SLOT_OVERHEAD_BYTES

    def next(self, now: float) -> bytes | None:
        """Give out the next frame when it is there; call ``delivered`` after its delivery."""
        if not self._slots:
            return None
        slot = self._slots[0]
        frame = slot.frame
        if slot.announced is not None:
            if frame is None:
                frame = self._feed.claim(slot.number, slot.announced)
                if frame is None:
                    return None
                self.held_bytes += len(frame)
            self._feed.forget(slot.announced.instance, slot.number)
            self.taken = max(self.taken, slot.number)
        self._slots.popleft()
        self.held_bytes -= _SLOT_OVERHEAD_BYTES
        if self._slots:
            self._slots[0].since = now
        return frame

    def delivered(self, frame: bytes) -> None:
        """Note that a frame that was given out is kept no longer."""
        self.held_bytes -= len(frame)

    def look(self, now: float, patience_s: float) -> bool:
        """Ask directly for a broadcast that does not come; True when it is asked for anew."""
        first = self._slots[0] if self._slots else None
        if first is None or first.frame is not None or first.number == self.wanted:
            return False
        if now - max(first.since, self._feed.progress_at) <= patience_s:
            return False
        self.wanted = first.number
        return True
