"""Integer-valued Gaussian noise and Poisson sampling from a cryptographic stream.

Floating-point noise leaks through its low-order bits (Mironov 2012, "On Significance of the
Least Significant Bits for Differential Privacy"), so what is released are integers.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np
from nacl.bindings import randombytes_buf_deterministic
from numpy.typing import NDArray

SEED_BYTES = 32
SMALLEST_SIGMA = 0.25  # below this most draws would be rejected, and the noise is mostly zeros
LARGEST_SIGMA = 2.0**40
_TAIL = 11.0  # a Gaussian lies beyond 11 standard deviations with probability below 2^-90
_POOL_BYTES = 4096
_MOST_PROPOSALS = 2**18  # at a time: bounds the memory to some 10 MB


class SecureStream:
    """An endless stream of random bits from one 32-byte seed; equal seeds give equal streams.

    ChaCha20 (RFC 8439, libsodium's deterministic generator) with fast key erasure: the first 32
    bytes of each call become the next key, so a stolen state does not tell earlier noise.
    Not for use by several threads at once.

    Raises:
        ValueError: the seed does not have 32 bytes.
    """

    __slots__ = ("_key", "_pool")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a stream needs a seed of {SEED_BYTES} bytes, not {len(seed)}")
        self._key = bytes(seed)
        self._pool = b""

    def __repr__(self) -> str:
        return "SecureStream(<hidden>)"

    def bytes(self, n: int) -> bytes:
        """The next ``n`` bytes."""
        if n > len(self._pool):
            fresh = randombytes_buf_deterministic(SEED_BYTES + max(n, _POOL_BYTES), self._key)
            self._key, self._pool = fresh[:SEED_BYTES], fresh[SEED_BYTES:]
        taken, self._pool = self._pool[:n], self._pool[n:]
        return taken

    def words(self, n: int) -> NDArray[np.uint64]:
        """The next ``n`` words, uniform over 0 .. 2^64 - 1, alike on every machine."""
        return np.frombuffer(self.bytes(8 * n), dtype="<u8").astype(np.uint64, copy=False)


def poisson_sample(stream: SecureStream, n: int, q: float) -> NDArray[np.int64]:
    """Indices out of 0 .. n - 1, each taken independently with probability ``q``; ascending.

    A 64-bit integer is compared with floor(q 2^64), so the probability is never above ``q``
    and less than 2^-64 below it. The result may be empty.

    Raises:
        ValueError: ``q`` is not in [0, 1].
    """
    if not 0.0 <= q <= 1.0:
        raise ValueError(f"a sampling rate lies in [0, 1], not {q}")
    threshold = int(Fraction(q) * 2**64)
    if threshold == 2**64:
        return np.arange(n, dtype=np.int64)
    return np.flatnonzero(stream.words(n) < np.uint64(threshold)).astype(np.int64, copy=False)


def integer_gaussian(stream: SecureStream, sigma: float, n: int) -> NDArray[np.int64]:
    """``n`` independent draws of round(sigma N), N standard normal: int64, mean 0.

    For an integer k, k + round(sigma N) = round(k + sigma N): the rounded Gaussian added to an
    integer query is the continuous Gaussian mechanism followed by post-processing. So the
    accounting of the continuous mechanism holds for it as it stands, sampled or not.

    The draw is by rejection (as in Karney 2016, "Sampling exactly from the normal distribution")
    and chooses the integer itself; no continuous value is ever rounded. Floating point enters
    only the probability of acceptance, with a relative error below 2^-48. A release of P numbers
    therefore adds at most P 2^-47 to epsilon (10^-8 for a million) and P 2^-59 to delta.

    About 0.1 s per million draws.

    Raises:
        ValueError: ``sigma`` is not in [0.25, 2^40].
    """
    if not SMALLEST_SIGMA <= sigma <= LARGEST_SIGMA:
        raise ValueError(
            f"integer noise needs sigma in [{SMALLEST_SIGMA}, {LARGEST_SIGMA:g}], not {sigma}"
        )
    # floor(2 sigma N) is drawn on half-open cells, which mirror without a special case at zero;
    # then round(sigma N) = floor((floor(2 sigma N) + 1) / 2).
    scale = 2.0 * sigma
    bits = max(0, math.floor(math.log2(scale)))  # blocks of 2^bits cells: uniform by shifting
    thresholds = _block_thresholds(scale, 2.0**bits)
    parts: list[NDArray[np.int64]] = []
    missing = n
    while missing > 0:
        # most often three out of four or more are accepted
        proposals = min(_MOST_PROPOSALS, missing + missing // 2 + 16)
        cells = _accepted_cells(stream, scale, bits, thresholds, proposals)
        parts.append(cells[:missing])
        missing -= len(parts[-1])
    drawn = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
    return (drawn + 1) >> 1


@lru_cache(maxsize=64)
def _block_thresholds(scale: float, width: float) -> NDArray[np.uint64]:
    """Cumulative probabilities, times 2^64, of the blocks [k width, (k + 1) width) of |X|.

    Block k is proposed with the probability of the density at its lower end, the largest in it.
    """
    blocks = math.ceil(_TAIL * scale / width) + 1
    weights = [Fraction(math.exp(-0.5 * (k * width / scale) ** 2)) for k in range(blocks)]
    total = sum(weights)
    sums, so_far = [], Fraction(0)
    for weight in weights[:-1]:
        so_far += weight
        sums.append(min(2**64 - 1, int(so_far / total * 2**64)))
    return np.array(sums, dtype=np.uint64)


def _accepted_cells(
    stream: SecureStream,
    scale: float,
    bits: int,
    thresholds: NDArray[np.uint64],
    proposals: int,
) -> NDArray[np.int64]:
    """The accepted of ``proposals`` candidates for floor(X), X normal with deviation ``scale``.

    A candidate is a block, a cell in it, a point in the cell and a sign; the point decides whether
    it is accepted, with probability density(point) / density(lower end of the block), and is
    then forgotten.
    """
    words = stream.words(3 * proposals).reshape(3, proposals)
    block = np.searchsorted(thresholds, words[0], side="right").astype(np.int64)
    cell = (words[1] >> np.uint64(64 - bits) if bits else np.zeros_like(words[1])).astype(np.int64)
    # The same word, read as a fraction, places the point: its high bits are the cell.
    offset = words[1].astype(np.float64) * 2.0 ** (bits - 64)
    start = block.astype(np.float64) * 2.0**bits
    exponent = -offset * (2.0 * start + offset) / (2.0 * scale * scale)
    # 63 bits decide (2^63 itself still fits the type), the lowest bit is the sign
    accepted = (words[2] >> np.uint64(1)) < (np.exp(exponent) * 2.0**63).astype(np.uint64)
    magnitude = (block << np.int64(bits)) + cell
    signed = np.where(words[2] & np.uint64(1), -magnitude - 1, magnitude)
    chosen: NDArray[np.int64] = signed[accepted]
    return chosen
