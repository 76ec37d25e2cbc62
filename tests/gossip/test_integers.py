from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.gossip.plain_planes import read_planes
from tidings.crypto.errors import Malformed, WrongShape
from tidings.gossip.encoded_size import encoded_sizes
from tidings.gossip.integers import LEAST_FOR_PLANES, decode, encode
from tidings.gossip.rice import BLOCK

ENDS = [0, 1, -1, 2**31 - 1, -(2**31), -(2**31) + 1, 2**30, 127, -128]
INT32 = st.one_of(st.sampled_from(ENDS), st.integers(-(2**31), 2**31 - 1), st.integers(-9, 9))
PROPERTY = settings(derandomize=True, deadline=None, max_examples=300)


@st.composite
def vectors(draw: st.DrawFn) -> np.ndarray:
    """Anything at all, and what really occurs: peaked, sparse, on a lattice, in several blocks."""
    if draw(st.booleans()):
        return draw(hnp.arrays(np.int32, st.integers(0, 60), elements=INT32))
    rng = np.random.Generator(np.random.PCG64(draw(st.integers(0, 2**32))))
    size = draw(st.sampled_from([1, 7, 100, 1025, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 77]))
    values = np.rint(rng.normal(size=size) * 2 ** draw(st.integers(0, 28)))
    values[rng.random(size) > draw(st.sampled_from([0.0, 0.01, 0.3, 1.0]))] = 0
    values = np.clip(values, -(2**31), 2**31 - 1).astype(np.int32)
    values[rng.integers(0, size, 3)] = draw(INT32)
    return values << draw(st.integers(0, 31))


def round_trip(v: np.ndarray) -> bytes:
    data = encode(v)
    back = decode(data, v.size)
    assert back.dtype == np.int32
    assert np.array_equal(back, v)
    return data


