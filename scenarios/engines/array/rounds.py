"""One wave: train, publish and mix many rows at once, by the pure functions of gossip/."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ....gossip.algorithms.base import Algorithm, Turn
from ....gossip.algorithms.chosen import algorithm_of
from ....gossip.block_mixing import NOBODY, Hearing, RowSums, block_pull, empty_block, fill, hearing
from ....gossip.grid import FloatVector, from_grid
from ....gossip.mixing import base_of, gamma_of
from ....gossip.publishing import Step, next_step, payload_sizes
from ....gossip.rejoining import neighbours_mean
from ....gossip.robust import BY_COORDINATE, PLAIN, middle_pull, trusted_weights
from ....gossip.rules import Rules
from .arrays import Arrays
from .graph import Weights
from .row_sums import fast_row_sums
from .tape import Nodes, Wave
from .workers import Trained, Workers, joined

Rows: TypeAlias = Nodes | slice

TRAINED_VALUES = 2**18  # parameters of the nodes that are trained together
STEP_VALUES = 2**16  # parameters that are clipped, put on the grid and compressed together


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What ``nodes`` (n,) have published, for whom (see ``Wave``), and how their training went.

    ``sequences`` (n,) are the numbers of their entries, ``sizes`` (n,) the encoded sizes of the
    deltas in bytes, ``captured`` (n,) the shares of the deltas that these carry. ``message`` is
    what their frames bring; ``answers`` (n,) are the bytes that come back from who hears it, or 0.
    """

    nodes: Nodes
    rounds: Nodes
    times: NDArray[np.float64]
    heard_by: Sequence[Sequence[int]] | None
    trained: Trained
    sequences: Nodes
    sizes: NDArray[np.int64]
    captured: NDArray[np.float64]
    message: str = "news"
    answers: NDArray[np.int64] | None = None


def keep(arrays: Arrays, wave: Wave) -> None:
    """Put the copies aside that are still needed once their authors have published."""
    if len(wave.keep):
        arrays.public.memory[:, wave.keep_in] = arrays.public.memory[:, wave.keep]


