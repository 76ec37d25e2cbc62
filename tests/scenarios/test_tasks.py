"""The bundled task is what the documentation says it is."""

import numpy as np
import pytest

from tidings.crypto.errors import ConfigError
from tidings.scenarios.models import mlp
from tidings.scenarios.tasks import digits


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


def test_the_seed_decides_the_split():
    assert np.array_equal(digits(seed=1).train_x, digits(seed=1).train_x)
    assert not np.array_equal(digits(seed=1).test_x, digits(seed=2).test_x)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5])
def test_a_split_with_an_empty_side_is_refused(share):
    with pytest.raises(ConfigError, match="leaves no record"):
        digits(test_share=share)


def test_the_perceptron_has_2410_parameters():
    assert sum(p.numel() for p in mlp().parameters()) == 2410
