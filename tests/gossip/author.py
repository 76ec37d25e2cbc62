"""An author of a feed, honest or not, that publishes whatever steps a test gives it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tests.helpers import Village, entropy_of
from tidings.crypto.identity import Identity
from tidings.crypto.membership import GroupKey
from tidings.gossip import integers
from tidings.gossip.feed import Feed, payload_digest
from tidings.gossip.grid import GridVector, add, state_hash
from tidings.gossip.messages import Control, EntryHeader, News, SignedEntry, sign_entry
from tidings.gossip.wire import encode_control, encode_news

_nonces = entropy_of("author")


class Author:
    """The feed of ``identity``, as its author holds it, and frames of what it says."""

    def __init__(
        self, identity: Identity, network_id: bytes, genesis: GridVector, key: GroupKey
    ) -> None:
        self.identity = identity
        self.network_id = network_id
        self.key = key
        self.feed = Feed(identity.verify_key, genesis)
        self.counter = 0

    @classmethod
    def of(cls, village: Village, index: int) -> Author:
        """A member of a village, speaking for itself."""
        return cls(
            village.identities[index], village.network_id, village.genesis, village.group_key
        )

    def header(self, step: GridVector, **changed: Any) -> EntryHeader:
        """The header of the entry that ``step`` leads to, with some fields ``changed``."""
        feed = self.feed
        honest = EntryHeader(
            network_id=self.network_id,
            author=self.identity.verify_key,
            sequence=feed.sequence + 1,
            round=feed.round + 1,
            samples=0,
            previous=feed.head_hash,
            state=state_hash(add(feed.copy, step)),
            payload_digest=payload_digest(integers.encode(step)),
        )
        return replace(honest, **changed)

    def sign(self, step: GridVector, **changed: Any) -> SignedEntry:
        """The signed entry, not published."""
        return sign_entry(self.identity, self.header(step, **changed))

    def news(self, step: GridVector, **changed: Any) -> News:
        """A single delta, not published."""
        entry = self.sign(step, **changed)
        return News(entry=entry, base=self.feed.sequence, payload=integers.encode(step))

    def publish(self, step: GridVector | int, **changed: Any) -> News:
        """Append ``step`` (int: every coordinate moves by it) to the feed; its single delta."""
        if isinstance(step, int):
            step = np.full(self.feed.genesis.size, step, dtype=np.int32)
        news = self.news(step, **changed)
        self.feed.append(news.entry, add(self.feed.copy, step), bytes(news.payload))
        return news

    def frame(self, what: News | Control, **changed: Any) -> bytes:
        """The sealed frame of news, or of a control message with the next counter."""
        if isinstance(what, News):
            return bytes(encode_news(what, key=changed.get("key", self.key), entropy=_nonces))
        self.counter += 1
        arguments = {
            "identity": self.identity,
            "network_id": self.network_id,
            "counter": self.counter,
            "key": self.key,
        }
        return bytes(encode_control(what, entropy=_nonces, **{**arguments, **changed}))
