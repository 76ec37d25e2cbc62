"""What a user might bring: modules, losses and data sets, good and bad."""

import numpy as np
import torch
from torch import nn


class Net(nn.Module):
    """A forward of its own, so nothing may be assumed about it."""

    def __init__(self, hidden=5):
        super().__init__()
        self.first = nn.Linear(6, hidden)
        self.scale = nn.Parameter(torch.ones(hidden))
        self.last = nn.Linear(hidden, 3)

    def forward(self, x):
        return self.last(torch.tanh(self.first(x)) * self.scale)


class Centred(nn.Module):
    """Mixes the records of a batch without any layer that says so."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(6, 3)

    def forward(self, x):
        return self.last(x - x.mean(dim=0))


class Tally(nn.Linear):
    """Keeps something of the records it has seen."""

    def __init__(self):
        super().__init__(6, 3)
        self.register_buffer("seen", torch.zeros(6))

    def forward(self, x):
        self.seen += x.detach().sum(dim=0)
        return super().forward(x + 0.1 * self.seen)


class Branching(nn.Linear):
    """Looks at the record to decide what to do with it."""

    def __init__(self):
        super().__init__(6, 3)

    def forward(self, x):
        return super().forward(x) * (2 if x[0, 0] > 0 else 1)


def conv():
    return nn.Sequential(
        nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)
    )


def dropping():
    return nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 3))


def normed():
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))


def not_a_module():
    return "a module, surely"


def failing():
    raise ZeroDivisionError("the user's own bug")


READY = nn.Linear(6, 3)


def loss_per_record(output, target):
    return nn.functional.cross_entropy(output, target, reduction="none")


def records(samples=40, classes=3):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(samples, 6)).astype(np.float32)
    y = rng.integers(0, classes, samples)
    return x, y, x[:10], y[:10]


def nothing():
    return None


def deep():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(6, 9, bias=False), nn.ReLU(), nn.Identity(), nn.Linear(9, 4),
        nn.ReLU(), nn.Linear(4, 3),
    )  # fmt: skip
