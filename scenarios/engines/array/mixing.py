"""Mixing many rows at once, tile by tile, by the pure functions of gossip/."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np

from ....gossip.algorithms.base import Turn
from ....gossip.algorithms.chosen import algorithm_of
from ....gossip.block_mixing import NOBODY, Block, Hearing, Sources, hearing
from ....gossip.grid import FloatVector
from ....gossip.robust import BY_COORDINATE, PLAIN, RELATIVE, judged_weights, middle_pull
from ....gossip.rules import Rules
from .arrays import Arrays
from .distances import distances, lengths
from .graph import Weights
from .row_sums import fast_row_sums
from .tape import Nodes, Wave

Pull: TypeAlias = Callable[[], FloatVector]


def mix(
    arrays: Arrays,
    rules: Rules,
    wave: Wave,
    weights: Weights,
    step_size: float,
    tiles: range | None = None,
) -> Weights:
    """Let the nodes of a wave mix; ``weights`` (B, K) are those of the sources that it names.

    ``tiles`` are those to work on, all of them unless given. Returns the weights that were used.
    """
    if not len(wave.mix):
        return weights
    used = _used_weights(arrays, rules, wave, weights.astype(np.float32))
    mixer = _Mixer(arrays, rules, wave, used, step_size)
    for tile in range(arrays.models.count) if tiles is None else tiles:
        mixer.mix(tile)
    return weights if rules.robust in (*PLAIN, *BY_COORDINATE) else used[0].astype(np.float64)


def _used_weights(
    arrays: Arrays, rules: Rules, wave: Wave, weights: FloatVector
) -> list[FloatVector]:
    """The weights (B, K) that the robust rule leaves, for each vector of a release."""
    vectors = arrays.public.vectors
    if rules.robust in (*PLAIN, *BY_COORDINATE):
        return [weights] * vectors
    public, nodes = arrays.public, wave.mix
    apart = distances(public, nodes, wave.sources, rules.grid_bits)
    length = np.zeros((len(nodes), vectors))
    if rules.robust in RELATIVE:
        length = lengths(public, nodes, rules.grid_bits)
    used = judged_weights(rules, apart, length, weights[:, None], wave.mix_rounds[:, None])
    return [used[:, vector] for vector in range(vectors)]


class _Mixer:
    """What one wave's mixing is in every tile; ``weights`` (B, K) are for each of the V vectors of
    a release.
    """

    def __init__(
        self,
        arrays: Arrays,
        rules: Rules,
        wave: Wave,
        weights: Sequence[FloatVector],
        step_size: float,
    ) -> None:
        sources, self._copies = _places(arrays, wave)
        rows, width = arrays.public.memory.shape[1:]
        if self._copies is not None:
            rows = len(self._copies)
        self._block = Block(rows, len(wave.mix), width)
        heard = [hearing(sources, each, rows) for each in weights]
        self._pulls = [_pull_of(rules, self._block, each) for each in heard]
        self._nodes = slice(0, len(arrays.models)) if self._copies is None else wave.mix
        self._gamma = arrays.gamma[wave.mix]
        self._is_scaled = (self._gamma != 1).any(axis=0)  # (V,)
        self._trained = arrays.trained[wave.mix]
        self._arrays, self._rule = arrays, algorithm_of(rules)
        self._grid_bits, self._step_size = rules.grid_bits, step_size

    def mix(self, tile: int) -> None:
        """Mix in the columns of one tile, and take up the mixtures as the gossip rule has it."""
        base, mixed = self._mixed(tile)
        models = self._arrays.models.memory[tile]
        remembered = self._arrays.remembered.columns_of(tile)
        memory = remembered[:, self._nodes].swapaxes(0, 1)
        turn = Turn(models[self._nodes], memory, self._step_size, self._trained, self._gamma)
        settled = self._rule.settle(turn, base, mixed)
        models[self._nodes] = mixed[:, 0]
        if settled is not memory:
            remembered[:, self._nodes] = settled.swapaxes(0, 1)

    def _mixed(self, tile: int) -> tuple[FloatVector, FloatVector]:
        """What was published and what mixing makes of it, (B, V, W) each, in the columns of a tile.

        The first may lie in the block that is worked in: it holds until the next call.
        """
        if len(self._pulls) == 1:
            base, mixed = self._mixed_vector(0, tile)
            return base[:, None], mixed[:, None]
        found = [self._mixed_vector(vector, tile) for vector in range(len(self._pulls))]
        bases, mixtures = zip(*found, strict=True)
        return np.stack(bases, axis=1), np.stack(mixtures, axis=1)

    def _mixed_vector(self, vector: int, tile: int) -> tuple[FloatVector, FloatVector]:
        """``_mixed`` for one of the V vectors, (B, W) each."""
        columns = self._arrays.public.columns_of(tile)[vector]
        copies = columns if self._copies is None else columns[self._copies]
        self._block.fill(copies, self._grid_bits)
        mixed = self._pulls[vector]()
        base = self._block.own
        if len(self._arrays.base):
            base = self._arrays.base.columns_of(tile)[vector][self._nodes]
        if self._is_scaled[vector]:
            mixed *= self._gamma[:, vector, None].astype(np.float32)
        mixed += base
        return base, mixed


def _places(arrays: Arrays, wave: Wave) -> tuple[Sources, Nodes | None]:
    """Whom the nodes of a wave hear, and the rows of the public copies that this is about: the
    sources (B, K) are places in them.

    They begin with those of the nodes themselves; None stands for all rows as they lie.
    """
    if np.array_equal(wave.mix, np.arange(len(arrays.models))):
        return wave.sources, None
    others = np.setdiff1d(wave.sources, np.append(wave.mix, NOBODY))
    copies = np.concatenate([wave.mix, others])
    place = np.full(len(arrays.public) + 1, NOBODY)  # the last one is for NOBODY
    place[copies] = np.arange(len(copies))
    return place[wave.sources], copies


def _pull_of(rules: Rules, block: Block, heard: Hearing) -> Pull:
    """What gives the pull (B, W) on each node, by the rule for the coordinates of a tile."""
    if rules.robust not in BY_COORDINATE:
        return partial(block.pull, heard, fast_row_sums(block.rows, heard))
    sources = heard.neighbours
    there = (sources < len(block.copies)).astype(np.float32)
    return lambda: middle_pull(rules, block.own, block.rows[sources], there)
