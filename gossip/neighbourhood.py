"""Whom a peer hears in a round, how much each weighs, and what the mix of their copies is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..crypto.identity import short_id
from .alignment import alignment
from .events import Mixed, Sketched
from .feed import Version
from .grid import FloatVector, from_grid
from .mixing import is_own_copy
from .robust import robust_mix
from .sketch import noted
from .state import State
from .topology import Topology
from .weights import drop_missing, row_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """What came of mixing in one round: the vectors (V, P), and what the log tells of it.

    ``own`` (P,) and ``copies`` (K, P) are the models that were mixed; ``names`` tells whose.
    """

    vectors: FloatVector
    event: Mixed
    own: FloatVector
    copies: FloatVector
    names: tuple[str, ...]

    def sketched(self, before: FloatVector, after: FloatVector, network_id: bytes) -> Sketched:
        """How the model ``after`` (P,) the mix, which was ``before`` training, compares."""
        cosines: list[float] = []
        if self.names:
            cosines = alignment(before, self.own, self.copies).round(3).tolist()
        return Sketched(
            round=self.event.round,
            sketch=noted(after, network_id),
            alignment=dict(zip(self.names, cosines, strict=True)),
        )


class Heard(NamedTuple):
    """The versions to mix with in a round by node number, and the nodes that have none."""

    versions: dict[int, Version]
    missing: list[int]


def heard(state: State) -> Heard:
    """What the peer hears in this round."""
    versions: dict[int, Version] = {}
    missing: list[int] = []
    for node in state.topology.in_neighbours(state.index, state.round):
        key = state.key_at(node)
        version = None
        if key is not None and not state.excluded(key):
            feed = state.feeds[key]
            version = feed.newest() if state.is_asynchronous else feed.version(state.round)
        if version is None:
            missing.append(node)
        else:
            versions[node] = version
    return Heard(versions, missing)


def mix(state: State, found: Heard) -> Mixture:
    """Mix the peer's own model with what it hears in this round; changes nothing."""
    rules = state.me.rules
    versions, missing = found
    weights = drop_missing(_weights(state, versions), versions)
    nodes = sorted(weights)
    shape = (state.algorithm.vectors, state.model.size)
    base = own = mixed = state.base
    models = np.empty((0, state.model.size), dtype=np.float32)
    if nodes:
        if not is_own_copy(rules.mixing, len(base)):
            own = from_grid(state.own.copy, rules.grid_bits).reshape(shape)
        public = [versions[node].copy for node in nodes]
        copies = from_grid(np.stack(public) if len(nodes) > 1 else public[0][None], rules.grid_bits)
        copies = copies.reshape(len(nodes), *shape).swapaxes(0, 1)
        models = copies[0]
        w = np.array([weights[node] for node in nodes], dtype=np.float32)
        shares = np.array([w] * len(base))
        here = np.full(len(base), state.round)
        mixed, used = robust_mix(rules, base, own, copies, shares, state.gamma, here)
        if used is not shares:  # what the log tells are the weights really used
            weights = dict(zip(nodes, used[0].tolist(), strict=True))
    names = tuple(_name(state, node) for node in nodes)
    event = Mixed(
        round=state.round,
        neighbours=dict(zip(names, (weights[node] for node in nodes), strict=True)),
        missing=tuple(_name(state, node) for node in missing),
        gamma=float(state.gamma[0]),
        staleness={
            name: state.round - versions[node].round
            for name, node in zip(names, nodes, strict=True)
            if versions[node].round != state.round
        },
    )
    return Mixture(vectors=mixed, event=event, own=own[0], copies=models, names=names)


def _weights(state: State, heard: Iterable[int]) -> Mapping[int, float]:
    if state.me.rules.weighting == "uniform":
        phase = (state.round - 1) % state.topology.period + 1
        return _uniform_weights(state.topology, state.index, phase)
    samples = {state.index: state.me.samples}
    for node in heard:
        key = state.key_at(node)
        assert key is not None
        samples[node] = max(1, state.feeds[key].samples)
    for node in state.topology.in_neighbours(state.index, state.round):
        # a node that was not heard gets no weight: its count only has to be a number
        samples.setdefault(node, 1)
    return row_weights(state.topology, state.index, state.round, samples)


@lru_cache(maxsize=64)
def _uniform_weights(topology: Topology, node: int, round: int) -> Mapping[int, float]:
    return row_weights(topology, node, round)


def _name(state: State, node: int) -> str:
    key = state.key_at(node)
    return short_id(key) if key else f"node-{node}"
