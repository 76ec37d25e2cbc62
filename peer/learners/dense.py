"""Linear models and multilayer perceptrons in NumPy alone, any number of them at once.

One kernel for one peer and for a simulation of thousands: every array begins with an axis for the
models, and each model gets the same bits whatever stands beside it. Layers are linear with ReLU
between them; the loss is softmax cross-entropy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .base import Evaluation, FloatVector, Rows
from .descent import clip_factors

Labels = NDArray[np.int64]

_TESTED = 512  # records that are tested at a time


@dataclass(frozen=True, slots=True)
class Layer:
    """One linear layer: where its numbers lie in a model's vector, and how many there are."""

    inputs: int
    outputs: int
    at: int
    bias: bool

    @property
    def end(self) -> int:
        """Where the next layer's numbers begin."""
        return self.at + self.outputs * (self.inputs + self.bias)

    def weight(self, models: FloatVector) -> FloatVector:
        """The weights as a view of ``models`` (n, P): (n, outputs, inputs)."""
        weights = models[:, self.at : self.at + self.outputs * self.inputs]
        return weights.reshape(len(models), self.outputs, self.inputs)

    def biases(self, models: FloatVector) -> FloatVector:
        """The biases as a view of ``models`` (n, P): (n, outputs)."""
        return models[:, self.at + self.outputs * self.inputs : self.end]

    def forward(self, models: FloatVector, inputs: FloatVector, out: FloatVector) -> None:
        """Writes the layer's outputs (n, B, outputs) for ``inputs`` (n, B, inputs)."""
        np.matmul(inputs, self.weight(models).transpose(0, 2, 1), out=out)
        if self.bias:
            out += self.biases(models)[:, None, :]


