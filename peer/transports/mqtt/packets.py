"""What is said on a link channel, as bytes. All numbers are big-endian.

    every packet       version 1 | kind 1 | ...
    handshake          mqtt/handshake.py
    sealed packets     version 1 | kind 1 | session 16 | packet number 8 | sealed body

A link carries one stream of bytes in each direction. ``DATA`` is a chunk of it with its number.
``STATE`` says all that the other side must know, again at every heartbeat, so that a lost one
needs no repair. ``BYE`` ends the link with a reason.

The stream is a row of items, each ``kind 1 | number 8 | length 4 | body``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from ....crypto.digest import DIGEST_BYTES
from ....crypto.errors import Malformed, OverLong

VERSION = 1
INSTANCE_BYTES = 8
WINDOW_CHUNKS = 64  # how far ahead of the next chunk one is kept: the bits of ``State.later``
MAX_REASON_BYTES = 200
_SEQUENCE = struct.Struct(">Q")
_STATE = struct.Struct(">QQQQ")
_ITEM = struct.Struct(">BQI")
_ANNOUNCEMENT = struct.Struct(f">{INSTANCE_BYTES}s{DIGEST_BYTES}sI")


class Kind(IntEnum):
    """The kinds of packets."""

    OFFER = 1
    ANSWER = 2
    CONFIRM = 3
    DATA = 4
    STATE = 5
    BYE = 6
    ECHO = 7  # to oneself: does the broker deliver?
    FEED = 8


class ItemKind(IntEnum):
    """The kinds of items in the stream of a link."""

    FRAME = 1
    ANNOUNCEMENT = 2  # broadcast number N belongs here; its bytes are on the feed
    FILL = 3  # broadcast number N itself, because it was asked for


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a link's stream; ``number`` counts broadcasts and is 0 for a frame."""

    kind: ItemKind
    number: int
    body: bytes

    def header(self) -> bytes:
        """What goes before the body."""
        return _ITEM.pack(self.kind, self.number, len(self.body))


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What was received: every chunk below ``next``, and chunk ``next + 1 + i`` for each bit i.

    ``taken`` is the number of the last broadcast that was delivered, ``wanted`` of one that does
    not come by the feed (0: none).
    """

    next: int
    later: int
    taken: int
    wanted: int

    def pack(self) -> bytes:
        """As 32 bytes."""
        return _STATE.pack(self.next, self.later, self.taken, self.wanted)

    @classmethod
    def unpack(cls, body: bytes) -> State:
        """Raises Malformed when it has another length."""
        if len(body) != _STATE.size:
            raise Malformed("a state has another length")
        following, later, taken, wanted = _STATE.unpack(body)
        return cls(next=following, later=later, taken=taken, wanted=wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A broadcast as its author names it on each link: where it is, and what it must be."""

    instance: bytes
    digest: bytes
    size: int

    def pack(self) -> bytes:
        """As the body of an item."""
        return _ANNOUNCEMENT.pack(self.instance, self.digest, self.size)

    @classmethod
    def unpack(cls, body: bytes) -> Announcement:
        """Raises Malformed when it has another length."""
        if len(body) != _ANNOUNCEMENT.size:
            raise Malformed("an announcement has another length")
        instance, digest, size = _ANNOUNCEMENT.unpack(body)
        return cls(instance=instance, digest=digest, size=size)


def pack_chunk(sequence: int, data: bytes) -> bytes:
    """A numbered chunk of a link's stream."""
    return _SEQUENCE.pack(sequence) + data


def unpack_chunk(body: bytes) -> tuple[int, bytes]:
    """The number of a chunk and its bytes; raises Malformed when there are none."""
    if len(body) <= _SEQUENCE.size:
        raise Malformed("a chunk is empty")
    return _SEQUENCE.unpack_from(body)[0], body[_SEQUENCE.size :]


class ItemParser:
    """Cuts the stream of a link into items, however its bytes arrive."""

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._buffer = bytearray()

    @property
    def held_bytes(self) -> int:
        """How much of an item that is not complete is kept."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Item]:
        """Take the next bytes and give the items that they complete.

        Raises OverLong as soon as an item above the limit is announced, and Malformed for one
        that this version does not know. Nothing can be fed after that.
        """
        self._buffer += data
        items = []
        while len(self._buffer) >= _ITEM.size:
            kind, number, size = _ITEM.unpack_from(self._buffer)
            if size > self._max_body_bytes:
                raise OverLong(
                    f"a frame of {size} bytes was announced; the limit is {self._max_body_bytes}"
                )
            if kind not in ItemKind.__members__.values() or size == 0:
                raise Malformed(f"an item of kind {kind} and {size} bytes")
            end = _ITEM.size + size
            if len(self._buffer) < end:
                break
            with memoryview(self._buffer) as view:
                body = bytes(view[_ITEM.size : end])
            del self._buffer[:end]
            items.append(Item(ItemKind(kind), number, body))
        return items
