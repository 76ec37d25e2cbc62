"""The public file that describes a network: ``network.json``.

The network's id is a digest of everything in it, so two peers whose rules or models differ are in
different networks.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .digest import digest
from .errors import ConfigError
from .identity import KEY_BYTES
from .membership import NETWORK_ID_BYTES, is_name

_FORMAT: Final = 1
_FIELDS: Final = {
    "format": int,
    "id": str,
    "model": dict,
    "name": str,
    "root_key": str,
    "rules": dict,
}
_MODEL_FIELDS: Final = {"fingerprint": str, "genesis": str, "parameters": int, "seed": int}
_SPOKEN: Final = {int: "a whole number", str: "a text", dict: "a table"}
_MAX_FILE_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFile:
    """What everybody may know of a network, and every member must do alike.

    Attributes:
        name: for people.
        root_key: 32 bytes; whose signature makes a member.
        rules: ``gossip.rules.Rules`` as plain JSON values; opaque here.
        model: ``parameters`` and ``seed`` (int), ``fingerprint`` of the parameters' shapes and
            ``genesis``, the hash of the initial public copy (hex).
        network_id: 16 bytes, the digest of all of these.

    Raises ConfigError when a value is missing, unknown or of the wrong type.
    """

    name: str
    root_key: bytes
    rules: Mapping[str, Any]
    model: Mapping[str, int | str]
    network_id: bytes = field(init=False)

    def __post_init__(self) -> None:
        if not is_name(self.name):
            raise ConfigError("a network's name is 1 to 64 printable characters")
        if len(self.root_key) != KEY_BYTES:
            raise ConfigError(f"the root key has {KEY_BYTES} bytes, not {len(self.root_key)}")
        _check_fields("model", self.model, _MODEL_FIELDS)
        for name in ("fingerprint", "genesis"):
            if not _is_hex(str(self.model[name])):
                raise ConfigError(f"'{name}' of the model must be hexadecimal digits")
        if int(self.model["parameters"]) < 1 or int(self.model["seed"]) < 0:
            raise ConfigError("the model's 'parameters' must be at least 1, its 'seed' at least 0")
        content = _canonical_json(self._content())
        object.__setattr__(self, "network_id", digest("network", content)[:NETWORK_ID_BYTES])

    def to_bytes(self) -> bytes:
        """The content of ``network.json``."""
        content = {**self._content(), "id": self.network_id.hex()}
        return (json.dumps(content, sort_keys=True, indent=2, allow_nan=False) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes, *, where: str = "network.json") -> NetworkFile:
        """Read and check what ``to_bytes`` wrote; ``where`` names the file in messages.

        Raises:
            ConfigError: not JSON, a field is missing, unknown or of the wrong type, or the id
                does not match the content.
        """
        try:
            return cls._read(data)
        except ConfigError as error:
            raise ConfigError(
                error.what, where=where, fix=error.fix or "ask the network's owner for the file"
            ) from None

    @classmethod
    def _read(cls, data: bytes) -> NetworkFile:
        if len(data) > _MAX_FILE_BYTES:
            raise ConfigError(f"a network file of {len(data)} bytes")
        try:
            fields = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"not a network file: {error}") from None
        if not isinstance(fields, dict):
            raise ConfigError("not a network file: it should be a JSON object")
        _check_fields("network file", fields, _FIELDS)
        if fields["format"] != _FORMAT:
            raise ConfigError(
                f"a network file of format {fields['format']}; this version reads {_FORMAT}",
                fix="use the version of tidings that made the network",
            )
        if not _is_hex(fields["root_key"]):
            raise ConfigError("'root_key' must be hexadecimal digits")
        network = cls(
            name=fields["name"],
            root_key=bytes.fromhex(fields["root_key"]),
            rules=fields["rules"],
            model=fields["model"],
        )
        if network.network_id.hex() != fields["id"]:
            raise ConfigError(
                f"it was edited: its content has the id {network.network_id.hex()}, "
                f"it says {fields['id']}",
                fix="rules cannot change once a network is made; restore the file, "
                "or make a new network",
            )
        return network

    def _content(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "name": self.name,
            "root_key": self.root_key.hex(),
            "rules": dict(self.rules),
            "model": dict(self.model),
        }


def _check_fields(what: str, given: Mapping[str, object], expected: Mapping[str, type]) -> None:
    for name in given:
        if name not in expected:
            near = difflib.get_close_matches(str(name), expected, 1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise ConfigError(f"unknown field '{name}' of the {what}{hint}")
    for name, kind in expected.items():
        if name not in given:
            raise ConfigError(f"the {what} has no field '{name}'")
        if type(given[name]) is not kind:
            raise ConfigError(f"'{name}' of the {what} must be {_SPOKEN[kind]}")


def _is_hex(text: str) -> bool:
    return len(text) % 2 == 0 and text != "" and set(text) <= set("0123456789abcdef")


def _canonical_json(value: object) -> bytes:
    """JSON with one spelling for each value: 10.0 and 10 are one number, keys are sorted."""
    try:
        return json.dumps(
            _plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False
        ).encode("ascii")
    except (TypeError, ValueError) as error:
        raise ConfigError(f"a rule cannot be written as JSON: {error}") from None


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("keys must be texts")
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value
