"""When nodes are down and lines are cut, for all nodes or links at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...faults import Crash, Cut, Faults
from .tape import Nodes, Times

Mask = NDArray[np.bool_]


class Downtimes:
    """When each of N nodes is down, from its crashes in the order of their times."""

    def __init__(self, nodes: int, crashes: list[Crash]) -> None:
        longest = max(np.bincount([c.node for c in crashes], minlength=nodes).tolist(), default=0)
        self._begin = np.full((nodes, longest + 1), np.inf)
        self._end = np.full((nodes, longest + 1), np.inf)
        taken = [0] * nodes
        for crash in sorted(crashes, key=lambda crash: crash.at_s):
            self._begin[crash.node, taken[crash.node]] = crash.at_s
            self._end[crash.node, taken[crash.node]] = crash.at_s + crash.for_s
            taken[crash.node] += 1

    def next(self, nodes: Nodes, since: Times) -> tuple[Times, Times]:
        """The first downtime of each of ``nodes`` (n,) that ends after ``since`` (n,).

        When it begins, and when it ends; both infinite where there is none.
        """
        place = (self._end[nodes] <= since[:, None]).sum(axis=1)
        place = np.minimum(place, self._end.shape[1] - 1)
        return self._begin[nodes, place], self._end[nodes, place]

    def down(self, nodes: NDArray[np.int64], at: Times) -> Mask:
        """Whether each of ``nodes`` is down at its moment; arrays of one shape."""
        begin, _ = self.next(nodes.reshape(-1), at.reshape(-1))
        return (begin <= at.reshape(-1)).reshape(at.shape)


class Cuts:
    """Which links of N nodes are cut, and when that is noticed, ``silence_s`` later."""

    def __init__(self, nodes: int, cuts: tuple[Cut, ...], silence_s: float) -> None:
        self._cuts = cuts
        self._silence_s = silence_s
        self._groups = []
        for cut in cuts:
            group = -1 - np.arange(nodes)  # who is in no group is alone
            for number, members in enumerate(cut.groups):
                group[list(members)] = number
            self._groups.append(group)

    def cut(self, a: NDArray[np.int64], b: NDArray[np.int64], at: Times) -> Mask:
        """Whether no frame passes between ``a`` and ``b`` at their moments; arrays of one shape."""
        found = np.zeros(at.shape, dtype=np.bool_)
        for cut, group in zip(self._cuts, self._groups, strict=True):
            found |= (group[a] != group[b]) & (cut.from_s <= at) & (at < cut.to_s)
        return found

    def noticed(self, a: NDArray[np.int64], b: NDArray[np.int64], since: Times) -> Times:
        """When the link between ``a`` and ``b`` is next found dead, not before ``since``.

        Infinite where it is not; ``since`` itself where that is known already.
        """
        found = np.full(since.shape, np.inf)
        for cut, group in zip(self._cuts, self._groups, strict=True):
            known = cut.from_s + self._silence_s
            if known < cut.to_s:
                meant = (group[a] != group[b]) & (since < cut.to_s)
                found = np.where(meant, np.minimum(found, np.maximum(known, since)), found)
        return found


def ends_of_rounds(round_s: Times, downtimes: Downtimes, ready: Times, rounds: int) -> Times:
    """When each of N nodes ends each of its rounds, (N, R), if it waits for nobody.

    A round takes ``round_s`` (N,), the first begins at ``ready`` (N,); whoever dies in the midst of
    one begins it anew.
    """
    nodes = np.arange(len(round_s))
    found = np.empty((len(round_s), rounds))
    for round in range(rounds):
        while True:
            begin, end = downtimes.next(nodes, ready)
            dies = begin < ready + round_s
            if not dies.any():
                break
            ready = np.where(dies, end, ready)
        ready = ready + round_s
        found[:, round] = ready
    return found


def train_times(faults: Faults, nodes: int, seed: int) -> Times:
    """How long a round of training takes each node, (N,), as in the simulator."""
    pace = np.random.default_rng([seed, 0x9ACE]).random(nodes)
    return faults.train_s * (1.0 + faults.straggle * pace)
