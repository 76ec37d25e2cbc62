"""What a learner trains with during one round, so that it need not know about privacy."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .digest import digest
from .errors import ConfigError
from .integer_noise import SecureStream, integer_gaussian, poisson_sample
from .privacy_settings import PrivacySettings
from .sampling import batch_keys, draw_rows

GRID_STEPS = 2**10  # grid units per clip norm, times sqrt(P): rounding moves at most C / 2^10

# Rounding a sum to the grid lets one record move it by C / 2^10 more than its clipped gradient.
# As much again is left for the float32 arithmetic of clipping and summing: enough for a worst
# case of 90 examples a batch, and for tens of thousands when rounding errors do not conspire.
SENSITIVITY_MARGIN = 1 + 2**-9


class Session:
    """What a learner trains with during one round; made by :meth:`PrivacyGate.begin`.

    A learner takes each batch from :meth:`sample`. If ``per_example_clip`` is not None it clips
    each example's gradient to that L2 norm, sums them, and steps along ``noisy_mean(sum)``
    instead of the mean gradient, once for each batch, also when the batch is empty.
    """

    def __init__(
        self,
        settings: PrivacySettings,
        *,
        noise_multiplier: float,
        samples: int,
        round: int,
        seed: bytes,
    ) -> None:
        self.round = round
        self.per_example_clip = settings.clip_norm if settings.mode == "record" else None
        self._settings = settings
        self._noise_multiplier = noise_multiplier
        self._samples = samples
        # Noise and Poisson samples are the stream's. Batches that no claim rests on follow from
        # half of the seed, by a fast hash: all that could be learnt from them leaves 128 bits of
        # the stream's key unknown.
        self._stream = SecureStream(digest("session", seed))
        self._keys = batch_keys([seed])
        self._drawn = 0  # rows so far
        self._batch: int | None = None  # size of the batch whose noisy mean is still owed
        self._steps = 0
        self._closed = False

    def sample(self, n: int, batch_size: int) -> NDArray[np.int64]:
        """Row indices of the next batch out of ``n`` rows; int64, any length, distinct.

        In mode ``record`` a Poisson sample: each row on its own with the configured rate, whatever
        ``batch_size`` says; it may be empty. Otherwise the next ``batch_size`` rows (or all ``n``)
        in the round's random order of the rows, which begins again where it ends.

        Raises:
            RuntimeError: ``n`` is not the number of rows that the gate was told, the session is
                over, or the last batch's ``noisy_mean`` is missing: errors of the learner's.
        """
        self._expect_open()
        if self.per_example_clip is None:
            size = min(batch_size, n)
            rows = draw_rows(self._keys, [n], self._drawn, size)
            self._drawn += size
            return rows.reshape(size)
        if n != self._samples:
            raise RuntimeError(f"the learner samples from {n} rows, but announced {self._samples}")
        if self._batch is not None:
            raise RuntimeError("noisy_mean() was not called for the last batch")
        taken = poisson_sample(self._stream, n, self._settings.sampling_rate)
        self._batch = len(taken)
        return taken

    def noisy_mean(self, clipped_sum: ArrayLike) -> NDArray[np.float32]:
        """The mean gradient with the noise that the accountant counts on; float32 (P,).

        ``clipped_sum`` (P,) is the sum of the batch's gradients, each clipped to
        ``per_example_clip``. It goes to a grid of C / (2^10 sqrt(P)), gets integer Gaussian
        noise, and is divided by the *expected* size of a batch (the real one is private).

        Raises:
            RuntimeError: there is no batch that it belongs to, or the sum is longer than the
                batch could make it: the gradients were not clipped. Errors of the learner's.
            ConfigError: the sum is not finite: training diverged.
        """
        self._expect_open()
        if self.per_example_clip is None:
            raise RuntimeError("noisy_mean() is for mode 'record'; per_example_clip is None")
        if self._batch is None:
            raise RuntimeError("noisy_mean() belongs to one sample(), and was called without")
        total = np.asarray(clipped_sum, dtype=np.float64)
        expect_finite(total)
        longest = self._batch * self.per_example_clip * SENSITIVITY_MARGIN
        if float(np.linalg.norm(total)) > longest:
            raise RuntimeError(f"a sum of {self._batch} gradients was not clipped")
        unit = _grid_unit(self.per_example_clip, total.size)
        sigma = self._noise_multiplier * self.per_example_clip * SENSITIVITY_MARGIN / unit
        noisy = np.rint(total / unit).astype(np.int64)
        noisy += integer_gaussian(self._stream, sigma, total.size)
        self._batch = None
        self._steps += 1
        expected = self._settings.sampling_rate * self._samples
        return (noisy * (unit / expected)).astype(np.float32)

    def noise_update(self, update: NDArray[np.float64]) -> NDArray[np.float64]:
        """A whole update (P,), clipped and noised on the grid: what mode ``peer`` releases."""
        clip_norm = self._settings.clip_norm
        noisy = _clipped_to_grid(update, clip_norm)
        sigma = self._noise_multiplier * GRID_STEPS * math.sqrt(update.size)
        noisy += integer_gaussian(self._stream, sigma, update.size)
        return noisy.astype(np.float64) * _grid_unit(clip_norm, update.size)

    def finish(self) -> int:
        """Ends the session; returns the number of noisy steps that were made.

        Raises:
            RuntimeError: it is over already, or a batch was drawn that no noisy mean was taken
                of: what the learner did with it is unknown.
        """
        self._expect_open()
        if self._batch is not None:
            raise RuntimeError("noisy_mean() was not called for the last batch")
        self._closed = True
        return self._steps

    def _expect_open(self) -> None:
        if self._closed:
            raise RuntimeError("this session is over: its release was made")


def expect_finite(values: NDArray[np.floating]) -> None:
    """Refuse a model or a gradient that training has lost.

    Raises:
        ConfigError: a value is infinite or not a number.
    """
    if not np.isfinite(values).all():
        raise ConfigError(
            "training diverged: the model is no longer finite", fix="lower the learning rate"
        )


def _grid_unit(clip_norm: float, size: int) -> float:
    return clip_norm / (GRID_STEPS * math.sqrt(size))


def _clipped_to_grid(update: NDArray[np.float64], clip_norm: float) -> NDArray[np.int64]:
    """``update`` (P,) in grid units, scaled to the clip norm, which holds exactly after rounding.

    In grid units the squared clip norm is the integer 2^20 P.
    """
    norm = float(np.linalg.norm(update))
    scaled = update * (min(1.0, clip_norm / norm) if norm else 1.0)
    scaled /= _grid_unit(clip_norm, update.size)
    rounded = np.rint(scaled).astype(np.int64)
    while int(rounded @ rounded) > GRID_STEPS**2 * update.size:
        scaled *= 1 - 2**-12
        rounded = np.rint(scaled).astype(np.int64)
    return rounded
