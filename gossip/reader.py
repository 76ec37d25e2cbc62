"""Bytes from outside, taken off the front."""

from __future__ import annotations

import struct

from ..crypto.errors import Malformed


class Reader:
    """Takes bytes off the front; raises Malformed at the end of them. ``rest`` are those left."""

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self.rest = memoryview(data).cast("B")

    def take(self, count: int) -> memoryview:
        """The next ``count`` bytes."""
        if count > len(self.rest):
            raise Malformed(f"the code of a vector ends {count - len(self.rest)} bytes early")
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def unpack(self, form: struct.Struct) -> tuple[int, ...]:
        """The next values, of that form."""
        return form.unpack(self.take(form.size))

    def finish(self) -> None:
        """Raises Malformed when bytes are left."""
        if len(self.rest):
            raise Malformed(f"{len(self.rest)} bytes follow the code of a vector")
