"""What a peer may use to find others, beside the addresses that it was given."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """``mdns``: announce and hear addresses on the local network.

    ``bootstrap``: addresses, each with ``/p2p/`` and a peer id, of members that a link is kept
    with whatever else is sought. They need not know where this peer is.
    """

    mdns: bool = False
    bootstrap: tuple[str, ...] = ()
