"""The topics of one network on a broker.

    tidings/NETWORK/here/PEER           retained while PEER is connected; its last will empties it
    tidings/NETWORK/to/RECEIVER/SENDER  the link channel: handshake, chunks, acknowledgements
    tidings/NETWORK/feed/AUTHOR         broadcasts: one publish reaches all followers
    tidings/NETWORK/head/AUTHOR         retained: the notice that it left (gossip/notice.py)

NETWORK is the network id and a peer its verify key, both in hexadecimal, so that a broker's ACL
can hold each member to its own name (mqtt/broker_config.py).
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from ....crypto.identity import KEY_BYTES

ROOT = "tidings"
_PATTERN = re.compile(
    r"(?P<kind>here|feed|head)/(?P<author>[0-9a-f]{64})"
    r"|to/(?P<receiver>[0-9a-f]{64})/(?P<sender>[0-9a-f]{64})"
)
Kind = Literal["here", "to", "feed", "head"]


class Place(NamedTuple):
    """What a topic says: the kind of message, and the key that it claims to be from."""

    kind: Kind
    sender: bytes


class Topics:
    """The topics of the network with this id, as the peer with ``own_key`` uses them."""

    def __init__(self, network_id: bytes, own_key: bytes) -> None:
        if not network_id or len(own_key) != KEY_BYTES:
            raise ValueError("a network id and a verify key of 32 bytes are needed")
        self._own_key = own_key
        self._prefix = f"{ROOT}/{network_id.hex()}/"

    def here(self, peer: bytes) -> str:
        """Where ``peer`` says that it is connected."""
        return f"{self._prefix}here/{peer.hex()}"

    def feed(self, author: bytes) -> str:
        """Where ``author`` broadcasts."""
        return f"{self._prefix}feed/{author.hex()}"

    @property
    def my_feed(self) -> str:
        """Where this peer broadcasts."""
        return self.feed(self._own_key)

    def head(self, author: bytes) -> str:
        """Where ``author`` leaves a notice of how far its feed is."""
        return f"{self._prefix}head/{author.hex()}"

    def to(self, peer: bytes) -> str:
        """Where this peer speaks to ``peer``."""
        return f"{self._prefix}to/{peer.hex()}/{self._own_key.hex()}"

    @property
    def mine(self) -> str:
        """The filter of all that is said to this peer."""
        return f"{self._prefix}to/{self._own_key.hex()}/+"

    def is_to_me(self, topic: str) -> bool:
        """Whether ``mine`` matches it."""
        return topic.startswith(self.mine.removesuffix("+"))

    def of(self, author: bytes) -> tuple[str, str, str]:
        """The topics that a follower of ``author`` subscribes to."""
        return self.here(author), self.feed(author), self.head(author)

    def by(self, peer: bytes) -> str:
        """Where ``peer`` speaks to this one."""
        return f"{self._prefix}to/{self._own_key.hex()}/{peer.hex()}"

    def parse(self, topic: str) -> Place | None:
        """What ``topic`` says; None when it is not for this peer or not of this network."""
        if not topic.startswith(self._prefix):
            return None
        match = _PATTERN.fullmatch(topic, len(self._prefix))
        if match is None:
            return None
        if match["kind"] is None:
            if match["receiver"] != self._own_key.hex():
                return None
            return Place("to", bytes.fromhex(match["sender"]))
        kind: Kind = "here" if match["kind"] == "here" else _feed_or_head(match["kind"])
        return Place(kind, bytes.fromhex(match["author"]))


def _feed_or_head(kind: str) -> Literal["feed", "head"]:
    return "feed" if kind == "feed" else "head"
