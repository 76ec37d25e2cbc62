"""Payloads come back as the vectors they stand for; a hostile one costs little and is refused."""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.gossip.factor_kit import layouts, random_factors
from tidings.crypto.errors import Malformed, WrongShape
from tidings.gossip import integers
from tidings.gossip.factors import Layout, Matrix, layout_of, numbers_of, product, values_of
from tidings.gossip.feed import Feed
from tidings.gossip.payload import decode, encode, encoded_sizes

PROPERTY = settings(derandomize=True, deadline=None, max_examples=200)
SMALL = (Matrix(3, 4, 1), Matrix(2, 1, 1))


@PROPERTY
@given(layouts(), st.integers(0, 2**32), st.integers(0, 20))
def test_factors_come_back_as_their_product(layout: Layout, seed: int, shift: int) -> None:
    numbers = random_factors(layout, seed, shift, rows=3)
    codes = [encode(row, layout) for row in numbers]
    vectors = [decode(code, values_of(layout)) for code in codes]
    assert np.array_equal(vectors, product(numbers, layout))
    assert encoded_sizes(numbers, layout).tolist() == [len(code) for code in codes]


@PROPERTY
@given(hnp.arrays(np.int32, st.tuples(st.integers(1, 3), st.integers(0, 50))))
def test_a_vector_comes_back_as_itself(v: np.ndarray) -> None:
    codes = [encode(row, None) for row in v]
    assert codes == [integers.encode(row) for row in v]
    assert [decode(code, v.shape[1]).tolist() for code in codes] == v.tolist()
    assert encoded_sizes(v, None).tolist() == [len(code) for code in codes]


@PROPERTY
@given(layouts(), st.integers(0, 2**32), st.data())
def test_any_bytes_give_a_vector_or_a_remote_error(
    layout: Layout, seed: int, data: st.DataObject
) -> None:
    code = bytearray(encode(random_factors(layout, seed, 8), layout))
    for _ in range(data.draw(st.integers(1, 4))):
        code[data.draw(st.integers(0, len(code) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(code))))
    try:
        back = decode(bytes(code[:cut]), values_of(layout))
    except (Malformed, WrongShape):
        return
    assert back.shape == (values_of(layout),)
    assert back.dtype == np.int32


def code_of(
    layout: list[tuple[int, int, int]], numbers: list[int], size: int = 14, count: int | None = None
) -> bytes:
    """A payload as a liar would make it: its parts need not fit."""
    header = struct.pack("<IBI", size, 33, len(layout) if count is None else count)
    matrices = b"".join(struct.pack("<IIB", *one) for one in layout)
    return header + matrices + integers.encode(np.array(numbers, dtype=np.int32))


ONES = [1] * numbers_of(SMALL)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (code_of([*SMALL], ONES)[:8], "ends 1 bytes early"),
        (code_of([*SMALL], ONES)[:20], "ends 7 bytes early"),
        (code_of([*SMALL], ONES)[:30], "early"),
        (code_of([*SMALL], ONES) + b"\0", "1 bytes follow"),
        (code_of([*SMALL], ONES, count=4097), "4097 matrices"),
        (code_of([], []), "matrices of 0 values in a vector of 14"),
        (code_of([(3, 4, 1)], ONES), "matrices of 12 values in a vector of 14"),
        (code_of([(2**32 - 1, 2**32 - 1, 1)], ONES), "values in a vector of 14"),
        (code_of([(3, 4, 0), (2, 1, 1)], ONES), "rank 0 of a 3 x 4 matrix"),
        (code_of([(3, 4, 4), (2, 1, 1)], ONES), "rank 4 of a 3 x 4 matrix"),
        (code_of([(0, 4, 1), (14, 1, 1)], ONES), "rank 1 of a 0 x 4 matrix"),
        (code_of([(200, 200, 65)], ONES, 40_000), "rank 65 of a 200 x 200 matrix"),
        (code_of([*SMALL], [-1, *ONES[1:]]), "exponent outside 0..31"),
        (code_of([*SMALL], [32, *ONES[1:]]), "exponent outside 0..31"),
        (code_of([*SMALL], [1, 8, *ONES[2:]]), "level beyond 7"),
        (code_of([*SMALL], [*ONES[:-1], -8]), "level beyond 7"),
        (code_of([*SMALL], [31, *ONES[1:]]), "outside the int32 range"),
    ],
)
def test_each_flaw_has_its_name(code: bytes, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        decode(code, int.from_bytes(code[:4], "little"))


@pytest.mark.parametrize("code", [code_of([*SMALL], ONES, 13), code_of([*SMALL], ONES[1:])])
def test_another_size_is_a_wrong_shape(code: bytes) -> None:
    with pytest.raises(WrongShape, match=r"values where \d+ are expected"):
        decode(code, 14)


def test_a_short_payload_cannot_claim_much_memory() -> None:
    size = 100_000
    zeros = struct.pack("<IB", 65_000, 32)  # the code of any number of zeros
    lies = [
        struct.pack("<IBI", size, 33, 2**32 - 1),
        struct.pack("<IBIIIB", size, 33, 1, 2**31, 2**31, 64) + zeros,
        struct.pack("<IBIIIB", size, 33, 1, 1000, 100, 64) + zeros,
        # an honest form with nothing in it takes what it says it does
        struct.pack("<IBIIIB", size, 33, 1, 1000, 100, 64) + struct.pack("<IB", 64 * 1101, 32),
    ]
    tracemalloc.start()
    for code in lies[:-1]:
        with pytest.raises((Malformed, WrongShape)):
            decode(code, size)
    assert tracemalloc.get_traced_memory()[1] < 2**16
    assert not decode(lies[-1], size).any()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * size + 2**20


@PROPERTY
@given(
    st.lists(st.lists(st.integers(1, 30), max_size=3).map(tuple), min_size=1, max_size=6),
    st.integers(1, 4),
    st.integers(1, 2),
)
def test_what_an_author_sends_is_no_longer_than_is_taken(
    shapes: list[tuple[int, ...]], rank: int, vectors: int
) -> None:
    layout = layout_of(tuple(shapes), rank)
    if all(matrix.columns == 1 for matrix in layout):
        return  # no network is made of such a model: assembly.with_shapes
    layout *= vectors
    numbers = random_factors(layout, 1, 31)
    feed = Feed(bytes(32), np.zeros(values_of(layout), dtype=np.int32))
    assert len(encode(numbers, layout)) <= feed.max_payload_bytes
