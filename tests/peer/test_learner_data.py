"""Data that cannot be trained on is refused with words that say where and why."""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.crypto.errors import ConfigError
from tidings.peer.learners.data import Dataset, check_labels, npz


def arrays(**changes):
    x = np.arange(12, dtype=np.float64).reshape(6, 2)
    y = np.arange(6) % 3
    return {"train_x": x, "train_y": y, "test_x": x[:2], "test_y": y[:2]} | changes


def test_numbers_become_float32_and_labels_int64():
    data = Dataset(**arrays(train_y=np.zeros(6, np.uint8), test_y=np.ones(2, bool)))
    assert data.train_x.dtype == data.test_x.dtype == np.float32
    assert data.train_y.dtype == data.test_y.dtype == np.int64
    assert data.samples == 6


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_y": np.zeros(5, int)}, "train_x holds 6 records, train_y holds 5"),
        ({"test_x": np.zeros((2, 3))}, "train_x are 2 of float32, of test_x 3 of float32"),
        ({"test_y": np.zeros(2)}, "train_y are single numbers of int64"),
        ({"train_x": [[1.0]]}, "train_x is a list, not a numpy array"),
        ({"train_y": np.array(list("abcabc"))}, "train_y holds <U1, not numbers"),
        ({"train_x": np.zeros((0, 2))}, "train_x is empty"),
        ({"test_x": np.float64(3)}, "test_x is a float64"),
        ({"test_x": np.array(3.0)}, "test_x is empty"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        Dataset(**arrays(**changes))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_a_number_that_is_none_is_found(bad):
    x = np.ones((6, 2))
    x[4, 1] = bad
    with pytest.raises(ConfigError, match=r"train_x holds NaN.*record 4 \(1 of 6 records\)"):
        Dataset(**arrays(train_x=x))


def test_a_share_has_its_own_records_and_all_tests():
    data = Dataset(**arrays())
    part = data.share(np.array([5, 0]))
    assert part.train_x.tolist() == [[10, 11], [0, 1]]
    assert part.train_y.tolist() == [2, 0]
    assert np.array_equal(part.test_x, data.test_x)


def test_a_saved_data_set_comes_back(tmp_path):
    data = Dataset(**arrays())
    data.save(tmp_path / "data.npz")
    back = npz(str(tmp_path / "data.npz"))
    for name in ("train_x", "train_y", "test_x", "test_y"):
        assert np.array_equal(getattr(back, name), getattr(data, name))


def test_a_file_that_is_missing_or_wrong_is_told(tmp_path):
    path = tmp_path / "data.npz"
    with pytest.raises(ConfigError, match="no such file"):
        npz(str(path))
    with pytest.raises(ConfigError, match=f"{tmp_path}: cannot be read"):
        npz(str(tmp_path))
    np.savez(path, train_x=np.ones(3), train_y=np.ones(3))
    with pytest.raises(ConfigError, match="test_x is missing; found: train_x, train_y"):
        npz(str(path))
    with path.open("wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(ConfigError, match="train_x is missing"):
        npz(str(path))
    np.savez(path, **arrays(train_y=np.zeros(5, int)))
    with pytest.raises(ConfigError, match=rf"{path}: train_x holds 6 records"):
        npz(str(path))


def test_pickled_objects_are_not_loaded(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays(train_y=np.array([print] * 6, dtype=object)))
    with pytest.raises(ConfigError, match="pickled objects are not loaded"):
        npz(str(path))


@settings(deadline=None, max_examples=100, derandomize=True)
@given(at=st.integers(0, 1100), flip=st.integers(1, 255), keep=st.floats(0, 1))
def test_a_damaged_file_loads_or_is_refused(tmp_path_factory, at, flip, keep):
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    whole = io.BytesIO()
    np.savez(whole, **arrays())
    data = bytearray(whole.getvalue())
    data[at % len(data)] ^= flip
    path.write_bytes(data[: max(1, round(keep * 2 * len(data)))])
    with contextlib.suppress(ConfigError):
        assert isinstance(npz(str(path)), Dataset)


def test_labels_out_of_range_are_named():
    check_labels("train_y", np.array([0, 2]), 3)
    with pytest.raises(ConfigError, match="label 3 in record 1"):
        check_labels("train_y", np.array([0, 3]), 3)
    with pytest.raises(ConfigError, match="label -1 in record 0"):
        check_labels("train_y", np.array([[0, -1], [0, 0]]), 3)
