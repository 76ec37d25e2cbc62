"""Base-(k+1) graphs: any number of nodes, degree k at most, and the exact average after few rounds.

After Takezawa, Sato, Bao, Niwa and Yamada 2023, "Beyond Exponential Graph: Communication-Efficient
Topologies for Decentralized Learning via Finite-time Convergence". With b = k + 1:

- A *hyper-hypercube* of n nodes, n a product of factors up to b, averages along one factor a round.
- The *simple* graph writes n in base b: n = a_1 b^p_1 + a_2 b^p_2 + ..., a block of a_l b^p_l nodes
  for each digit. The blocks average within themselves. Then block 1 trades with all the blocks
  after it: these get the right share of its average, and what its own nodes now hold averages to
  the average of all. Then block 2 trades with those after it, and so on.
- The graph takes the smooth part p out of n = p q: p simple graphs of q nodes, then a
  hyper-hypercube across them; or the simple graph of n where that is shorter.

Weights are a graph's own, symmetric and doubly stochastic; degrees do not decide them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from .links import FloatArray, IntArray, Links, undirected

Pairs = NDArray[np.intp]  # (E, 2)
Step = list[tuple[Pairs, float]]  # the edges of a round, those of one weight together


def base_graph(nodes: int, k: int) -> list[Links]:
    """The links of each round of a sequence, after which all hold the average; then it repeats."""
    steps = _base(np.arange(nodes), k + 1)
    return [_links(nodes, step) for step in steps] or [_links(nodes, [])]


def _links(nodes: int, step: Step) -> Links:
    pairs = np.concatenate([np.zeros((0, 2), dtype=np.intp), *(pairs for pairs, _ in step)])
    weights: FloatArray = np.repeat(
        [weight for _, weight in step], [len(pairs) for pairs, _ in step]
    ).astype(np.float64)
    return undirected(nodes, pairs, weights)


def _base(nodes: IntArray, b: int) -> list[Step]:
    whole = _simple(nodes, b)
    smooth = _smooth_part(len(nodes), b)
    if smooth in (1, len(nodes)):
        return whole
    groups = nodes.reshape(smooth, -1)
    split = _together([_simple(group, b) for group in groups])
    split += _together([_hyper_hypercube(across, b) for across in groups.T])
    return split if len(split) < len(whole) else whole


def _together(several: Sequence[list[Step]]) -> list[Step]:
    """Sequences of equal length on different nodes, run at the same time."""
    return [[part for step in steps for part in step] for steps in zip(*several, strict=True)]


# -- hyper-hypercubes --------------------------------------------------------------------------


def _hyper_hypercube(nodes: IntArray, b: int) -> list[Step]:
    """Node numbers as digits of mixed radix: each round averages over one digit."""
    factors = _factors(len(nodes), b)
    assert factors is not None  # the callers give numbers of nodes that have them
    steps: list[Step] = []
    stride = 1
    for factor in factors:
        groups = nodes.reshape(-1, factor, stride)
        steps.append([_cliques(np.moveaxis(groups, 1, 0).reshape(factor, -1))])
        stride *= factor
    return steps


def _cliques(members: IntArray) -> tuple[Pairs, float]:
    """The edges that average each column of ``members`` (size, groups)."""
    size = len(members)
    pairs = [np.column_stack([members[i], members[j]]) for i, j in combinations(range(size), 2)]
    return np.concatenate([np.zeros((0, 2), dtype=np.intp), *pairs]), 1 / size


@lru_cache(maxsize=1024)
def _factors(n: int, b: int) -> tuple[int, ...] | None:
    """The fewest factors up to ``b`` whose product is n; None when a prime of n is larger."""
    if n == 1:
        return ()
    found = [
        (factor, *rest)
        for factor in range(min(b, n), 1, -1)
        if n % factor == 0 and (rest := _factors(n // factor, b)) is not None
    ]
    return min(found, key=len, default=None)


def _smooth_part(n: int, b: int) -> int:
    """The largest divisor of n without a prime factor over ``b``."""
    smooth = 1
    for prime in range(2, b + 1):  # what is not prime has been divided out before
        while n % prime == 0:
            n //= prime
            smooth *= prime
    return smooth


# -- the simple graph --------------------------------------------------------------------------


class _Block:
    """The nodes of one digit of n in base b: ``parts`` (a, b^p), and their ways to average."""

    def __init__(self, nodes: IntArray, digit: int, b: int) -> None:
        self.b = b
        self.nodes = nodes
        self.parts = nodes.reshape(digit, -1)
        self.whole = _hyper_hypercube(nodes, b)
        self.inner = _together([_hyper_hypercube(part, b) for part in self.parts])

    def trade(self, later: IntArray) -> Step:
        """Each later node pairs with one of every part; who is left over forms cliques.

        The weights are such that a later node then holds this block's average by its share of
        the nodes of both, and each part's sum has got its share of the later nodes' average.
        """
        share = self.parts.shape[1] / (len(self.nodes) + len(later))
        met = self.parts[:, : len(later)]
        pairs = np.column_stack([met.ravel(), np.tile(later, len(met))])
        left = self.parts[:, len(later) :].ravel()
        full = len(left) // self.b * self.b
        cliques = [left[:full].reshape(-1, self.b).T, left[full:, None]]
        return [(pairs, share), *(_cliques(members) for members in cliques if members.size)]


def _simple(nodes: IntArray, b: int) -> list[Step]:
    if _factors(len(nodes), b) is not None:
        return _hyper_hypercube(nodes, b)
    blocks = _blocks(nodes, b)
    # averaging goes on in the blocks that are done before the first: it costs nothing to exactness
    steps = [_of_all([block.whole for block in blocks], m) for m in range(len(blocks[0].whole))]
    for turn in range(1 + len(blocks[0].inner)):
        done, open_ = blocks[:turn], blocks[turn:]
        step = [
            part
            for index, block in enumerate(done)
            for part in _of_all([block.inner], turn - index - 1)
        ]
        if len(open_) > 1:
            step += open_[0].trade(np.concatenate([block.nodes for block in open_[1:]]))
        elif open_:
            step += _of_all([open_[0].whole], turn)
        steps.append(step)
    return steps


def _of_all(sequences: Sequence[list[Step]], m: int) -> Step:
    """Round m of sequences that repeat, each on its own nodes."""
    return [part for steps in sequences if steps for part in steps[m % len(steps)]]


def _blocks(nodes: IntArray, b: int) -> list[_Block]:
    """The nodes by the digits of their number in base b, the highest first; zeros give none."""
    powers = [1]
    while powers[-1] * b <= len(nodes):
        powers.append(powers[-1] * b)
    blocks: list[_Block] = []
    begin = 0
    for power in reversed(powers):
        digit = (len(nodes) - begin) // power
        if digit:
            blocks.append(_Block(nodes[begin : begin + digit * power], digit, b))
            begin += digit * power
    return blocks
