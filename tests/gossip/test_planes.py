from __future__ import annotations

import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gossip.plain_planes import read_planes, write_planes, zstd
from tidings.crypto.errors import Malformed
from tidings.gossip import planes
from tidings.gossip.planes import AT_ONCE
from tidings.gossip.reader import Reader

ENDS = [s * 256**n + d for n in range(4) for s in (-128, 127) for d in (-1, 0, 1)]
ENDS += [2**31 - 1, -(2**31), 127 * 257, 127 * 257 + 1, -128 * 257, -128 * 257 - 1]
VALUES = st.one_of(
    st.sampled_from([each for each in ENDS if -(2**31) <= each < 2**31]),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-9, 9),
)


def decoded(code: bytes, size: int, shift: int = 0) -> np.ndarray:
    reader, out = Reader(code), np.empty(size, dtype=np.int32)
    planes.decode(reader, out, shift)
    reader.finish()
    return out


@settings(deadline=None, max_examples=300)
@given(st.lists(VALUES, min_size=1, max_size=40))
def test_what_is_encoded_comes_back_and_a_plain_reader_reads_the_same(values: list[int]) -> None:
    v = np.array(values, dtype=np.int32)
    code = planes.encode(v, 0)
    assert decoded(code, len(v)).tolist() == values
    assert read_planes(code, len(v)) == values
    assert planes.sizes(v[None]).tolist() == [len(code)]


@settings(deadline=None)
@given(st.lists(st.integers(-(2**11), 2**11 - 1), min_size=1, max_size=40), st.integers(0, 20))
def test_a_shift_costs_nothing(values: list[int], shift: int) -> None:
    v = np.array(values, dtype=np.int32)
    code = planes.encode(v << shift, shift)
    assert code == planes.encode(v, 0)
    assert (decoded(code, len(v), shift) == v << shift).all()


COUNTS = [
    *(((0,), 1), ((-128, 127), 1), ((128,), 2), ((-129,), 2), ((127 * 257, -128 * 257), 2)),
    *(((127 * 257 + 1,), 3), ((-128 * 257 - 1,), 3), ((2**31 - 1,), 4), ((-(2**31),), 4)),
]


@pytest.mark.parametrize(("values", "count"), COUNTS)
def test_there_are_as_many_planes_as_digits(values: tuple[int, ...], count: int) -> None:
    assert planes.encode(np.array(values, dtype=np.int32), 0)[0] == count


def test_a_vector_is_read_piece_by_piece() -> None:
    rng = np.random.Generator(np.random.PCG64(2))
    v = np.rint(rng.normal(size=2 * AT_ONCE + 5) * 2.0 ** rng.integers(0, 28, 2 * AT_ONCE + 5))
    v = v.clip(-(2**31), 2**31 - 1).astype(np.int32)
    code = planes.encode(v, 0)
    assert (decoded(code, len(v)) == v).all()
    assert planes.sizes(v[None]).tolist() == [len(code)]


def frame(data: bytes, **options: int) -> bytes:
    chosen = {getattr(zstd.CompressionParameter, name): n for name, n in options.items()}
    return zstd.compress(data, options=chosen)


def two_frames() -> bytes:
    return frame(b"abc") + frame(b"abc")


FLAWS = [
    (bytes([0]), "0 planes"),
    (write_planes(*[frame(b"abc")] * 5), "5 planes"),
    (write_planes(frame(b"abc"))[:-1], "ends 1 bytes early"),
    (write_planes(frame(b"abc"))[:4], "early"),
    (write_planes(frame(b"ab")), "ends 1 values early"),
    (write_planes(b""), "ends 3 values early"),
    (write_planes(frame(b"abcd")), "more follows"),
    (write_planes(two_frames()), "more follows"),
    (write_planes(frame(b"abc") + b"!"), "more follows"),
    (write_planes(frame(b"abc")) + b"!", "1 bytes follow"),
    (write_planes(b"no frame at all"), "no Zstandard frame"),
    (write_planes(frame(b"abc", checksum_flag=1)[:-1] + b"!"), "no Zstandard frame"),
    (write_planes(frame(b"abc", checksum_flag=1)[:-1]), "more follows"),
    (write_planes(b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"), "ends 3 values early"),  # to be skipped
    (write_planes(frame(bytes(2**20), window_log=20)), "no Zstandard frame"),
]


@pytest.mark.parametrize(("code", "message"), FLAWS)
def test_each_flaw_has_its_name(code: bytes, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        decoded(code, 3)


@pytest.mark.parametrize(
    ("digits", "shift"), [([b"\x02"], 30), ([b"\x00", b"\x01"], 23), ([b"\x00"] * 3 + [b"\x01"], 7)]
)
def test_no_value_leaves_the_int32_range(digits: list[bytes], shift: int) -> None:
    code = write_planes(*map(frame, digits))
    with pytest.raises(Malformed, match="outside the int32 range"):
        decoded(code, 1, shift)
    assert decoded(code, 1, shift - 1).tolist() == [2**30]


def test_a_small_code_cannot_claim_much_memory() -> None:
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 17})
    zeros = bytes(2**20)
    parts = [compressor.compress(zeros) for _ in range(256)]
    bomb = b"".join([*parts, compressor.flush()])
    assert len(bomb) < 2**15
    tracemalloc.start()
    for size in (3, 1000, AT_ONCE + 1):
        with pytest.raises(Malformed, match="more follows"):
            decoded(write_planes(bomb), size)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


def test_threads_do_not_mix_what_they_encode() -> None:
    rng = np.random.Generator(np.random.PCG64(4))
    vectors = [rng.integers(-99, 99, 50_000).astype(np.int32) for _ in range(4)]
    alone = [planes.encode(v, 0) for v in vectors]
    found: list[list[bytes]] = [[] for _ in vectors]

    def work(i: int) -> None:
        for _ in range(30):
            found[i].append(planes.encode(vectors[i], 0))
            assert (decoded(found[i][-1], 50_000) == vectors[i]).all()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[code] * 30 for code in alone]
