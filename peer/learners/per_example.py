"""Sums of clipped per-example gradients of a torch module: the private part of DP-SGD.

Two ways, with equal results. *Ghost clipping* (Goodfellow 2015; Li et al. 2022) never forms an
example's gradient and costs about what a plain gradient costs; it is used where a module is
known to treat every record alone: an ``nn.Sequential`` of ``nn.Linear`` and element-wise layers.
Everything else is handed one record at a time, so that no module can let records influence each
other: by ``torch.func`` where that works, else in a plain loop.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import linear as affine
from torch.utils._python_dispatch import TorchDispatchMode

from ...crypto.errors import ConfigError
from .descent import clip_factors

Loss = Callable[[Tensor, Tensor], Tensor]

_ELEMENTWISE = (nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU,
                nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Hardtanh, nn.Hardswish)  # fmt: skip

# Losses whose mean is over records, so that reduction="none" tells the records apart.
_SEPARABLE = (nn.CrossEntropyLoss, nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss,
              nn.BCEWithLogitsLoss)  # fmt: skip

_CHUNK_BYTES = 32 * 2**20  # of per-example gradients held at a time

_RANDOM = (nn.modules.dropout._DropoutNd, nn.RReLU)
_MIXING = nn.modules.batchnorm._NormBase  # batch norm, and instance norm with running statistics


class ClippedSum(Protocol):
    """Writes the sum of the clipped gradients of the records (x, y) into ``out`` (P,)."""

    def __call__(self, x: Tensor, y: Tensor, clip_norm: float, out: Tensor) -> None:
        """``x`` (B, ...) and ``y`` (B, ...) with B >= 1."""
        ...


def clipped_sum(module: nn.Module, loss: Loss, x: Tensor, y: Tensor) -> ClippedSum:
    """The cheapest right way for this module and loss; (x, y) with B >= 1 are tried on it.

    Raises ConfigError for a module that cannot be trained with record-level privacy, and
    whatever the module raises.
    """
    _refuse_unfit(module)
    single = per_record(loss)
    layers = plain_layers(module, x)
    if layers is not None and single is not None:
        return GhostClipping(layers, single)
    one_by_one = OneByOne(module, single or loss)
    scratch = torch.zeros(sum(p.numel() for p in module.parameters() if p.requires_grad))
    try:
        one_by_one(x, y, 1.0, scratch)
    except Exception:  # vmap takes no recurrent modules, nor branches that depend on the data
        in_a_loop = InALoop(module, single or loss)
        with _NoChance():  # type: ignore[no-untyped-call]
            in_a_loop(x, y, 1.0, scratch)
        return in_a_loop
    return one_by_one


def is_random(module: nn.Module) -> bool:
    """Whether the module has layers that draw random numbers while training."""
    return any(isinstance(layer, _RANDOM) for layer in module.modules())


def per_record(loss: Loss) -> Loss | None:
    """The loss as one number for each record (B,), or None when records cannot be told apart."""
    if type(loss) not in _SEPARABLE or not isinstance(loss, nn.Module):
        return None
    if getattr(loss, "ignore_index", -1) >= 0:  # its mean is over a number that depends on the data
        return None
    apart = copy.copy(loss)
    total = loss.reduction == "sum"
    setattr(apart, "reduction", "none")  # noqa: B010 - mypy takes it for a submodule

    def losses(output: Tensor, target: Tensor) -> Tensor:
        each: Tensor = apart(output, target)
        each = each.reshape(len(output), -1) if each.ndim != 1 else each.unsqueeze(1)
        return each.sum(dim=1) if total else each.mean(dim=1)

    return losses


def plain_layers(module: nn.Module, x: Tensor) -> list[nn.Module] | None:
    """The layers of a module that ghost clipping is right for, else None.

    Types are compared exactly: a subclass may do anything in its ``forward``.
    """
    layers = list(_unnested(module))
    parameters = [p for layer in layers for p in layer.parameters(recurse=False)]
    if len({id(p) for p in parameters}) < len(parameters):  # shared layers or tied weights
        return None
    with torch.no_grad():
        for layer in layers:
            if layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks:
                return None
            flattens = type(layer) is nn.Flatten and layer.start_dim == 1 and layer.end_dim == -1
            linear = type(layer) is nn.Linear and x.ndim == 2
            trained = all(p.requires_grad for p in layer.parameters(recurse=False))
            in_place = getattr(layer, "inplace", False)
            if in_place or not trained or not (flattens or linear or type(layer) in _ELEMENTWISE):
                return None
            x = layer(x)
    return layers if parameters else None


def _unnested(module: nn.Module) -> Iterator[nn.Module]:
    if type(module) is nn.Sequential and not (module._forward_hooks or module._forward_pre_hooks):
        for layer in module:
            yield from _unnested(layer)
    else:
        yield module


class GhostClipping:
    """Norms without gradients, for linear layers and what is element-wise between them.

    For a record with input a and output error b, a linear layer's gradient is the outer product
    b a^T, whose norm is |a| |b|. The clipped sum is then one matrix product, with b scaled.
    """

    def __init__(self, layers: list[nn.Module], losses: Loss) -> None:
        self._layers = layers
        self._losses = losses

    def __call__(self, x: Tensor, y: Tensor, clip_norm: float, out: Tensor) -> None:
        """Writes the sum of the clipped gradients into ``out`` (P,)."""
        linears, inputs, outputs = [], [], []
        for layer in self._layers:
            if isinstance(layer, nn.Linear):
                linears.append(layer)
                inputs.append(x.detach())
                bias = None if layer.bias is None else layer.bias.detach()
                x = affine(x, layer.weight.detach(), bias)
                outputs.append(x if x.requires_grad else x.requires_grad_())
            else:
                x = layer(x)
        errors = torch.autograd.grad(self._losses(x, y).sum(), outputs)
        squares = torch.zeros(len(x))
        for linear, a, b in zip(linears, inputs, errors, strict=True):
            squares += (a.square().sum(dim=1) + (linear.bias is not None)) * b.square().sum(dim=1)
        factors, broken = _factors(squares, clip_norm)
        at = 0
        for linear, a, b in zip(linears, inputs, errors, strict=True):
            if broken is not None:
                a, b = _without(a, broken), _without(b, broken)  # noqa: PLW2901
            scaled = b * factors.unsqueeze(1)
            size = linear.weight.numel()
            torch.mm(scaled.T, a, out=out[at : at + size].view_as(linear.weight))
            at += size
            if linear.bias is not None:
                torch.sum(scaled, dim=0, out=out[at : at + linear.out_features])
                at += linear.out_features


class OneByOne:
    """Per-example gradients of any module by ``torch.func``, some megabytes of them at a time."""

    def __init__(self, module: nn.Module, loss: Loss) -> None:
        self._module = module
        self._loss = loss
        self._parameters = {n: p.detach() for n, p in module.named_parameters() if p.requires_grad}
        self._fixed = {n: p.detach() for n, p in module.named_parameters() if not p.requires_grad}
        self._fixed.update(module.named_buffers())
        size = 4 * sum(p.numel() for p in self._parameters.values())
        self._chunk = max(1, _CHUNK_BYTES // max(1, size))
        # "error": chance that no layer's type tells of is refused all the same.
        self._gradients = vmap(grad(self._one), in_dims=(None, 0, 0), randomness="error")

    def __call__(self, x: Tensor, y: Tensor, clip_norm: float, out: Tensor) -> None:
        """Writes the sum of the clipped gradients into ``out`` (P,)."""
        out.zero_()
        for start in range(0, len(x), self._chunk):
            piece = slice(start, start + self._chunk)
            named = self._gradients(self._parameters, x[piece], y[piece])
            gradients = [named[name].flatten(start_dim=1) for name in self._parameters]
            squares = torch.stack([g.square().sum(dim=1) for g in gradients]).sum(dim=0)
            factors, broken = _factors(squares, clip_norm)
            if broken is not None:
                gradients = [_without(g, broken) for g in gradients]
            out += torch.cat([factors @ g for g in gradients])

    def _one(self, parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        output = functional_call(self._module, {**parameters, **self._fixed}, (x.unsqueeze(0),))
        return self._loss(output, y.unsqueeze(0)).sum()


class InALoop:
    """Per-example gradients by plain autograd, a record at a time: right for any module, slow."""

    def __init__(self, module: nn.Module, loss: Loss) -> None:
        self._module = module
        self._loss = loss
        self._parameters = [p for p in module.parameters() if p.requires_grad]

    def __call__(self, x: Tensor, y: Tensor, clip_norm: float, out: Tensor) -> None:
        """Writes the sum of the clipped gradients into ``out`` (P,)."""
        out.zero_()
        for at in range(len(x)):
            # a copy of the buffers, so that no record leaves anything behind for the next
            buffers = {name: b.clone() for name, b in self._module.named_buffers()}
            output = functional_call(self._module, buffers, (x[at : at + 1],))
            found = torch.autograd.grad(
                self._loss(output, y[at : at + 1]).sum(),
                self._parameters,
                allow_unused=True,
                materialize_grads=True,
            )
            gradient = torch.cat([g.reshape(-1) for g in found])
            factors, broken = _factors(gradient.square().sum(dim=0, keepdim=True), clip_norm)
            if broken is None:
                out += factors * gradient


class _NoChance(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses operations that draw random numbers, wherever in a module they are made."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise ConfigError(
                f"the module draws random numbers ({func}); record-level privacy allows no "
                "chance beside its own noise",
                where="learner.module",
                fix="leave out dropout and the like: the noise regularises already",
            )
        return func(*args, **(kwargs or {}))


def _factors(squares: Tensor, clip_norm: float) -> tuple[Tensor, Tensor | None]:
    """Clipping factors (B,), and which records have no finite gradient (None: all have one)."""
    norms = np.sqrt(squares.numpy().astype(np.float64))
    usable = np.isfinite(norms)
    broken = None if usable.all() else torch.from_numpy(~usable)
    return torch.from_numpy(clip_factors(norms, clip_norm)), broken


def _without(rows: Tensor, broken: Tensor) -> Tensor:
    return rows.masked_fill(broken.unsqueeze(1), 0)


def _refuse_unfit(module: nn.Module) -> None:
    """ConfigError for layers under which one record's gradient depends on more than the record."""
    for name, layer in module.named_modules():
        if isinstance(layer, _MIXING) and (
            layer.track_running_stats
            or not isinstance(layer, nn.modules.instancenorm._InstanceNorm)
        ):
            raise ConfigError(
                f"layer '{name}' ({type(layer).__name__}) mixes the records of a batch or keeps "
                "statistics of them, which record-level privacy cannot account for",
                where="learner.module",
                fix="use nn.GroupNorm or nn.LayerNorm, or privacy mode 'peer'",
            )
        if isinstance(layer, _RANDOM):
            raise ConfigError(
                f"layer '{name}' ({type(layer).__name__}) is random; record-level privacy "
                "allows no chance beside its own noise",
                where="learner.module",
                fix="leave the layer out: the noise regularises already",
            )
