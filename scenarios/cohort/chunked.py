"""A cohort whose kernel works on a chunk of nodes at a time.

A chunk makes all its local steps before the next one begins, so what it works on stays in a
core's cache. Nodes whose batches have the same size stand in one chunk: nothing is padded but
Poisson samples, and those to sizes that depend on the node alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...crypto.sampling import Keys, draw_rows
from ...crypto.session import SENSITIVITY_MARGIN
from ...gossip.grid import FloatVector
from ...peer.learners.base import TrainingPlan
from ...peer.learners.descent import take_step
from .base import Nodes, Noise, Scores
from .chance import NormalStreams, poisson_samples

Records: TypeAlias = NDArray[np.int64]
Gradients: TypeAlias = Callable[[FloatVector, FloatVector], None]
"""Given models (n, P), writes the gradient of one step into the second array."""
Samples: TypeAlias = list[tuple[Nodes, Records, FloatVector]]

_DRAWN = 2**20  # members of batches that are drawn at a time: some megabytes
_WIDER = 6  # times as many nodes stand in a chunk with Poisson samples as in one without
_PADDING = 8  # Poisson samples are filled up to a multiple of this many records


class Kernel(Protocol):
    """Gradients of n models at once, ``models`` (n, P), each on its own records.

    ``records`` (n, B) are numbers in the one list of all nodes' records. Each model's result has
    the same bits whatever n is.
    """

    parameters: int

    def chunk(self, records: int) -> int:
        """How many models to hand over at a time when each has so many records a step."""
        ...

    def mean_gradient(self, models: FloatVector, records: Records, out: FloatVector) -> None:
        """Writes the gradients of the mean losses into ``out`` (n, P)."""
        ...

    def clipped_sum(
        self,
        models: FloatVector,
        records: Records,
        present: FloatVector,
        clip_norm: float,
        out: FloatVector,
    ) -> None:
        """Writes the sums of the records' gradients, each clipped, into ``out`` (n, P).

        ``present`` (n, B) is 0 where a record is padding, else 1.
        """
        ...

    def score(self, models: FloatVector) -> Scores:
        """How good the models are on the test records."""
        ...


class ChunkedCohort:
    """The nodes' learners; node i has ``samples[i]`` records, which follow on those of i - 1.

    ``chunk`` stands in for what the kernel thinks best.
    """

    def __init__(
        self, kernel: Kernel, samples: NDArray[np.int64], *, chunk: int | None = None
    ) -> None:
        self.samples = samples
        self._kernel = kernel
        self._first = np.cumsum(samples) - samples
        self._chunk = chunk
        self._streams = NormalStreams()

    @property
    def parameters(self) -> int:
        """The number of parameters of a model, P."""
        return self._kernel.parameters

    def train(
        self,
        models: FloatVector,
        drift: FloatVector | None,
        *,
        beta: float,
        plan: TrainingPlan,
        nodes: Nodes,
        keys: Keys,
        noise: Noise | None = None,
    ) -> Nodes:
        """One round of local steps, in place; see ``Cohort.train``."""
        lost = [np.zeros(0, dtype=np.intp)]
        with np.errstate(over="ignore", invalid="ignore"):  # told by what is returned
            for rows, steps in self._chunks(plan, nodes, keys, noise):
                x = models[rows]
                pull = None if drift is None or not beta else np.float32(beta) * drift[rows]
                _descend(x, steps, pull, plan)
                if noise is not None and noise.settings.mode == "peer":
                    self._noise_updates(models[rows], x, keys[rows], noise)
                # NaN is larger and smaller than any number
                fine = np.isfinite(x.max(axis=1)) & np.isfinite(x.min(axis=1))
                if fine.all():
                    models[rows] = x
                else:
                    models[rows[fine]] = x[fine]
                    lost.append(rows[~fine])
        return np.sort(np.concatenate(lost))

    def evaluate(self, models: FloatVector) -> Scores:
        """How good ``models`` (n, P) are on the test records."""
        return self._kernel.score(models)

    def _chunks(
        self, plan: TrainingPlan, nodes: Nodes, keys: Keys, noise: Noise | None
    ) -> Iterator[tuple[Nodes, Iterator[Gradients]]]:
        """Rows to be trained together, and for each step what computes their gradients."""
        if noise is not None and noise.settings.mode == "record":
            size = math.ceil(noise.settings.sampling_rate * self.samples[nodes].mean())
            # more at a time, for samples of about one size have to be found among them
            for rows in _pieces(np.arange(len(nodes)), _WIDER * self._chunk_for(size)):
                yield rows, self._noisy(plan, nodes[rows], keys[rows], noise)
            return
        sizes = np.minimum(plan.batch_size, self.samples[nodes])
        for size in np.unique(sizes).tolist():
            chunk = self._chunk_for(size)
            # drawing is cheapest for many nodes at once
            block = max(chunk, _DRAWN // (size * plan.local_steps))
            for rows in _pieces(np.flatnonzero(sizes == size), block):
                batches = self._batches(plan, nodes[rows], keys[rows], size)
                if len(rows) <= chunk:
                    yield rows, (self._plain(batch) for batch in batches)
                    continue
                drawn = list(batches)
                for part in _pieces(np.arange(len(rows)), chunk):
                    yield rows[part], (self._plain(batch[part]) for batch in drawn)

    def _chunk_for(self, size: int) -> int:
        return self._chunk or self._kernel.chunk(size)

    def _batches(
        self, plan: TrainingPlan, nodes: Nodes, keys: Keys, size: int
    ) -> Iterator[Records]:
        """The records (n, size) of each step."""
        ahead = max(1, _DRAWN // (size * len(nodes)))
        for step in range(0, plan.local_steps, ahead):
            count = min(ahead, plan.local_steps - step)
            drawn = draw_rows(keys, self.samples[nodes], step * size, count * size)
            drawn += self._first[nodes, None]
            yield from drawn.reshape(len(nodes), count, size).swapaxes(0, 1)

    def _plain(self, records: Records) -> Gradients:
        return lambda x, out: self._kernel.mean_gradient(x, records, out)

    def _noisy(
        self, plan: TrainingPlan, nodes: Nodes, keys: Keys, noise: Noise
    ) -> Iterator[Gradients]:
        """The noisy means of DP-SGD (Abadi et al. 2016) over Poisson samples, step by step."""
        settings = noise.settings
        sigma = noise.multiplier * settings.clip_norm * SENSITIVITY_MARGIN
        expected = (settings.sampling_rate * self.samples[nodes, None]).astype(np.float32)
        for step in range(plan.local_steps):
            samples = _padded(
                *poisson_samples(keys, self.samples[nodes], step, settings.sampling_rate),
                self._first[nodes],
            )

            def noisy_mean(
                x: FloatVector, out: FloatVector, step: int = step, samples: Samples = samples
            ) -> None:
                for rows, records, present in samples:
                    summed = np.empty((len(rows), out.shape[1]), dtype=np.float32)
                    self._kernel.clipped_sum(x[rows], records, present, settings.clip_norm, summed)
                    out[rows] = summed
                self._streams.add(out, keys, step, sigma)
                out /= expected

            yield noisy_mean

    def _noise_updates(self, before: FloatVector, x: FloatVector, keys: Keys, noise: Noise) -> None:
        """Clips and noises what training changed: the Gaussian mechanism on whole updates."""
        clip_norm = noise.settings.clip_norm
        update = x - before
        norms = np.sqrt(np.einsum("np,np->n", update, update, dtype=np.float64))
        update *= np.minimum(1, clip_norm / np.maximum(norms, clip_norm))[:, None].astype(
            np.float32
        )
        self._streams.add(update, keys, 0, noise.multiplier * clip_norm)
        np.add(before, update, out=x)


def _descend(
    x: FloatVector, steps: Iterable[Gradients], pull: FloatVector | None, plan: TrainingPlan
) -> None:
    """Goes down the gradients that ``steps`` write for models (n, P), in place."""
    gradient = np.empty_like(x)
    velocity = np.zeros_like(x) if plan.momentum else None
    for write in steps:
        write(x, gradient)
        take_step(x, gradient, velocity=velocity, pull=pull, plan=plan)


def _pieces(rows: Nodes, size: int) -> Iterator[Nodes]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _padded(counts: Records, chosen: Records, first: Records) -> Samples:
    """Samples filled up to equal sizes: rows, their records (n, B), and which are there (n, B).

    Row i has ``counts[i]`` of the row numbers ``chosen``, and its record 0 is ``first[i]``.
    """
    widths = np.maximum(-(-counts // _PADDING), 1) * _PADDING
    begin = np.cumsum(counts) - counts
    chosen = np.append(chosen, 0)  # so that there is one to point at
    samples = []
    for width in np.unique(widths).tolist():
        rows = np.flatnonzero(widths == width)
        present = np.arange(width) < counts[rows, None]
        places = np.where(present, begin[rows, None] + np.arange(width), len(chosen) - 1)
        records = chosen[places] + first[rows, None]
        samples.append((rows, records, present.astype(np.float32)))
    return samples
