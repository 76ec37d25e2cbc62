"""Canonical MessagePack: each value has exactly one encoding, and each encoding one value.

Headers, certificates and bulletins are signed as bytes, so the bytes must not be open to choice.
Only None, bool, int (-2^63 .. 2^64 - 1), bytes, str and lists exist: no floats (their text and
their bits are a source of doubt), no maps (their order is), no extension types. ``unpack`` packs
again what it read and refuses bytes that are not the same.

This is for headers, which are short. Payloads travel beside them, unpacked and uncopied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgpack

from .errors import Malformed

Value: TypeAlias = "bool | int | bytes | str | list[Value] | None"
Packable: TypeAlias = (
    "bool | int | bytes | bytearray | memoryview | str | Sequence[Packable] | None"
)

MAX_DEPTH = 8
_SCRATCH_BYTES = 1024  # grows as needed; the default of 256 KiB is for large messages
MAX_LIST_LENGTH = 2**17
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1


def pack(value: Packable) -> bytes:
    """The canonical encoding of ``value``; tuples and lists are both lists on the wire.

    Raises:
        TypeError: something in it is of a type that the protocol does not have.
        ValueError: an integer is out of range, lists are nested deeper than 8, a list has more
            than 131,072 items, or a string holds half of a surrogate pair.
    """
    _check(value, MAX_DEPTH)
    return bytes(msgpack.packb(value, use_bin_type=True, buf_size=_SCRATCH_BYTES))


def unpack(data: bytes | bytearray | memoryview, *, max_bytes: int) -> Value:
    """The value that ``data`` encodes, after checking that it is the canonical encoding.

    Raises:
        Malformed: ``data`` is longer than ``max_bytes``, not MessagePack, not canonical, or holds
            something that the protocol does not have.
    """
    size = memoryview(data).nbytes
    if size > max_bytes:
        raise Malformed(f"a header of {size} bytes where at most {max_bytes} are allowed")
    limit = min(size, MAX_LIST_LENGTH)
    try:
        value: Value = msgpack.unpackb(
            data,
            raw=False,
            max_array_len=limit,
            max_map_len=0,
            max_ext_len=0,
            max_str_len=size,
            max_bin_len=size,
        )
        again = pack(value)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise Malformed(f"not canonical MessagePack: {error or type(error).__name__}") from None
    if again != data:
        raise Malformed("not canonical MessagePack: the same value has a shorter encoding")
    return value


def unpack_fields(data: bytes | bytearray | memoryview, *types: type, max_bytes: int) -> list[Any]:
    """The items of a list whose items are exactly of ``types``, in this order.

    ``int`` does not admit a bool. Use it to read a message of known layout; what lists hold
    (``list`` in ``types``) and the ranges of numbers are still the caller's to check.

    Raises:
        Malformed: as for ``unpack``, or the value is not such a list.
    """
    value = unpack(data, max_bytes=max_bytes)
    if not isinstance(value, list) or [type(item) for item in value] != list(types):
        raise Malformed(f"not a list of {len(types)} fields of the expected types")
    return value


def _check(value: object, depth: int) -> None:
    if value is None or isinstance(value, (bool, bytes, bytearray, memoryview, str)):
        return
    if isinstance(value, int):
        if not _INT_MIN <= value <= _INT_MAX:
            raise ValueError(f"{value} does not fit in 64 bits")
    elif type(value) is list or type(value) is tuple:  # not msgpack.ExtType, a named tuple
        if depth == 0:
            raise ValueError(f"lists are nested deeper than {MAX_DEPTH}")
        if len(value) > MAX_LIST_LENGTH:
            raise ValueError(f"a list of {len(value)} items")
        for item in value:
            if type(item) is not bytes:  # most of a header
                _check(item, depth - 1)
    else:
        raise TypeError(f"{type(value).__name__} is not a type of the protocol")
