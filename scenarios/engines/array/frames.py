"""How many bytes an entry takes on the wire: header, signature and seal, without making them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ....crypto.envelope import frame_size
from ....crypto.sealing import CHUNK_BYTES, TAG_BYTES, sealed_size
from ....gossip.messages import HASH_BYTES, NETWORK_BYTES, EntryHeader


def frame_sizes(
    payloads: ArrayLike, sequences: ArrayLike, rounds: ArrayLike, samples: ArrayLike = 0
) -> NDArray[np.int64]:
    """The sizes (n,) of frames with such encoded ``payloads`` (n,), in bytes.

    ``sequences``, ``rounds`` and ``samples`` (n,), or one number each, are those in the headers.
    """
    size = np.asarray(payloads, dtype=np.int64)
    numbers = np.broadcast_arrays(size, sequences, rounds, samples)[1:]
    headers = zip(*(each.reshape(-1).tolist() for each in numbers), strict=True)
    empty = np.array([_empty_frame(*header) for header in headers], dtype=np.int64)
    chunks = np.maximum(1, -(-size // CHUNK_BYTES))
    total: NDArray[np.int64] = empty.reshape(size.shape) + size + TAG_BYTES * chunks
    return total


@lru_cache(maxsize=4096)
def _empty_frame(sequence: int, round: int, samples: int) -> int:
    """The bytes of a frame around its sealed payload."""
    header = EntryHeader(
        network_id=bytes(NETWORK_BYTES),
        author=bytes(HASH_BYTES),
        sequence=sequence,
        round=round,
        samples=samples,
        previous=bytes(HASH_BYTES),
        state=bytes(HASH_BYTES),
        payload_digest=bytes(HASH_BYTES),
    )
    return frame_size(len(header.pack()), 0) - sealed_size(0)
