"""What is sealed comes back whole, or not at all."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.crypto.errors import Tampered
from tidings.crypto.membership import GroupKey
from tidings.crypto.sealing import CHUNK_BYTES, TAG_BYTES, seal, sealed_size, unseal

KEY = GroupKey(1, bytes(range(32)))
NONCE = bytes(range(24))
HEADER = b"the header"
STEP = CHUNK_BYTES + TAG_BYTES
# around the ends of chunks, where an off-by-one would be
SIZES = st.integers(0, 300) | st.builds(
    lambda chunks, more: max(0, chunks * CHUNK_BYTES + more), st.integers(0, 3), st.integers(-2, 2)
)


def sealed(body: bytes, *, key: GroupKey = KEY, nonce: bytes = NONCE) -> bytearray:
    out = bytearray(sealed_size(len(body)))
    assert seal(key, HEADER, body, nonce, out) == len(out)
    return out


@given(SIZES, st.binary(max_size=50), st.integers(0, 20))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_unseal_reverses_seal_at_any_offset(size: int, header: bytes, offset: int) -> None:
    body = os.urandom(size)
    out = bytearray(b"\xaa" * (offset + sealed_size(size) + 3))
    end = seal(KEY, header, body, NONCE, out, offset)
    assert end == offset + sealed_size(size)
    assert out[:offset] == b"\xaa" * offset
    assert out[end:] == b"\xaa" * 3
    assert unseal(KEY, header, memoryview(out)[offset:end], NONCE) == body


@given(SIZES, st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_changed_bit_anywhere_is_noticed(size: int, data: st.DataObject) -> None:
    box = sealed(bytes(size))
    bit = data.draw(st.integers(0, len(box) * 8 - 1))
    box[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Tampered):
        unseal(KEY, HEADER, box, NONCE)


@given(SIZES, st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_other_length_is_noticed(size: int, data: st.DataObject) -> None:
    box = sealed(os.urandom(size))
    cut = data.draw(
        st.integers(0, len(box) - 1) | st.integers(0, len(box) // STEP).map(STEP.__mul__)
    )
    if cut < len(box):
        with pytest.raises(Tampered):
            unseal(KEY, HEADER, box[:cut], NONCE)
    with pytest.raises(Tampered):
        unseal(KEY, HEADER, box + bytes(data.draw(st.integers(1, 40))), NONCE)


def test_chunks_cannot_be_dropped_swapped_repeated_or_borrowed() -> None:
    box = bytes(sealed(os.urandom(3 * CHUNK_BYTES)))
    a, b, c = box[:STEP], box[STEP : 2 * STEP], box[2 * STEP :]
    other = bytes(sealed(os.urandom(3 * CHUNK_BYTES), nonce=bytes(24)))
    assert unseal(KEY, HEADER, a + b + c, NONCE)
    for forged in (a + b, a + c, b + c, a, c, b + a + c, a + c + b, a + a + c, a + b + b + c, b""):
        with pytest.raises(Tampered):
            unseal(KEY, HEADER, forged, NONCE)
    with pytest.raises(Tampered):
        unseal(KEY, HEADER, a + other[STEP : 2 * STEP] + c, NONCE)


def test_header_nonce_and_key_are_bound() -> None:
    box = sealed(b"body")
    assert unseal(KEY, HEADER, box, NONCE) == b"body"
    for key, header, nonce in [
        (GroupKey(1, bytes(32)), HEADER, NONCE),
        (KEY, HEADER + b"\0", NONCE),
        (KEY, b"", NONCE),
        (KEY, HEADER, bytes(24)),
        (KEY, HEADER, NONCE[:-1]),
    ]:
        with pytest.raises(Tampered):
            unseal(key, header, box, nonce)


def test_nothing_of_the_payload_shows() -> None:
    body = bytes(3 * CHUNK_BYTES)
    box = bytes(sealed(body))
    rows = {box[i : i + 16] for i in range(0, len(box) - 16, 16)}
    assert len(rows) == len(range(0, len(box) - 16, 16))  # no key stream is used twice
    assert sealed(body) == box  # and chance is an argument
    assert sealed(body, nonce=bytes(24))[:16] != box[:16]


def test_sizes() -> None:
    assert [sealed_size(n) for n in (0, 1, CHUNK_BYTES, CHUNK_BYTES + 1)] == [
        16,
        17,
        CHUNK_BYTES + 16,
        CHUNK_BYTES + 33,
    ]


def test_wrong_use_is_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        seal(KEY, HEADER, b"body", NONCE, bytearray(19))
    with pytest.raises(ValueError, match="too few"):
        seal(KEY, HEADER, b"body", NONCE, bytearray(30), 11)
    with pytest.raises(ValueError, match="24 bytes"):
        seal(KEY, HEADER, b"body", NONCE[:-1], bytearray(20))


PEAK = """
import resource, sys
from tidings.crypto.membership import GroupKey
from tidings.crypto.sealing import seal, sealed_size, unseal
key, nonce, size = GroupKey(1, bytes(32)), bytes(24), 50_000_000
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
body = b"\\x01" * size
out = bytearray(sealed_size(size))
seal(key, b"", body, nonce, out)
after_seal = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
del body
again = unseal(key, b"", out, nonce)
after_open = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after_seal - before) * 1024 / size, (after_open - before) * 1024 / size)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit elsewhere")
def test_memory_stays_at_input_and_output() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    printed = subprocess.run(
        [sys.executable, "-c", PEAK], env=environment, check=True, capture_output=True, text=True
    ).stdout
    seal_peak, open_peak = map(float, printed.split())
    assert seal_peak < 2.2
    assert open_peak < 2.2
