"""The columns of a table of events, derived from the typed event."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any

from ..crypto.errors import ConfigError
from ..gossip.events import Event


def arrow() -> Any:
    """The library pyarrow. Raises ConfigError when it is not installed."""
    try:
        import pyarrow as pa
    except ImportError as error:
        raise ConfigError(
            "the tables of a large run need pyarrow, which is not installed",
            fix="pip install 'tidings[scenarios]'",
        ) from error
    return pa


def schema_of(kind: type[Event]) -> Any:
    """The pyarrow schema of a kind's table: time, peer, then the fields in their order.

    int is int64, float is float64, text is string, a tuple is a list and a mapping a map; a field
    that may be None is nullable, no other is. ``peer`` is a dictionary of names.
    """
    pa = arrow()
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    return pa.schema(
        [
            pa.field("time", pa.float64(), nullable=False),
            pa.field("peer", pa.dictionary(pa.int32(), pa.string()), nullable=False),
            *(_field(name, hints[name]) for name in names),
        ]
    )


def _field(name: str, hint: Any) -> Any:
    pa = arrow()
    if isinstance(hint, types.UnionType):
        one, none = hint.__args__
        assert none is types.NoneType
        return pa.field(name, _type(one), nullable=True)
    return pa.field(name, _type(hint), nullable=False)


def _type(hint: Any) -> Any:
    pa = arrow()
    plain = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}
    if hint in plain:
        return plain[hint]
    inner = [_type(each) for each in typing.get_args(hint) if each is not ...]
    return pa.map_(*inner) if typing.get_origin(hint) is dict else pa.list_(*inner)
