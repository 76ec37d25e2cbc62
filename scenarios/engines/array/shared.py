"""The arrays of a run in memory that several processes see."""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ....gossip.rules import Rules
from .arrays import Arrays

_ALIGNED = 64  # bytes: a cache line
_MEMORY = Path("/dev/shm")  # files in memory, on Linux; containers often make it small


class SharedArrays:
    """Arrays over one file in memory; ``path`` leads another process to it.

    Whoever made it calls :meth:`unlink` when all others have found it: the memory goes with the
    last process. Raises OSError where there is not enough of it.
    """

    def __init__(self, parameters: int, rules: Rules, spare: int, path: Path | None = None) -> None:
        sizes: list[int] = []

        def measure(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
            size = int(np.prod(shape)) * np.dtype(dtype).itemsize
            sizes.append(-(-size // _ALIGNED) * _ALIGNED)
            # a stand-in of that shape, which takes no memory
            return np.broadcast_to(np.zeros((), dtype=dtype), shape)

        Arrays.allocated(parameters, rules, spare=spare, allocate=measure)
        self.path = path or _made(sum(sizes))
        with self.path.open("r+b") as file:
            memory = mmap.mmap(file.fileno(), sum(sizes))
        places = iter(np.cumsum([0, *sizes]).tolist())

        def allocate(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
            return np.ndarray(shape, dtype, buffer=memory, offset=next(places))

        self.arrays = Arrays.allocated(parameters, rules, spare=spare, allocate=allocate)

    def unlink(self) -> None:
        """Take the name away; who has found the memory keeps it."""
        self.path.unlink(missing_ok=True)


def _made(size: int) -> Path:
    """A new file of zeros, for nobody but this user."""
    folder = _MEMORY if _MEMORY.is_dir() else None
    if folder is not None and shutil.disk_usage(folder).free < size + (1 << 20):
        raise OSError(f"there is no room for {size} bytes in {folder}")
    handle, name = tempfile.mkstemp(prefix="tidings-", dir=folder)
    try:
        os.ftruncate(handle, size)
    finally:
        os.close(handle)
    return Path(name)
