"""A peer's own records, as arrays, and the loader for those kept in an .npz file."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...crypto.errors import ConfigError
from ...crypto.files import write_atomic

_FIELDS = ("train_x", "train_y", "test_x", "test_y")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Records to train on and records to test on; the first axis counts records.

    Real numbers become float32. Whole numbers (and truth values) become int64: as labels they
    count from 0, as inputs they suit an embedding. Raises ConfigError when the arrays do not fit
    together, hold NaN or infinity, or are empty.
    """

    train_x: NDArray[Any]
    train_y: NDArray[Any]
    test_x: NDArray[Any]
    test_y: NDArray[Any]

    def __post_init__(self) -> None:
        for name in _FIELDS:
            object.__setattr__(self, name, _numbers(name, getattr(self, name)))
        for part in ("train", "test"):
            x, y = getattr(self, f"{part}_x"), getattr(self, f"{part}_y")
            if len(x) != len(y):
                raise ConfigError(
                    f"{part}_x holds {len(x)} records, {part}_y holds {len(y)}",
                    where="dataset",
                    fix="give every record exactly one target",
                )
        for kind in ("x", "y"):
            train, test = getattr(self, f"train_{kind}"), getattr(self, f"test_{kind}")
            if train.shape[1:] != test.shape[1:] or train.dtype != test.dtype:
                raise ConfigError(
                    f"records of train_{kind} are {_shown(train)}, of test_{kind} {_shown(test)}",
                    where="dataset",
                    fix="prepare both alike",
                )

    @property
    def samples(self) -> int:
        """The number of training records."""
        return len(self.train_y)

    def share(self, rows: NDArray[np.int64]) -> Dataset:
        """The same task with only these training records; the test records stay."""
        return Dataset(
            train_x=self.train_x[rows],
            train_y=self.train_y[rows],
            test_x=self.test_x,
            test_y=self.test_y,
        )

    def save(self, path: Path) -> None:
        """Writes an .npz file that ``npz`` reads. Raises StorageError."""
        packed = io.BytesIO()
        np.savez(packed, **{name: getattr(self, name) for name in _FIELDS})
        write_atomic(path, packed.getvalue())


def npz(path: str) -> Dataset:
    """The data set in a file that ``numpy.savez`` wrote: train_x, train_y, test_x, test_y.

    Raises ConfigError when there is no such file or it does not hold these four arrays. Pickled
    objects are never loaded, for they could run code.
    """
    arrays = _read(path)
    missing = [name for name in _FIELDS if name not in arrays]
    if missing:
        raise ConfigError(
            f"the array {missing[0]} is missing; found: {', '.join(arrays) or 'none'}",
            where=path,
            fix=f"save the four arrays {', '.join(_FIELDS)} with numpy.savez",
        )
    try:
        return Dataset(**{name: arrays[name] for name in _FIELDS})
    except ConfigError as error:
        raise ConfigError(error.what, where=path, fix=error.fix) from error


def check_labels(name: str, labels: NDArray[np.int64], classes: int) -> None:
    """Raises ConfigError unless all ``labels``, of any shape, are in 0..classes-1."""
    wrong = np.flatnonzero(
        ((labels < 0) | (labels >= classes)).reshape(len(labels), -1).any(axis=1)
    )
    if wrong.size:
        record = labels[wrong[0]].ravel()
        bad = record[(record < 0) | (record >= classes)][0]
        raise ConfigError(
            f"{name} holds the label {bad} in record {wrong[0]}; the model knows the classes "
            f"0 to {classes - 1}",
            where="dataset",
            fix="number the classes from 0, or make a model with more outputs",
        )


def _read(path: str) -> dict[str, NDArray[Any]]:
    """All arrays in an .npz file by name; a single array (.npy) has no name."""
    try:
        with open(path, "rb") as file:
            stored = np.load(file, allow_pickle=False)
            return dict(stored) if isinstance(stored, Mapping) else {"(one without a name)": stored}
    except FileNotFoundError as error:
        raise ConfigError("no such file", where=path, fix="check dataset_args.path") from error
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}", where=path) from error
    except Exception as error:  # numpy, zipfile and zlib raise many kinds for a damaged file
        raise ConfigError(
            "not an .npz file of plain numbers",
            where=path,
            fix="write it with numpy.savez; pickled objects are not loaded",
        ) from error


def _numbers(name: str, array: object) -> NDArray[Any]:
    """``array`` as float32 or int64, checked."""
    if not isinstance(array, np.ndarray):
        raise ConfigError(
            f"{name} is a {type(array).__name__}, not a numpy array",
            where="dataset",
            fix="convert it with numpy.asarray",
        )
    if array.dtype.kind not in "biuf":
        raise ConfigError(
            f"{name} holds {array.dtype}, not numbers",
            where="dataset",
            fix="turn names into numbers first",
        )
    if array.ndim == 0 or array.size == 0:
        raise ConfigError(
            f"{name} is empty", where="dataset", fix="give at least one record of each kind"
        )
    if array.dtype.kind != "f":
        return np.ascontiguousarray(array, dtype=np.int64)
    with np.errstate(over="ignore"):  # what does not fit float32 becomes infinite, and is told
        numbers = np.ascontiguousarray(array, dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(numbers.reshape(len(numbers), -1)).all(axis=1))
    if bad.size:
        raise ConfigError(
            f"{name} holds NaN, infinity or a number too large, first in record {bad[0]} "
            f"({bad.size} of {len(numbers)} records)",
            where="dataset",
            fix="fill in or leave out such records",
        )
    return numbers


def _shown(array: NDArray[Any]) -> str:
    shape = " x ".join(map(str, array.shape[1:])) or "single numbers"
    return f"{shape} of {array.dtype}"
