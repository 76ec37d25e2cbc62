"""What a transport is: links to peers that are known by their keys, and frames on those links.

A transport knows nothing of what a frame means. Its promises, which every transport keeps and
``tests/peer`` checks for each:

- A peer is its 32-byte Ed25519 verify key, proved by the transport itself before anything that
  the peer says is delivered. A key that ``accept`` refuses never gets a link.
- For each peer the driver sees ``LinkUp``, any number of ``Frame``, ``LinkDown``, and so on: never
  two links at once, never a frame outside a link.
- Frames of one link arrive in the order in which they were sent, whole and unchanged. A frame is
  lost only with its link, and then ``LinkDown`` says so to both ends.
- A link that both ends seek is made again for as long as they do. One that a single end seeks is
  made where the transport can: a newcomer is not known to those it knows.
- ``deliver`` may be slow: the transport goes on reading, up to its limit, and then cuts the link
  rather than fill the memory.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import anyio
from anyio.abc import TaskStatus

Backend = Literal["trio", "asyncio", "any"]
"""The event loop that a transport needs; "any" runs on either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkUp:
    """Frames can now be exchanged with this peer."""

    peer: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkDown:
    """The link is gone; ``why`` is for a person to read."""

    peer: bytes
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One whole frame from this peer. Its content is as untrusted as its sender."""

    peer: bytes
    data: bytes | bytearray = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What this peer left to be found (``Retaining``); as untrusted as a frame, and of any age."""

    peer: bytes
    notice: bytes = field(repr=False)


Delivery = LinkUp | LinkDown | Frame | Left
Deliver = Callable[[Delivery], Awaitable[None]]


@runtime_checkable
class PromptDeliver(Protocol):
    """A ``Deliver`` that takes frames outside a task as well: a turn of the event loop less."""

    async def __call__(self, delivery: Delivery) -> None:
        """Deliver, waiting for as long as it takes."""
        ...

    def now(self, frame: Frame) -> bool:
        """Deliver a frame if that need not wait; False when it would, and nothing was done."""
        ...


Accept = Callable[[bytes], bool]
"""Is this verify key a member? Asked for every connection before anything else is done."""


class Transport(Protocol):
    """Carries frames between this peer and others."""

    @property
    def backend(self) -> Backend:
        """The event loop that ``run`` needs."""
        ...

    async def run(
        self,
        deliver: Deliver,
        *,
        task_status: TaskStatus[list[str]] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen, keep the sought links up and deliver what arrives, until cancelled.

        ``task_status.started`` gets the addresses at which this peer can be reached. Runs once.

        Raises ``TransportError`` when the address cannot be listened on.
        """
        ...

    async def send(self, peer: bytes, frame: bytes) -> None:
        """Hand a frame over for sending; returns when the link has taken it into its queue.

        Waits while the queue is full. Raises ``TransportError`` when there is no link to
        ``peer``, when it breaks while waiting, or when the frame is empty or over the limit.
        """
        ...

    def seek(self, peers: Mapping[bytes, Sequence[str]]) -> None:
        """Name all peers that links are wanted with, and where each may be reached.

        Each call replaces the one before; it may come before ``run`` as well. Links that are no
        longer sought stay until they break. Raises ``TransportError`` for an unusable address.
        """
        ...

    async def disconnect(self, peer: bytes, why: str) -> None:
        """Cut the link to this peer, if there is one; both ends get ``LinkDown``."""
        ...


@runtime_checkable
class Prompt(Transport, Protocol):
    """A transport that takes frames outside a task as well: a turn of the event loop less."""

    def send_now(self, peer: bytes, frame: bytes) -> bool:
        """``send`` if that need not wait; False when it would, or fail, and nothing was done."""
        ...


@runtime_checkable
class Broadcasting(Transport, Protocol):
    """A transport on which one frame can reach several peers at the price of one."""

    def reached_together(self, peers: Sequence[bytes]) -> list[bytes]:
        """Those of ``peers`` that ``broadcast`` reaches with one publish."""
        ...

    async def broadcast(self, peers: Sequence[bytes], frame: bytes) -> None:
        """Hand one frame over for all of ``peers`` that there is a link to.

        Returns when each link has taken it into its queue, where it keeps its place among the
        frames that are sent there; a link that lags is cut and holds up no other. Raises
        ``TransportError`` when the frame is empty or over the limit.
        """
        ...


@runtime_checkable
class Retaining(Transport, Protocol):
    """A transport that keeps a notice of each peer where others find it, linked or not.

    It delivers ``Left`` for a peer that is sought: what that peer left last, at any time.
    """

    def leave(self, notice: bytes) -> None:
        """Keep this notice in place of the one before; one over the limit is not kept."""
        ...
