"""What a release becomes in public: clip, put on the grid, compress the way from the last copy.

Pure functions over vectors with free leading axes: one peer's, or those of a whole network.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .compression import captured, compress
from .factors import Layout, product
from .grid import FloatVector, GridVector, add, difference, to_grid
from .low_rank import factored
from .payload import encode, encoded_sizes
from .rules import Rules


class Step(NamedTuple):
    """One step of a feed. ``z`` (..., P) is the release as it is mixed from, float32; ``sent``,
    int32, the compressed delta (..., P) or its factors (..., F); ``copy`` (..., P), int32, the
    public copy that it leads to; ``captured`` (...) the share of the delta's squared norm that it
    carries.
    """

    z: FloatVector
    sent: GridVector
    copy: GridVector
    captured: NDArray[np.float64]


def largest_parameter(grid_bits: int) -> float:
    """What a published parameter may come to: half of what the grid holds, so that the way from
    one public copy to the next fits the grid as well.
    """
    return 2.0 ** (30 - grid_bits)


def next_step(release: FloatVector, copy: GridVector, rules: Rules, rounds: ArrayLike = 0) -> Step:
    """The step that a feed takes from its public ``copy`` (..., P) with a ``release`` (..., P).

    ``rounds`` (...) is the round that it is in.
    """
    # a neighbour that publishes the ends of the grid must not drive our sums off it
    largest = largest_parameter(rules.grid_bits)
    z = np.clip(release, -largest, largest)
    delta = difference(to_grid(z, rules.grid_bits), copy)
    if rules.compression == "low-rank":
        sent = factored(delta, rules.layout)
        change = product(sent, rules.layout)
    else:
        sent = change = compress(delta, rules.compression, rules.keep, rounds)
    return Step(z, sent, add(copy, change), captured(delta, change))


def payload_of(sent: GridVector, rules: Rules) -> bytes:
    """The payload for the ``sent`` (V, P or F) of one step."""
    return encode(sent.reshape(-1), _layout(sent, rules))


def payload_sizes(sent: GridVector, rules: Rules) -> NDArray[np.int64]:
    """The lengths (n,) of the payloads for the ``sent`` (n, V, P or F) of several steps."""
    return encoded_sizes(sent.reshape(len(sent), -1), _layout(sent, rules))


def _layout(sent: GridVector, rules: Rules) -> Layout | None:
    """That of all the vectors of a step, one after the other."""
    return rules.layout * sent.shape[-2] if rules.compression == "low-rank" else None
