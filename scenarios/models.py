"""The modules that the bundled scenarios train."""

from __future__ import annotations

from torch import nn


def mlp(inputs: int = 64, hidden: int = 32, outputs: int = 10) -> nn.Module:
    """A multilayer perceptron with one hidden layer; 2,410 parameters as it stands."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def cnn8(channels: int = 8, outputs: int = 10) -> nn.Module:
    """A small convolutional network for 8x8 images, flat (n, 64); 3,818 parameters."""
    wide = 2 * channels
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, channels, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels, wide, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(wide * 4 * 4, outputs),
    )


def mlp28(hidden: int = 64, outputs: int = 10) -> nn.Module:
    """A multilayer perceptron for 28x28 images, flat (n, 784); 50,890 parameters as it stands."""
    return mlp(28 * 28, hidden, outputs)


def cnn28(channels: int = 8, outputs: int = 10) -> nn.Module:
    """A small convolutional network for 28x28 images, flat (n, 784); 9,226 parameters.

    Two convolutions of stride 2, which bring 28x28 to 7x7 without pooling, then one linear layer.
    """
    wide = 2 * channels
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        nn.Conv2d(1, channels, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(channels, wide, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(wide * 7 * 7, outputs),
    )
