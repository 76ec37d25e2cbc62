"""Linear models and multilayer perceptrons in NumPy alone, any number of them at once.

One kernel for one peer and for a simulation of thousands: every array begins with an axis for the
models, and each model gets the same bits whatever stands beside it. Layers are linear with ReLU
between them; the loss is softmax cross-entropy.
"""

from __future__ import annotations

from collections.abc import Sequence
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
        """Writes the layer's outputs (n, outputs, B) for ``inputs`` (n, inputs, B)."""
        np.matmul(self.weight(models), inputs, out=out)
        if self.bias:
            out += self.biases(models)[:, :, None]


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
        work.errors[-1] *= np.float32(1 / x.shape[1])
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
            lengths = np.square(inputs, dtype=np.float64).sum(axis=1)
            lengths += layer.bias
            squares += lengths * np.square(errors, dtype=np.float64).sum(axis=1)
        norms = np.sqrt(squares)
        factors = clip_factors(norms, clip_norm) * present
        broken = ~np.isfinite(norms)
        for errors in work.errors:
            np.multiply(errors, factors[:, None, :], out=errors)
        if broken.any():  # 0 times infinity is not 0
            for values in (*work.errors, *work.outputs[:-1]):
                values.transpose(0, 2, 1)[broken] = 0
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
            inputs = x[None, start : start + _TESTED].transpose(0, 2, 1)
            for layer in self.layers:
                outputs = np.empty((len(models), layer.outputs, len(labels)), dtype=np.float32)
                layer.forward(models, inputs, outputs)
                if layer is not self.layers[-1]:
                    np.maximum(outputs, 0, out=outputs)
                inputs = outputs
            right += (outputs.argmax(axis=1) == labels).sum(axis=1)
            outputs -= outputs.max(axis=1, keepdims=True)
            own = outputs[:, labels, np.arange(len(labels))]
            np.exp(outputs, out=outputs)
            loss += (np.log(outputs.sum(axis=1)) - own).sum(axis=1, dtype=np.float64)
        return right, loss / len(y)

    def _forward(self, models: FloatVector, x: FloatVector, y: Labels, work: Work) -> None:
        """Fills ``work.outputs``; the last errors are probabilities minus one-hot labels."""
        inputs = x.transpose(0, 2, 1)
        for layer, outputs in zip(self.layers, work.outputs, strict=True):
            layer.forward(models, inputs, outputs)
            if layer is not self.layers[-1]:
                np.maximum(outputs, 0, out=outputs)
            inputs = outputs
        inputs -= inputs.max(axis=1, keepdims=True)
        np.exp(inputs, out=inputs)
        inputs /= inputs.sum(axis=1, keepdims=True)
        inputs.reshape(-1)[work.places(y)] -= 1

    def _backward(self, models: FloatVector, work: Work) -> None:
        """From the last layer's errors to those of all others."""
        for number in range(len(self.layers) - 1, 0, -1):
            above, below = work.errors[number], work.errors[number - 1]
            np.matmul(self.layers[number].weight(models).transpose(0, 2, 1), above, out=below)
            below *= work.outputs[number - 1] > 0

    def _gradients(self, x: FloatVector, out: FloatVector, work: Work) -> None:
        """From errors to gradients: sums over the records of each batch."""
        for layer, inputs, errors in self._ascending(x, work):
            np.matmul(errors, inputs.transpose(0, 2, 1), out=layer.weight(out))
            if layer.bias:
                np.sum(errors, axis=2, out=layer.biases(out))

    def _ascending(
        self, x: FloatVector, work: Work
    ) -> list[tuple[Layer, FloatVector, FloatVector]]:
        """Each layer with its inputs (n, inputs, B) and errors (n, outputs, B)."""
        inputs = [x.transpose(0, 2, 1), *work.outputs[:-1]]
        return list(zip(self.layers, inputs, work.errors, strict=True))


class Work:
    """Scratch memory for ``models`` models that are handed ``records`` records each."""

    def __init__(self, net: Dense, models: int, records: int) -> None:
        shapes = [(models, layer.outputs, records) for layer in net.layers]
        self.outputs = [np.empty(shape, dtype=np.float32) for shape in shapes]
        below = [np.empty(shape, dtype=np.float32) for shape in shapes[:-1]]
        self.errors = [*below, self.outputs[-1]]  # the last outputs turn into errors in place
        size = net.classes * records
        self._first = np.arange(models)[:, None] * size + np.arange(records)
        self._records = records

    def places(self, y: Labels) -> NDArray[np.int64]:
        """Where in the last outputs, as one long row, the label of each record stands, (n, B)."""
        places: NDArray[np.int64] = self._first + y * self._records
        return places


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
