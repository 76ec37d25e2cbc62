"""A stand-in for the privacy gate's session: the same calls, no ledger and no noise."""

import numpy as np


class FakeSession:
    """Real Poisson sampling when ``per_example_clip`` is set, fixed batches otherwise."""

    def __init__(self, *, clip=None, rate=0.25, seed=0):
        self.per_example_clip = clip
        self.rate = rate
        self.rng = np.random.default_rng(seed)
        self.batches = []
        self.sums = []

    def sample(self, n, batch_size):
        if self.per_example_clip is not None:
            rows = np.flatnonzero(self.rng.random(n) < self.rate)
        else:
            rows = self.rng.choice(n, size=min(n, batch_size), replace=False)
        self.n = n
        self.batches.append(rows)
        return rows

    def noisy_mean(self, clipped_sum):
        assert len(self.sums) < len(self.batches)
        self.sums.append(clipped_sum)
        return (clipped_sum / (self.rate * self.n)).astype(np.float32)