class Dense:
    """Layers of the sizes ``widths``; a model's vector holds weights, then biases, of each."""

    def __init__(self, widths: Sequence[int], *, bias: Sequence[bool] | None = None) -> None:
        layers: list[Layer] = []
        biases = bias or [True] * (len(widths) - 1)
        for inputs, outputs, has_bias in zip(widths[:-1], widths[1:], biases, strict=True):
            layers.append(Layer(inputs, outputs, layers[-1].end if layers else 0, has_bias))
        self.layers = tuple(layers)

    @property
    def parameters(self) -> int:
        """The number of parameters, P."""
        return self.layers[-1].end

    @property
    def inputs(self) -> int:
        """The number of features of a record."""
        return self.layers[0].inputs

    @property
    def classes(self) -> int:
        """The number of classes."""
        return self.layers[-1].outputs

    def mean_gradient(
        self, models: FloatVector, x: FloatVector, y: Labels, out: FloatVector, work: Work
    ) -> None:
        """Writes into ``out`` (n, P) the gradients of the mean loss over each model's own batch.

        ``models`` is (n, P), ``x`` (n, B, inputs), ``y`` (n, B) with B >= 1.
        """
        self._forward(models, x, y, work)
        work.scores *= np.float32(1 / x.shape[1])
        self._backward(models, work)
        self._gradients(x, out, work)

    def clipped_sum(
        self,
        models: FloatVector,
        x: FloatVector,
        y: Labels,
        present: FloatVector,
        clip_norm: float,
        out: FloatVector,
        work: Work,
    ) -> None:
        """Writes into ``out`` (n, P) the sums of the gradients of single records, each clipped.

        ``present`` (n, B) is 1 for a record and 0 for padding. For a record with input a and
        output error e, a layer's gradient is the outer product of e and (a, 1), so its norm is
        the product of theirs and no record's gradient is ever formed (Goodfellow 2015).
        """
        self._forward(models, x, y, work)
        self._backward(models, work)
        squares = np.zeros(y.shape)
        for layer, inputs, errors in self._ascending(x, work):
            squares += (_squares(inputs) + layer.bias) * _squares(errors)
        norms = np.sqrt(squares)
        factors = clip_factors(norms, clip_norm) * present
        broken = ~np.isfinite(norms)
        for errors in work.errors:
            np.multiply(errors, factors[:, :, None], out=errors)
        if broken.any():  # 0 times infinity is not 0
            for values in (*work.errors, *work.outputs[:-1]):
                values[broken] = 0
        self._gradients(x, out, work)

    def score(
        self, models: FloatVector, x: FloatVector, y: Labels
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """How many records each of the models gets right, (n,), and their mean loss, (n,).

        ``x`` (T, inputs) and ``y`` (T,) are the same for all models.
        """
        right = np.zeros(len(models), dtype=np.int64)
        loss = np.zeros(len(models))
        for start in range(0, len(y), _TESTED):
            labels = y[start : start + _TESTED]
            work = Work(self, len(models), len(labels))
            self._outputs(models, x[None, start : start + _TESTED], work)
            scores = work.scores
            right += (scores.argmax(axis=0) == labels).sum(axis=1)
            scores -= scores.max(axis=0)
            own = work.own_scores(labels)
            np.exp(scores, out=scores)
            loss += (np.log(work.total_scores()) - own).sum(axis=1, dtype=np.float64)
        return right, loss / len(y)

    def _outputs(self, models: FloatVector, x: FloatVector, work: Work) -> None:
        """Fills ``work.outputs``."""
        inputs = x
        for layer, outputs in zip(self.layers, work.outputs, strict=True):
            layer.forward(models, inputs, outputs)
            if layer is not self.layers[-1]:
                np.maximum(outputs, 0, out=outputs)
            inputs = outputs

    def _forward(self, models: FloatVector, x: FloatVector, y: Labels, work: Work) -> None:
        """From records to the last layer's errors: probabilities minus one-hot labels."""
        self._outputs(models, x, work)
        scores = work.scores
        scores -= scores.max(axis=0)
        np.exp(scores, out=scores)
        scores /= work.total_scores()
        work.subtract_labels(y)

    def _backward(self, models: FloatVector, work: Work) -> None:
        """From the last layer's errors to those of all others."""
        for number in range(len(self.layers) - 1, 0, -1):
            above, below = work.errors[number], work.errors[number - 1]
            np.matmul(above, self.layers[number].weight(models), out=below)
            below *= work.outputs[number - 1] > 0

    def _gradients(self, x: FloatVector, out: FloatVector, work: Work) -> None:
        """From errors to gradients: sums over the records of each batch."""
        for layer, inputs, errors in self._ascending(x, work):
            np.matmul(errors.transpose(0, 2, 1), inputs, out=layer.weight(out))
            if layer.bias:
                np.matmul(work.ones, errors, out=layer.biases(out))

    def _ascending(
        self, x: FloatVector, work: Work
    ) -> Iterator[tuple[Layer, FloatVector, FloatVector]]:
        """Each layer with its inputs (n, B, inputs) and errors (n, B, outputs)."""
        return zip(self.layers, [x, *work.outputs[:-1]], work.errors, strict=True)


class Work:
    """Scratch memory for ``models`` models that are handed ``records`` records each.

    Inputs, outputs and errors of all layers are (n, B, width). The last layer's lie in memory
    class by class, for what softmax does is done to whole classes: ``scores`` (classes, n, B).
    """

    def __init__(self, net: Dense, models: int, records: int) -> None:
        hidden = [(models, records, layer.outputs) for layer in net.layers[:-1]]
        # One number more than fills a row: whatever there is one of, no two axes then have the
        # same stride, by which NumPy would choose another way to multiply, with other bits.
        self._row = models * records + 1
        self._memory = np.empty(net.classes * self._row, dtype=np.float32)
        rows = self._memory.reshape(net.classes, self._row)[:, :-1]
        self.scores = rows.reshape(net.classes, models, records)
        last = self.scores.transpose(1, 2, 0)  # whose outputs turn into errors in place
        self.outputs = [*(np.empty(shape, dtype=np.float32) for shape in hidden), last]
        self.errors = [*(np.empty(shape, dtype=np.float32) for shape in hidden), last]
        # Sums are matrix products: of those the bits do not depend on how many models there are.
        self.ones = np.ones(records, dtype=np.float32)
        self._class_ones = np.ones(net.classes, dtype=np.float32)
        self._place = np.arange(models * records).reshape(models, records)

    def total_scores(self) -> FloatVector:
        """The sum over the classes, (n, B)."""
        total: FloatVector = np.matmul(self._class_ones, self.scores.transpose(1, 0, 2))
        return total

    def own_scores(self, y: Labels) -> FloatVector:
        """The scores of the labels ``y`` (n, B) or (B,), as a copy (n, B)."""
        own: FloatVector = self._memory[self._places(y)]
        return own

    def subtract_labels(self, y: Labels) -> None:
        """Takes 1 from the scores of the labels ``y`` (n, B)."""
        self._memory[self._places(y)] -= 1

    def _places(self, y: Labels) -> NDArray[np.int64]:
        places: NDArray[np.int64] = y * self._row + self._place
        return places


def _squares(values: FloatVector) -> NDArray[np.float64]:
    """The squared norm along the last axis; infinite beyond 10^38, as for what is broken."""
    ones = np.ones(values.shape[-1], dtype=np.float32)
    squares: NDArray[np.float64] = np.matmul(np.square(values), ones).astype(np.float64)
    return squares


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseTask:
    """A network of dense layers and what it learns from: records as float32 (n, inputs).

    Labels are int64 (n,) below ``net.classes``; whoever makes one has checked that.
    """

    net: Dense
    train_x: FloatVector
    train_y: Labels
    test_x: FloatVector
    test_y: Labels

    def mean_gradient(self, model: FloatVector, rows: Rows) -> FloatVector:
        """The gradient of the mean cross-entropy over ``rows``, float32 (P,)."""
        out = np.empty(self.net.parameters, dtype=np.float32)
        x, y = self.train_x[rows][None], self.train_y[rows][None]
        self.net.mean_gradient(model[None], x, y, out[None], Work(self.net, 1, len(rows)))
        return out

    def clipped_sum(self, model: FloatVector, rows: Rows, clip_norm: float) -> FloatVector:
        """The sum of the gradients of ``rows``, each clipped to ``clip_norm``, float32 (P,)."""
        out = np.empty(self.net.parameters, dtype=np.float32)
        x, y = self.train_x[rows][None], self.train_y[rows][None]
        present = np.ones((1, len(rows)), dtype=np.float32)
        work = Work(self.net, 1, len(rows))
        self.net.clipped_sum(model[None], x, y, present, clip_norm, out[None], work)
        return out

    def evaluate(self, model: FloatVector) -> Evaluation:
        """Accuracy and mean cross-entropy of ``model``, float32 (P,), on the test records."""
        right, loss = self.net.score(model[None], self.test_x, self.test_y)
        samples = len(self.test_y)
        return Evaluation(accuracy=int(right[0]) / samples, loss=float(loss[0]), samples=samples)
