from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.crypto.digest import stream
from tidings.gossip.sketch import CLASSES, noted, sketch


def models(seed: int, *shape: int) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(seed)).normal(size=shape).astype(np.float32)


@settings(derandomize=True, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 200), st.integers(1, 70))
def test_a_sketch_is_linear_and_rows_are_independent(seed: int, p: int, size: int) -> None:
    x, y = models(seed, 2, 3, p), models(seed + 1, 2, 3, p)
    sx, sy = sketch(x, seed, size), sketch(y, seed, size)
    assert sx.shape == (2, 3, size)
    assert sx.dtype == np.float32
    assert np.allclose(sketch(x - 2 * y, seed, size), sx - 2 * sy, atol=1e-4)
    assert np.array_equal(sketch(x[1, 2], seed, size), sx[1, 2])


@pytest.mark.parametrize("p", [1, 100, CLASSES, CLASSES + 1, 3 * CLASSES + 500])
def test_each_coordinate_goes_with_its_sign_to_the_place_of_its_class(p: int) -> None:
    x = np.rint(models(p, p) * 100)  # whole numbers, so every order of adding gives the same bits
    drawn = stream("sketch", b"\x09", 8 * p)
    raw = [int.from_bytes(drawn[8 * i : 8 * i + 8], "little") for i in range(p)]
    plain = [0.0] * 64
    for i, value in enumerate(x.tolist()):
        plain[raw[i % CLASSES] % 64] += -value if raw[i] >> 63 else value
    assert sketch(x, 9).tolist() == plain


def test_a_large_model_is_estimated_as_well() -> None:
    x = models(3, 20_000) * (np.arange(20_000) % 64 == 7)  # one column of a layer of 64
    true = float(np.square(x).sum())
    estimates = np.array([np.square(sketch(x, s)).sum() for s in range(200)], dtype=np.float64)
    assert estimates.mean() == pytest.approx(true, rel=4 * np.sqrt(2 / 64 / 200))
    assert estimates.std() / true < 1.3 * np.sqrt(2 / 64)


def test_squared_distances_are_estimated_without_bias() -> None:
    x, y = models(1, 2410), models(2, 2410)
    true = float(np.square(x - y).sum())
    estimates = np.array(
        [np.square(sketch(x, s) - sketch(y, s)).sum() for s in range(400)], dtype=np.float64
    )
    assert estimates.mean() == pytest.approx(true, rel=4 * np.sqrt(2 / 64 / 400))
    assert estimates.std() / true == pytest.approx(np.sqrt(2 / 64), rel=0.2)


def test_every_coordinate_counts_once_and_the_buckets_are_even() -> None:
    images = sketch(np.eye(640, dtype=np.float32), seed=3)
    assert (np.count_nonzero(images, axis=1) == 1).all()
    assert set(np.unique(images)) == {-1, 0, 1}
    assert 0.4 < (images.sum(axis=1) > 0).mean() < 0.6
    filled = np.abs(images).sum(axis=0)
    assert filled.min() >= 1
    assert filled.max() <= 25


def test_seeds() -> None:
    x = models(1, 50)
    assert np.array_equal(sketch(x, b"\x05\x01"), sketch(x, 261))
    assert not np.array_equal(sketch(x, 5), sketch(x, 6))
    assert np.array_equal(sketch(x, bytes(31) + b"\x01"), sketch(x, 2**248))
    # peers on other machines must draw the same signs and places
    assert sketch(np.arange(1, 9, dtype=np.float32), 7, size=4).tolist() == [-4, -4, 0, 6]


def test_a_log_is_told_the_sketch_to_a_millionth() -> None:
    x = models(4, 5000)
    told = noted(x, b"network")
    assert told == pytest.approx(sketch(x, b"network").tolist(), abs=5.1e-7, rel=0)
    assert all(type(number) is float for number in told)
    assert all(number == round(number, 6) for number in told)
