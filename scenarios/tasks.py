"""The data sets that the bundled scenarios learn from; none needs a download."""

from __future__ import annotations

import numpy as np

from ..crypto.errors import ConfigError
from ..peer.learners.data import Dataset


def digits(*, seed: int = 0, test_share: float = 0.2) -> Dataset:
    """Scikit-learn's handwritten digits: 1,797 images of 8x8, float32 (n, 64) in 0..1, 10 classes.

    ``seed`` shuffles the records; the last ``test_share`` of them are for testing. Raises
    ConfigError when scikit-learn is not installed or the share leaves one side empty.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ConfigError(
            "the task 'digits' comes with scikit-learn, which is not installed",
            fix="pip install 'tidings[scenarios]'",
        ) from error
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    x = (images[order] / 16).astype(np.float32)
    y = labels[order].astype(np.int64)
    train = len(y) - round(len(y) * test_share)
    if not 0 < train < len(y):
        raise ConfigError(
            f"test_share {test_share} leaves no record to train or to test on",
            where="task digits",
            fix="choose a share between 0 and 1, such as 0.2",
        )
    return Dataset(train_x=x[:train], train_y=y[:train], test_x=x[train:], test_y=y[train:])
