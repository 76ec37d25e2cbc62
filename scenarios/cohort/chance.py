"""The chance of simulated privacy: Poisson samples and Gaussian noise, for many nodes at once.

Of the right distribution, and a node's own: they follow from its key and the number of the step
alone. They hide nothing, for whoever has the keys can draw them again; what protects real peers
is in crypto/integer_noise.py.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ...crypto.sampling import GOLDEN, Keys, scrambled, words_of
from ...gossip.grid import FloatVector

# Which of a key's words each purpose uses; a step's number is added.
_SAMPLES = 1 << 40
_NOISE = 2 << 40


def poisson_samples(
    keys: Keys, lengths: NDArray[np.int64], step: int, rate: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of n nodes, each taken on its own with probability ``rate``: how many, and which.

    Returns the number of rows of each node, (n,), and the nodes' rows one after another,
    ascending. The words compared with the rate are those of SplitMix64, one generator a node.
    """
    first = np.cumsum(lengths) - lengths
    numbers = np.arange(lengths.sum())
    if rate < 1:
        states = words_of(keys, _SAMPLES + step)
        within = (numbers - np.repeat(first, lengths) + 1).astype(np.uint64)
        words = scrambled(np.repeat(states, lengths) + within * np.uint64(GOLDEN))
        numbers = np.flatnonzero(words < np.uint64(int(Fraction(rate) * 2**64)))
    owners = np.repeat(np.arange(len(lengths)), lengths)[numbers]
    return np.bincount(owners, minlength=len(lengths)), numbers - first[owners]


class NormalStreams:
    """Standard normal numbers, one stream for each key and step.

    One generator (SFC64) is set to the beginning of one stream after another, which is far
    cheaper than making a generator for each. Its uniform numbers of 24 bits become normal ones
    by Box and Muller's transform (1958), twice as fast over whole arrays as NumPy's one by one;
    none lies beyond 5.8 standard deviations, which one in 10^8 should.
    """

    def __init__(self) -> None:
        self._bits = np.random.SFC64(0)
        self._generator = np.random.Generator(self._bits)
        self._state = self._bits.state

    def normal(self, keys: Keys, step: int, size: int) -> FloatVector:
        """Float32 (n, size): row i is the beginning of stream ``step`` of key i."""
        half = -(-size // 2)
        uniform = np.empty((len(keys), 2, half), dtype=np.float32)
        start = words_of(keys, _NOISE + step)[:, None]
        words = scrambled(start + np.arange(1, 5, dtype=np.uint64) * np.uint64(GOLDEN))
        for row_words, row in zip(words, uniform, strict=True):
            self._state["state"] = {"state": row_words}
            self._bits.state = self._state
            self._generator.random(dtype=np.float32, out=row)
        radius, angle = uniform[:, 0], uniform[:, 1]
        np.subtract(1, radius, out=radius)  # from (0, 1], for the logarithm
        np.log(radius, out=radius)
        radius *= np.float32(-2)
        np.sqrt(radius, out=radius)
        angle *= np.float32(2 * np.pi)
        found = np.empty((len(keys), 2 * half), dtype=np.float32)
        np.multiply(radius, np.cos(angle), out=found[:, :half])
        np.multiply(radius, np.sin(angle, out=angle), out=found[:, half:])
        return found[:, :size]
