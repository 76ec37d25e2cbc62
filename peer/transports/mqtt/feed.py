"""Broadcasts on the feed topic: cut by their author, put together by every follower.

What arrives on a feed is believed by nobody: each follower also gets, on its sealed link, the
announcement of each broadcast with its digest, and takes only what fits. Announcements keep the
order between broadcasts and frames, and who does not find what was announced asks for it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from ....crypto.digest import digest
from ....crypto.errors import Malformed
from .limits import MqttLimits
from .packets import INSTANCE_BYTES, VERSION, Announcement, Kind

_HEADER = struct.Struct(f">BB{INSTANCE_BYTES}sQII")
_PIECE_OVERHEAD_BYTES = 256  # what keeping a piece costs beside its bytes
MAX_BROADCASTS = 64  # of one author, not yet announced


def broadcast_digest(frame: bytes) -> bytes:
    """The digest by which a broadcast is announced."""
    return digest("mqtt-broadcast", frame)


def pack_piece(instance: bytes, number: int, frame: bytes, at: int, size: int) -> bytes:
    """The message with the ``size`` bytes of broadcast ``number`` that begin at ``at``."""
    header = _HEADER.pack(VERSION, Kind.FEED, instance, number, at, len(frame))
    return b"".join((header, memoryview(frame)[at : at + size]))


@dataclass(slots=True)
class _Partial:
    size: int
    pieces: dict[int, bytes] = field(default_factory=dict)
    received: int = 0

    @property
    def cost_bytes(self) -> int:
        return self.received + _PIECE_OVERHEAD_BYTES * (1 + len(self.pieces))

    def whole(self) -> bytes | None:
        """The broadcast, when its pieces fit together."""
        if self.received != self.size:
            return None
        at = 0
        for start in sorted(self.pieces):
            if start != at:
                return None
            at += len(self.pieces[start])
        return b"".join(self.pieces[start] for start in sorted(self.pieces))


class Feed:
    """What was received of one author's broadcasts and not yet announced by it."""

    def __init__(self, limits: MqttLimits) -> None:
        self._limits = limits
        self._partials: dict[tuple[bytes, int], _Partial] = {}
        self._cost_bytes = 0
        self.progress_at = float("-inf")

    def add(self, message: bytes, now: float) -> int:
        """Keep a piece; raises Malformed when it is none.

        Too much pushes out the oldest; gives how many bytes were of no use, this piece's or theirs.
        """
        if len(message) <= _HEADER.size:
            raise Malformed("a piece of a broadcast is empty")
        version, kind, instance, number, at, size = _HEADER.unpack_from(message)
        piece = message[_HEADER.size :]
        if version != VERSION or kind != Kind.FEED or at + len(piece) > size:
            raise Malformed("a piece of a broadcast has another form")
        if size > self._limits.max_frame_bytes:
            raise Malformed(f"a broadcast of {size} bytes")
        partial, wasted = self._partials.get((instance, number)), 0
        if partial is None or partial.size != size:
            wasted = self._drop((instance, number))
            partial = self._partials[instance, number] = _Partial(size)
            self._cost_bytes += partial.cost_bytes
        if at in partial.pieces:
            return wasted + len(piece)
        self._cost_bytes -= partial.cost_bytes
        partial.pieces[at] = piece
        partial.received += len(piece)
        self._cost_bytes += partial.cost_bytes
        self.progress_at = now
        while (
            self._cost_bytes > self._limits.max_broadcast_bytes
            or len(self._partials) > MAX_BROADCASTS
        ):
            wasted += self._drop(next(iter(self._partials)))
        return wasted

    def claim(self, number: int, announced: Announcement) -> bytes | None:
        """Give out the announced broadcast once it is there; forget what cannot be it."""
        key = (announced.instance, number)
        partial = self._partials.get(key)
        if partial is None or partial.received < announced.size:
            return None
        whole = partial.whole()
        self._drop(key)
        if whole is None or broadcast_digest(whole) != announced.digest:
            return None
        return whole

    def forget(self, instance: bytes, number: int) -> None:
        """Drop the broadcasts of this instance up to ``number``: they have been delivered."""
        for key in [key for key in self._partials if key[0] == instance and key[1] <= number]:
            self._drop(key)

    def clear(self) -> None:
        """Drop everything: the link that it belonged to is gone."""
        self._partials.clear()
        self._cost_bytes = 0

    def _drop(self, key: tuple[bytes, int]) -> int:
        partial = self._partials.pop(key, None)
        if partial is None:
            return 0
        self._cost_bytes -= partial.cost_bytes
        return partial.cost_bytes
