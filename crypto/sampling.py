"""Batches that no privacy claim rests on: rows without replacement, for many peers at once.

A key and the number of a peer's rows fix one order of the rows: a keyed permutation, computed
where it is asked for and never stored. Batches are consecutive pieces of it, so a round sees every
row once before it sees one again. One peer and a thousand get the same rows for equal keys.

The permutation is a Feistel network over a grid that is at least as large as the number of rows;
a place outside is sent through it again until it falls inside (Black and Rogaway 2002, "Ciphers
with arbitrary finite domains"). Its round function is a fast hash and hides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Keys: TypeAlias = NDArray[np.uint64]
"""One key of 128 bits a peer, uint64 (n, 2)."""

KEY_BYTES = 16
MOST_ROWS = 2**31

_ROUNDS = 10  # with 6, some pairs of ten rows come together a tenth more often than others
GOLDEN = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio: its multiples are well spread


def batch_keys(seeds: Sequence[bytes]) -> Keys:
    """The keys, uint64 (n, 2), that the sessions of these seeds draw their batches with.

    A key is the first half of a session's seed of 32 bytes. Noise is made from a digest of both
    halves, so batches tell nothing of it.
    """
    joined = b"".join(seed[:KEY_BYTES] for seed in seeds)
    return np.frombuffer(joined, dtype="<u8").astype(np.uint64).reshape(len(seeds), 2)


def draw_rows(keys: Keys, rows: ArrayLike, start: int, count: int) -> NDArray[np.int64]:
    """The places ``start`` to ``start + count`` of each peer's order of rows, int64 (n, count).

    ``keys`` is (n, 2), ``rows`` (n,) says how many rows each peer has. The order begins again
    where it ends, so ``count`` up to ``rows`` gives distinct rows.

    Raises:
        ValueError: a peer has no rows, or more than 2^31.
    """
    lengths = np.asarray(rows, dtype=np.int64)
    if lengths.size and not 1 <= lengths.min() <= lengths.max() <= MOST_ROWS:
        raise ValueError(f"a peer has 1 to 2^31 rows, not {lengths.min()} to {lengths.max()}")
    order = _Order(keys, lengths)
    # peers along the last axis: their keys then lie beside each other, as what they are added to
    places = np.arange(start, start + count, dtype=np.int64)[:, None]
    if lengths.size and start + count <= lengths.min():
        values = np.repeat(places.astype(np.uint32), len(lengths), axis=1)
    else:
        values = (places % lengths).astype(np.uint32)
    order.permute(values)
    outside = np.flatnonzero(values >= order.rows)
    every = values.reshape(-1)
    while outside.size:
        order_of = order.only(outside % len(lengths))
        again = every[outside]
        order_of.permute(again)
        every[outside] = again
        outside = outside[again >= order_of.rows]
    return values.T.astype(np.int64, order="C")


class _Order:
    """The permutations of n peers, each of a grid of ``high`` x 2^``low_bits`` places."""

    def __init__(self, keys: Keys, lengths: NDArray[np.int64]) -> None:
        bits = np.frexp((lengths - 1).astype(np.float64))[1]  # of the largest row number
        low_bits = (bits + 1) // 2
        self._low_bits = low_bits.astype(np.uint32)
        self._low_mask = ((1 << low_bits.astype(np.int64)) - 1).astype(np.uint32)
        self._high = (-(-lengths >> low_bits)).astype(np.uint32)
        self._keys = _round_keys(keys)
        self.rows = lengths.astype(np.uint32)

    def only(self, peers: NDArray[np.intp]) -> _Order:
        """The permutations of these peers, in this order."""
        some = object.__new__(_Order)
        some._low_bits, some._low_mask = self._low_bits[peers], self._low_mask[peers]
        some._high, some._keys = self._high[peers], self._keys[:, peers]
        some.rows = self.rows[peers]
        return some

    def permute(self, values: NDArray[np.uint32]) -> None:
        """Sends ``values`` (..., n) through the permutations, in place."""
        high = values >> self._low_bits
        low = values & self._low_mask
        moved, spare = np.empty_like(values), np.empty_like(values)
        for number in range(0, _ROUNDS, 2):
            _hash(low, self._keys[number], moved, spare)
            moved *= self._high  # 16 bits times a number below 2^16: scaled to 0 .. high - 1
            moved >>= np.uint32(16)
            high += moved
            np.subtract(high, self._high, out=moved)
            np.minimum(high, moved, out=high)  # the difference wraps round where high was less
            _hash(high, self._keys[number + 1], moved, spare)
            low += moved
            low &= self._low_mask
        high <<= self._low_bits
        np.bitwise_or(high, low, out=values)


def _hash(
    values: NDArray[np.uint32],
    key: NDArray[np.uint32],
    out: NDArray[np.uint32],
    spare: NDArray[np.uint32],
) -> None:
    """16 bits that depend on value and key, into ``out``."""
    np.add(values, key, out=out)
    out *= np.uint32(0x9E3779B1)
    np.right_shift(out, np.uint32(15), out=spare)
    out ^= spare
    out *= np.uint32(0x85EBCA77)
    out >>= np.uint32(16)


def _round_keys(keys: Keys) -> NDArray[np.uint32]:
    """The keys of the rounds, (rounds, n)."""
    words = [words_of(keys, number) for number in range(_ROUNDS)]
    return (np.stack(words) >> np.uint64(32)).astype(np.uint32)


def words_of(keys: Keys, number: int) -> NDArray[np.uint64]:
    """One word of each key, uint64 (n,), for each ``number`` below 2^64; batches use up 0 to 9."""
    spread = np.uint64((number + 1) * GOLDEN % 2**64)
    return scrambled(scrambled(keys[:, 0] + spread) ^ keys[:, 1])


def scrambled(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A one-to-one hash of 64-bit words, SplitMix's (Steele, Lea and Flood 2014)."""
    mixed = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
