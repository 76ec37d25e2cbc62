"""How right a torch module's outputs are, whatever kind of task it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...crypto.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Scorer:
    """``add(output, target)`` sums over the records of a chunk, ``finish(sum, records)`` averages.

    The result is the accuracy, or R^2 for real-valued targets: see ``Evaluation``.
    """

    add: Callable[[Tensor, Tensor], float]
    finish: Callable[[float, int], float]


def scorer(loss: object, output: Tensor, targets: Tensor, *, name: str) -> Scorer:
    """The scorer for a module with such an ``output`` (B, ...) and all test ``targets`` (n, ...).

    Raises ConfigError when the two cannot be compared.
    """
    if targets.dtype == torch.int64 and output.ndim == targets.ndim + 1:
        return Scorer(_largest_is_target, _mean)
    if output.shape[1:] == targets.shape[1:]:
        if isinstance(loss, nn.BCEWithLogitsLoss):
            return Scorer(lambda out, y: _agreeing((out > 0) == (y > 0.5)), _mean)
        if isinstance(loss, nn.BCELoss):
            return Scorer(lambda out, y: _agreeing((out > 0.5) == (y > 0.5)), _mean)
        if isinstance(loss, nn.CrossEntropyLoss):  # targets are class probabilities
            return Scorer(lambda out, y: _largest_is_target(out, y.argmax(dim=1)), _mean)
        real = targets.double()
        spread = float((real - real.mean(dim=0)).square().sum())
        return Scorer(
            lambda out, y: float((out.double() - y.double()).square().sum()),
            lambda missed, _: max(0.0, 1 - missed / spread) if spread else float(missed == 0),
        )
    raise ConfigError(
        f"outputs of shape {tuple(output.shape[1:])} cannot be compared with targets of shape "
        f"{tuple(targets.shape[1:])}",
        where=name,
        fix="give one score for each class along the first axis after the records', or outputs "
        "of the targets' shape",
    )


def _largest_is_target(output: Tensor, target: Tensor) -> float:
    return _agreeing(output.argmax(dim=1) == target)


def _agreeing(right: Tensor) -> float:
    """The number of records, each counted by the share of its entries that are right."""
    return float(right.reshape(len(right), -1).double().mean(dim=1).sum())


def _mean(total: float, records: int) -> float:
    return total / records
