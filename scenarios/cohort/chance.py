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

_BYTES = 2**18  # of noise made at a time: what it passes through stays in the cache


def poisson_samples(
    keys: Keys, lengths: NDArray[np.int64], step: int, rate: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of n nodes, each taken on its own with probability ``rate``: how many, and which.

    Returns the number of rows of each node, (n,), and the nodes' rows one after another,
    ascending. The words compared with the rate are those of SplitMix64, one generator a node.
    """
    first = np.cumsum(lengths) - lengths
    owners = np.repeat(np.arange(len(lengths)), lengths)
    rows = np.arange(len(owners)) - first[owners]
    if rate < 1:
        states = words_of(keys, _SAMPLES + step)
        words = scrambled(states[owners] + (rows + 1).astype(np.uint64) * np.uint64(GOLDEN))
        taken = np.flatnonzero(words < np.uint64(int(Fraction(rate) * 2**64)))
        owners, rows = owners[taken], rows[taken]
    return np.bincount(owners, minlength=len(lengths)), rows


class NormalStreams:
    """Normal numbers, one stream for each key and step.

    One generator (SFC64) is set to the beginning of one stream after another, which is far
    cheaper than making a generator for each. Its uniform numbers of 24 bits become normal ones
    by Box and Muller's transform (1958), over whole arrays faster than one by one; none lies
    beyond 5.8 standard deviations, which one in 10^8 should.
    """

    def __init__(self) -> None:
        self._bits = np.random.SFC64(0)
        self._state = self._bits.state

    def add(self, out: FloatVector, keys: Keys, step: int, deviation: float) -> None:
        """Adds to each row of ``out`` (n, P) the beginning of stream ``step`` of its key."""
        at_once = max(1, _BYTES // out[:1].nbytes)
        for start in range(0, len(out), at_once):
            part = slice(start, start + at_once)
            normal = self.normal(keys[part], step, out.shape[1])
            normal *= np.float32(deviation)
            out[part] += normal

    def normal(self, keys: Keys, step: int, size: int) -> FloatVector:
        """Float32 (n, size) of mean 0 and deviation 1: row i is from stream ``step`` of key i."""
        half = -(-size // 2)
        drawn = np.empty((len(keys), half), dtype=np.uint64)
        start = words_of(keys, _NOISE + step)[:, None]
        states = scrambled(start + np.arange(1, 5, dtype=np.uint64) * np.uint64(GOLDEN))
        for state, row in zip(states, drawn, strict=True):
            self._state["state"] = {"state": state}
            self._bits.state = self._state
            row[:] = self._bits.random_raw(half)
        halves = drawn.view(np.uint32)
        halves >>= np.uint32(8)  # a float32 holds 24 bits
        uniform = halves.astype(np.float32)
        uniform *= np.float32(2.0**-24)
        radius, angle = uniform[:, :half], uniform[:, half:]
        np.subtract(1, radius, out=radius)  # from (0, 1], for the logarithm
        np.log(radius, out=radius)
        radius *= np.float32(-2)
        np.sqrt(radius, out=radius)
        angle *= np.float32(2 * np.pi)
        sine = np.sin(angle)
        np.cos(angle, out=angle)
        angle *= radius
        radius *= sine
        return uniform[:, :size]
