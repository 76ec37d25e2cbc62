"""What a coordinator does: it draws who takes part in a round, and averages what they send.

Federated averaging (McMahan, Moore, Ramage, Hampson, Agüera y Arcas 2017, algorithm 1) lets a share
of the clients train in each round and weighs their models by their records. With everybody in every
round and equal weights the average is what an all-reduce gives. Both are here to be compared with.

Models are averaged on the grid, so the sum is exact: it does not depend on the order of the
clients, nor on how many are added at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .grid import GridVector

LARGEST_WEIGHT = 2**30  # of all clients together: times int32, twice, still fits 64 bits


def draw_participants(clients: int, share: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Who takes part in a round: max(round(share * clients), 1) different numbers, rising."""
    if clients < 1 or not 0 < share <= 1:
        raise ValueError("there must be clients, and some of them must take part")
    count = max(round(share * clients), 1)
    return np.sort(rng.choice(clients, count, replace=False)).astype(np.int64)


class WeightedMean:
    """The weighted mean of grid vectors, taken up a few at a time."""

    def __init__(self, parameters: int) -> None:
        self._sum = np.zeros(parameters, dtype=np.int64)
        self._weight = 0

    def add(self, vectors: GridVector, weights: ArrayLike) -> None:
        """Take up ``vectors`` (n, P) with the whole, positive ``weights`` (n,), such as records.

        Raises ValueError for other weights, and when all of them would exceed 2^30.
        """
        counts = np.asarray(weights)
        if counts.shape != (len(vectors),) or counts.dtype.kind not in "iu" or (counts < 1).any():
            raise ValueError("each vector needs a weight, a whole number of at least 1")
        weight = self._weight + sum(counts.tolist())
        if weight > LARGEST_WEIGHT:
            raise ValueError(f"weights of {weight} in all are more than {LARGEST_WEIGHT}")
        for vector, count in zip(vectors, counts.tolist(), strict=True):
            self._sum += np.multiply(vector, count, dtype=np.int64)
        self._weight = weight

    def value(self) -> GridVector:
        """The mean (P,), to the nearest grid unit, halves upward. ValueError if there is none."""
        if not self._weight:
            raise ValueError("there is no mean of nothing")
        mean: GridVector = ((2 * self._sum + self._weight) // (2 * self._weight)).astype(np.int32)
        return mean
