"""Which torch modules are plain enough for the NumPy kernel, dense.py."""

from __future__ import annotations

import torch
from torch import nn

from .data import Dataset
from .dense import Dense, DenseTask
from .per_example import Loss, plain_layers


def dense_task(module: nn.Module, loss: Loss, dataset: Dataset) -> DenseTask | None:
    """The same task for the NumPy kernel; None when module, loss or records are of another kind.

    The module has to be an ``nn.Sequential`` of ``nn.Linear`` with ``nn.ReLU`` between, the loss
    the mean cross-entropy, each target a class.
    """
    net = _net(module, dataset)
    y = dataset.train_y
    if net is None or not _is_cross_entropy(loss) or y.ndim != 1 or y.dtype.kind != "i":
        return None
    return DenseTask(
        net=net,
        train_x=dataset.train_x.reshape(len(y), -1),
        train_y=y,
        test_x=dataset.test_x.reshape(len(dataset.test_y), -1),
        test_y=dataset.test_y,
    )


def _net(module: nn.Module, dataset: Dataset) -> Dense | None:
    """The module's layers, if they are linear with ReLU between and nothing else that counts."""
    if dataset.train_x.dtype.kind != "f":
        return None
    layers = plain_layers(module, torch.from_numpy(dataset.test_x[:1].copy()))
    counting = [one for one in layers or () if type(one) not in (nn.Flatten, nn.Identity)]
    linears = [one for one in counting if isinstance(one, nn.Linear)]
    kinds = [type(one) for one in counting]
    if not linears or kinds != [*[nn.Linear, nn.ReLU] * (len(linears) - 1), nn.Linear]:
        return None
    widths = [linears[0].in_features, *(one.out_features for one in linears)]
    return Dense(widths, bias=[one.bias is not None for one in linears])


def _is_cross_entropy(loss: Loss) -> bool:
    if loss is nn.functional.cross_entropy:
        return True
    return (
        type(loss) is nn.CrossEntropyLoss
        and loss.weight is None
        and loss.ignore_index < 0
        and loss.label_smoothing == 0
        and loss.reduction == "mean"
    )
