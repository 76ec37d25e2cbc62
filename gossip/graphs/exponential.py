"""Exponential graphs: directed and regular, any number of nodes.

After Ying et al. 2021, "Exponential Graph is Provably Efficient for Decentralized Deep Training".
The static one hears all hops at once: spectral gap 2 / (1 + ceil(log2 n)) for even n. The
one-peer graph takes one hop a round, in turn; for n a power of two the average of all nodes is
reached exactly after log2 n rounds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .links import Links, directed


def hops(nodes: int) -> list[int]:
    """The powers of two below ``nodes``."""
    return [1 << k for k in range((nodes - 1).bit_length())]


def shifted(nodes: int, by: Sequence[int]) -> Links:
    """Node i hears i - hop (mod n) for every hop."""
    i = np.arange(nodes)[:, None]
    senders = (i - np.asarray(by, dtype=np.intp)) % nodes
    return directed(nodes, np.broadcast_to(i, senders.shape), senders)