def publish(
    arrays: Arrays, rules: Rules, workers: Workers, wave: Wave, step_size: float
) -> Publication:
    """Let the nodes of a wave train and publish."""
    rule = algorithm_of(rules)
    nodes = wave.publish
    sizes = np.empty(len(nodes), dtype=np.int64)
    captured = np.empty(len(nodes))
    trained = []
    together = max(1, TRAINED_VALUES // arrays.models.columns)
    if workers.takes_whole_waves:
        together = max(1, len(nodes))
    for start in range(0, len(nodes), together):
        chunk = slice(start, min(start + together, len(nodes)))
        models, outcome = _train(arrays, rule, workers, nodes[chunk], wave.publish_rounds[chunk])
        trained.append(outcome)
        for rows in pieces(chunk, max(1, STEP_VALUES // arrays.models.columns)):
            some = slice(rows.start - start, rows.stop - start)
            step = _take_step(
                arrays, rules, rule, nodes[rows], wave.publish_rounds[rows], models[some], step_size
            )
            sizes[rows] = payload_sizes(step.sent, rules)
            captured[rows] = step.captured[:, 0]
    arrays.rounds[nodes] = wave.publish_rounds
    arrays.sequences[nodes] += 1
    return Publication(
        nodes=nodes,
        rounds=wave.publish_rounds,
        times=wave.publish_times,
        heard_by=wave.heard_by,
        trained=joined(trained),
        sequences=arrays.sequences[nodes],
        sizes=sizes,
        captured=captured,
    )


def _train(
    arrays: Arrays, rule: Algorithm, workers: Workers, nodes: Nodes, rounds: Nodes
) -> tuple[FloatVector, Trained]:
    """The releases (n, P) of some nodes, and what else came of their training."""
    models = arrays.models.rows(nodes)
    drift = rule.drift(arrays.remembered.whole_rows(nodes))
    trained = workers.train(nodes, rounds, arrays.sessions[nodes], models, drift, rule.beta)
    arrays.trained[nodes] = trained.trained
    arrays.sessions[nodes] += trained.began
    return models, trained


def _take_step(
    arrays: Arrays,
    rules: Rules,
    rule: Algorithm,
    nodes: Nodes,
    rounds: Nodes,
    releases: FloatVector,
    step_size: float,
) -> Step:
    """Bring the public copies of some nodes to what their ``releases`` (n, P) come to."""
    vectors, remembered = rule.outgoing(turn_of(arrays, nodes, step_size), releases)
    arrays.remembered.put(nodes, remembered)
    step = next_step(vectors, arrays.public.whole_rows(nodes), rules, rounds[:, None])
    arrays.public.put(nodes, step.copy)
    if len(arrays.base):
        copies = from_grid(step.copy, rules.grid_bits)
        arrays.base.put(nodes, base_of(rules.mixing, copies, step.z))
    arrays.gamma[nodes] = gamma_of(rules, step.captured)
    return step


def turn_of(arrays: Arrays, nodes: Nodes, step_size: float) -> Turn:
    """What the gossip rule knows of some nodes."""
    memory = arrays.remembered.whole_rows(nodes)
    return Turn(arrays.models.rows(nodes), memory, step_size, arrays.trained[nodes])


def pieces(whole: slice, length: int) -> Iterator[slice]:
    """Cut a slice into pieces of at most ``length``."""
    for start in range(whole.start, whole.stop, length):
        yield slice(start, min(start + length, whole.stop))


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
    heard, copies = _hearing(arrays, wave, used)
    nodes = slice(0, len(arrays.models)) if copies is None else wave.mix
    gamma = arrays.gamma[wave.mix].astype(np.float32)[..., None]
    trained = arrays.trained[wave.mix]
    rule = algorithm_of(rules)
    sums = [fast_row_sums(each.sources) for each in heard]
    rows, width = arrays.public.memory.shape[1:]
    block = empty_block(rows if copies is None else len(copies), len(wave.mix), width)
    for tile in range(arrays.models.count) if tiles is None else tiles:
        base, mixed = _mixed(arrays, rules, heard, copies, nodes, gamma, tile, block, sums)
        _settle(arrays, rule, nodes, base, mixed, trained, step_size, tile)
        del base, mixed  # the next tile takes their place, which is in the processor's cache
    return weights if rules.robust in (*PLAIN, *BY_COORDINATE) else used[0].astype(np.float64)


def rejoin(arrays: Arrays, rules: Rules, wave: Wave, shares: Weights, step_size: float) -> Weights:
    """Let the nodes of a wave that came back go on from the mean of the copies that it names.

    ``shares`` (B, K) are those of the copies; who has none keeps its model. Returns the weights
    that were used.
    """
    used = shares.copy()
    rule = algorithm_of(rules)
    found = np.flatnonzero(shares.any(axis=1))
    values = max(1, shares.shape[1]) * arrays.models.columns
    for part in pieces(slice(0, len(found)), max(1, TRAINED_VALUES // values)):
        rows = found[part]
        nodes, sources = wave.mix[rows], wave.sources[rows]
        heard = arrays.public.rows(np.where(sources == NOBODY, 0, sources).reshape(-1))
        copies = from_grid(heard, rules.grid_bits).reshape(*sources.shape, -1)
        models, used[rows] = neighbours_mean(rules, copies, shares[rows], wave.mix_rounds[rows])
        models, memory = rule.rejoin(turn_of(arrays, nodes, step_size), models)
        arrays.models.put(nodes, models[:, None])
        arrays.remembered.put(nodes, memory)
    return used


def _used_weights(
    arrays: Arrays, rules: Rules, wave: Wave, weights: FloatVector
) -> list[FloatVector]:
    """The weights (B, K) that the robust rule leaves, for each vector of a release."""
    vectors = arrays.public.vectors
    if rules.robust in (*PLAIN, *BY_COORDINATE):
        return [weights] * vectors
    used = np.empty((len(weights), vectors, weights.shape[1]), dtype=np.float32)
    values = max(1, weights.shape[1]) * vectors * arrays.models.columns
    for rows in pieces(slice(0, len(weights)), max(1, TRAINED_VALUES // values)):
        own = from_grid(arrays.public.whole_rows(wave.mix[rows]), rules.grid_bits)
        sources = wave.sources[rows]
        heard = arrays.public.whole_rows(np.where(sources == NOBODY, 0, sources).reshape(-1))
        copies = from_grid(heard, rules.grid_bits).reshape(*sources.shape, vectors, -1)
        shares = np.repeat(weights[rows, None], vectors, axis=1)
        rounds = np.repeat(wave.mix_rounds[rows, None], vectors, axis=1)
        used[rows] = trusted_weights(rules, own, copies.swapaxes(1, 2), shares, rounds)
    return [used[:, vector] for vector in range(vectors)]


def _hearing(
    arrays: Arrays, wave: Wave, weights: Sequence[FloatVector]
) -> tuple[list[Hearing], Nodes | None]:
    """Whom the nodes of a wave hear, and the rows of the public copies that this is about.

    These begin with those of the nodes themselves; None stands for all rows as they lie. Weights
    are given, and hearings returned, for each vector of a release.
    """
    if np.array_equal(wave.mix, np.arange(len(arrays.models))):
        return [hearing(wave.sources, w, len(arrays.public)) for w in weights], None
    others = np.setdiff1d(wave.sources, np.append(wave.mix, NOBODY))
    copies = np.concatenate([wave.mix, others])
    place = np.full(len(arrays.public) + 1, NOBODY)  # the last one is for NOBODY
    place[copies] = np.arange(len(copies))
    return [hearing(place[wave.sources], w, len(copies)) for w in weights], copies


def _mixed(
    arrays: Arrays,
    rules: Rules,
    heard: Sequence[Hearing],
    copies: Nodes | None,
    nodes: Rows,
    gamma: NDArray[np.float32],
    tile: int,
    block: FloatVector,
    sums: Sequence[RowSums],
) -> tuple[FloatVector, FloatVector]:
    """What was published and what mixing makes of it, (B, V, W) each, in the columns of a tile.

    They may lie in the ``block`` that is worked in.
    """
    bases, mixtures = [], []
    for vector, columns in enumerate(arrays.public.columns_of(tile)):
        fill(block, columns if copies is None else columns[copies], rules.grid_bits)
        mixed = _pull(rules, block, heard[vector], sums[vector])
        base = block[: len(mixed)]
        if len(arrays.base):
            base = arrays.base.columns_of(tile)[vector][nodes]
            mixed *= gamma[:, vector]  # where mixing restarts, it is 1
        mixed += base
        bases.append(base)
        mixtures.append(mixed)
    if len(mixtures) == 1:
        return bases[0][:, None], mixtures[0][:, None]
    return np.stack(bases, axis=1), np.stack(mixtures, axis=1)


def _pull(rules: Rules, block: FloatVector, heard: Hearing, sums: RowSums) -> FloatVector:
    """What the neighbours add to the nodes (B, W), by the rule for the coordinates of a tile."""
    if rules.robust not in BY_COORDINATE:
        return block_pull(block, heard, sums)
    sources = heard.sources[:, :-1]
    there = (sources < len(block) - 1 - len(sources)).astype(np.float32)
    return middle_pull(rules, block[: len(there)], block[sources], there)


def _settle(
    arrays: Arrays,
    rule: Algorithm,
    nodes: Rows,
    base: FloatVector,
    mixed: FloatVector,
    trained: NDArray[np.bool_],
    step_size: float,
    tile: int,
) -> None:
    """Take up the mixtures (B, V, W), as the gossip rule has it."""
    models = arrays.models.memory[tile]
    remembered = arrays.remembered.columns_of(tile)
    before = np.swapaxes(remembered[:, nodes], 0, 1)
    turn = Turn(models[nodes], before, step_size, trained)
    settled, memory = rule.settle(turn, base, mixed)
    models[nodes] = settled
    for slot in range(rule.slots):
        remembered[slot, nodes] = memory[:, slot]
