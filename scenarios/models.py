"""The modules that the bundled scenarios train."""

from __future__ import annotations

from torch import nn


def mlp(inputs: int = 64, hidden: int = 32, outputs: int = 10) -> nn.Module:
    """A multilayer perceptron with one hidden layer; 2,410 parameters as it stands."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
