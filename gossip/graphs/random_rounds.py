"""Graphs that are drawn afresh each round, from the seed and the number of the round alone.

- *random matching*: everybody is paired with one other (Boyd, Ghosh, Prabhakar and Shah 2006,
  "Randomized Gossip Algorithms", all pairs of a round at once); of an odd number one sits out.
- *epidemic*: each node tells k others, and averages what it was told (de Vos et al. 2023, "Epidemic
  Learning"). Directed; how many a node hears varies, so the average of all is kept in the mean
  over the draws, not round by round.

The draws repeat after ``period`` rounds, so that a peer has few others to link with (decision 11).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...crypto.errors import ConfigError
from .links import IntArray, Links, directed, is_strongly_connected, undirected, union

_ATTEMPTS = 200

Draw = Callable[["np.random.PCG64"], Links]


def random_matching(nodes: int, bits: np.random.PCG64) -> Links:
    """A matching of all nodes but one at most, each equally likely."""
    order = np.argsort(bits.random_raw(nodes), kind="stable")
    half = nodes // 2
    return undirected(nodes, np.column_stack([order[:half], order[half : 2 * half]]))


def epidemic(nodes: int, degree: int, bits: np.random.PCG64) -> Links:
    """Each node is heard by ``degree`` others, each set of them equally likely.

    A node weighs all that it hears as it weighs itself.
    """
    tellers = np.repeat(np.arange(nodes), degree)
    told = _subsets(nodes, nodes - 1, degree, bits).ravel()
    told += told >= tellers  # nobody tells itself
    links = directed(nodes, told, tellers)
    degrees = links.degrees
    return Links(links.starts, links.senders, np.repeat(1 / (1 + degrees), degrees))


def _subsets(rows: int, choices: int, size: int, bits: np.random.PCG64) -> IntArray:
    """In each row ``size`` different numbers below ``choices`` (R. W. Floyd's algorithm)."""
    chosen: IntArray = np.full((rows, size), -1, dtype=np.intp)
    for column in range(size):
        last = choices - size + column
        drawn = (bits.random_raw(rows) % np.uint64(last + 1)).astype(np.intp)
        taken = (chosen == drawn[:, None]).any(axis=1)
        chosen[:, column] = np.where(taken, last, drawn)
    return chosen


def sequence(nodes: int, period: int, seed: int, draw: Draw) -> Callable[[int], Links]:
    """The graph at each place of a period whose graphs together connect all nodes.

    ``draw`` makes one from a raw stream. A period that leaves the nodes in pieces is drawn again;
    raises ConfigError when that happens too often.
    """
    for attempt in range(_ATTEMPTS):

        def at(place: int, attempt: int = attempt) -> Links:
            return draw(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(attempt, place))))

        if _connects(period, at):
            return at
    raise ConfigError(
        f"{period} random graphs leave {nodes} nodes in pieces",
        where="topology.period",
        fix="leave the period out, or make it longer",
    )


def _connects(period: int, at: Callable[[int], Links]) -> bool:
    several: list[Links] = []
    enough = 1
    while len(several) < period:  # a long period need not be drawn to its end
        several += [at(place) for place in range(len(several), min(enough, period))]
        if is_strongly_connected(union(several)):
            return True
        enough *= 2
    return False