@PROPERTY
@given(vectors())
def test_what_is_encoded_comes_back(v: np.ndarray) -> None:
    data = round_trip(v)
    blocks = -(-v.size // BLOCK)
    assert len(data) <= 5 + 4 * v.size + 4 * blocks


def read_plainly(data: bytes) -> list[int]:
    """What a code stands for, number by number and bit by bit, as the module's docstring has it."""
    size, shift = struct.unpack_from("<IB", data)
    if shift >= 64:
        return [n << shift - 64 for n in read_planes(data[5:], size)]
    at, values = 5, []

    def numbers(count: int) -> list[int]:
        nonlocal at
        k, length = struct.unpack_from("<BH", data, at)
        unary = data[at + 3 : at + 3 + length]
        packed = data[at + 3 + length :][: (count * k + 7) // 8]
        at += 3 + length + len(packed)
        quotients, zeros = [], 0
        for place in range(8 * length):
            if unary[place // 8] >> place % 8 & 1:
                quotients.append(zeros)
                zeros = 0
            else:
                zeros += 1
        bits = int.from_bytes(packed, "little")
        remainders = [bits >> n * k & ((1 << k) - 1) for n in range(count)]
        return [q << k | r for q, r in zip(quotients or [0] * count, remainders, strict=True)]

    while len(values) < size:
        block = [0] * min(BLOCK, size - len(values))
        tag = data[at] if shift < 32 else 0
        at += shift < 32
        if tag == 1:
            block = numbers(len(block))
        elif tag == 2:
            (count,) = struct.unpack_from("<H", data, at)
            at += 2
            place = -1
            for gap, number in zip(numbers(count), numbers(count), strict=True):
                place += gap + 1
                block[place] = number + 1
        values += block
    assert at == len(data)
    return [(n >> 1 ^ -(n & 1)) << shift for n in values]


@settings(PROPERTY, max_examples=60)
@given(vectors())
def test_a_plain_reader_reads_the_same(v: np.ndarray) -> None:
    code = encode(v[:3000])
    assert read_plainly(code) == decode(code, len(v[:3000])).tolist()


def test_a_plain_reader_reads_several_blocks_alike() -> None:
    rng = np.random.Generator(np.random.PCG64(5))
    v = np.rint(rng.normal(size=2 * BLOCK + 77) * 30).astype(np.int32) << 6
    v[BLOCK : 2 * BLOCK][rng.random(BLOCK) > 0.02] = 0
    assert read_plainly(encode(v)) == v.tolist()


def test_planes_are_for_long_vectors() -> None:
    v = np.tile(np.array([100, -100, 7, 90], dtype=np.int32), LEAST_FOR_PLANES // 4)
    assert round_trip(v)[4] >= 64
    assert round_trip(v[:-1])[4] < 32
    for rows in (v[None], v[None, :-1]):
        assert encoded_sizes(rows).tolist() == [len(encode(rows[0]))]


@PROPERTY
@given(vectors(), st.data())
def test_any_bytes_give_a_vector_or_a_remote_error(v: np.ndarray, data: st.DataObject) -> None:
    code = bytearray(encode(v))
    for _ in range(data.draw(st.integers(1, 4))):
        # the forms and lengths stand near the front, where a change hurts most
        place = min(int(len(code) * data.draw(st.floats(0, 1)) ** 3), len(code) - 1)
        code[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(code))))
    try:
        back = decode(bytes(code[:cut]), v.size)
    except (Malformed, WrongShape):
        return
    assert back.shape == v.shape
    assert back.dtype == np.int32


@PROPERTY
@given(st.binary(max_size=80), st.integers(0, 31), st.sampled_from([0, 64]), st.integers(1, 20))
def test_any_code_gives_a_vector_or_malformed(
    code: bytes, shift: int, form: int, size: int
) -> None:
    try:
        back = decode(struct.pack("<IB", size, form + shift) + code, size)
    except Malformed:
        return
    assert back.shape == (size,)


def test_twenty_thousand_mutations() -> None:
    rng = np.random.Generator(np.random.PCG64(3))
    v = np.rint(rng.normal(size=300) * (rng.random(300) < 0.2) * 50).astype(np.int32)
    code = np.frombuffer(encode(v), dtype=np.uint8)
    outcomes = {"vector": 0, "Malformed": 0, "WrongShape": 0}
    for _ in range(20_000):
        mutant = code.copy()
        places = rng.integers(0, min(len(code), rng.choice([6, 20, 400])), rng.integers(1, 4))
        mutant[places] = rng.integers(0, 256, len(places))
        try:
            decode(mutant.tobytes(), 300)
            outcomes["vector"] += 1
        except (Malformed, WrongShape) as error:
            outcomes[type(error).__name__] += 1
    assert min(outcomes.values()) > 500


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (b"", "ends 5 bytes early"),
        (b"\x03\x00\x00\x00\x21", "unknown form 33"),
        (b"\x03\x00\x00\x00\x60", "unknown form 96"),
        (b"\x03\x00\x00\x00\x20\x00", "1 bytes follow"),
        (b"\x03\x00\x00\x00\x00", "ends 1 bytes early"),
        (b"\x03\x00\x00\x00\x00\x03", "unknown form 3"),
        (b"\x03\x00\x00\x00\x00\x02\x04\x00", "4 values in a block of 3"),
        (b"\x03\x00\x00\x00\x00\x01\x21\x00\x00", "remainders of 33 bits"),
        (b"\x03\x00\x00\x00\x00\x01\x00\x01\x00\x03", "2 quotients where 3"),
        (b"\x03\x00\x00\x00\x00\x01\x20\x01\x00\x0e", "ends 12 bytes early"),
        (b"\x03\x00\x00\x00\x00\x01\x20\x01\x00\x0e" + bytes(12), "more than 32 bits"),
        (b"\x03\x00\x00\x00\x1f\x01\x08\x00\x00\x02\x00\x00", "outside the int32 range"),
        (b"\x03\x00\x00\x00\x1f\x01\x00\x01\x00\x13", "outside the int32 range"),
        # one value, after a gap of 7
        (b"\x03\x00\x00\x00\x00\x02\x01\x00\x03\x00\x00\x07\x00\x00\x00", "beyond the end"),
    ],
)
def test_each_flaw_has_its_name(code: bytes, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        decode(code, 3)


def test_another_size_is_a_wrong_shape() -> None:
    with pytest.raises(WrongShape, match="4 values where 3"):
        decode(encode(np.ones(4, dtype=np.int32)), 3)


def test_a_short_code_cannot_claim_much_memory() -> None:
    # the densest lie there is: 64 kB of unary zeros in a block, then nothing
    lie = struct.pack("<IBBBH", 1000, 0, 1, 32, 65535) + bytes(65535)
    tracemalloc.start()
    for code in (lie, struct.pack("<IB", 2**32 - 1, 0), struct.pack("<IBBH", 1000, 0, 2, 65535)):
        with pytest.raises((Malformed, WrongShape)):
            decode(code, 1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


def test_only_flat_int32_has_a_code() -> None:
    for wrong in (np.zeros(3, dtype=np.int64), np.zeros((2, 2), dtype=np.int32)):
        with pytest.raises(ValueError, match="flat int32"):
            encode(wrong)


def bits_a_coordinate(v: np.ndarray) -> float:
    return 8 * len(round_trip(v)) / v.size


@pytest.mark.parametrize("size", [2410, 100_000])
def test_costs(size: int) -> None:
    rng = np.random.Generator(np.random.PCG64(1))
    step = 64
    header = 8 * (5 + 9 * (size // BLOCK + 1)) / size
    assert len(encode(np.zeros(size, dtype=np.int32))) == 5
    int8 = rng.integers(-127, 128, size).astype(np.int32) * step
    assert bits_a_coordinate(int8) < 8 + header
    assert bits_a_coordinate(int8 << 10) < 8 + header  # the step itself costs nothing
    int4 = rng.integers(-7, 8, size).astype(np.int32) * step
    assert bits_a_coordinate(int4) < 4 + header
    bell = np.rint(rng.normal(size=size) * 32).astype(np.int32) * step
    assert bits_a_coordinate(bell) < 7.3  # of entropy 7.05
    for density in (0.02, 0.25):
        entropy = -density * np.log2(density) - (1 - density) * np.log2(1 - density)
        sparse = np.where(rng.random(size) < density, int8, 0).astype(np.int32)
        assert bits_a_coordinate(sparse) < 1.15 * (entropy + 8 * density) + header
    copy = np.rint(rng.normal(size=size) * 0.05 * 2**20).astype(np.int32)
    assert bits_a_coordinate(copy) < 18.0  # of entropy 17.7
    # heavy tails, as in what learners without noise say: Golomb and Rice's code takes 20 % more
    tails = np.rint(rng.standard_t(1.2, size) * 2).clip(-127, 127).astype(np.int32) * step
    counts = np.unique(tails, return_counts=True)[1]
    entropy = -(counts / size) @ np.log2(counts / size)
    assert bits_a_coordinate(tails) < 1.06 * entropy + header + 8 * 100 / size  # a table


def test_an_outlier_spoils_little() -> None:
    rng = np.random.Generator(np.random.PCG64(1))
    v = rng.integers(-7, 8, 10 * BLOCK).astype(np.int32)
    before = len(encode(v))
    v[5] = 2**31 - 1
    assert len(round_trip(v)) < before + 200
