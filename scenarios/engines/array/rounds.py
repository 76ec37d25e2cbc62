"""One wave: train and publish many rows at once, by the pure functions of gossip/."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ....gossip.algorithms.base import Algorithm, Turn
from ....gossip.algorithms.chosen import algorithm_of
from ....gossip.block_mixing import NOBODY
from ....gossip.grid import FloatVector, from_grid
from ....gossip.mixing import base_after, gamma_of
from ....gossip.publishing import Step, next_step, payload_sizes
from ....gossip.rejoining import neighbours_mean
from ....gossip.rules import Rules
from .arrays import Arrays
from .graph import Weights
from .tape import Nodes, Wave
from .workers import Trained, Training, Workers, joined

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
    job = Training(
        nodes=nodes,
        rounds=rounds,
        sessions=arrays.sessions[nodes],
        models=models,
        drift=rule.drift(arrays.remembered.whole_rows(nodes)),
        beta=rule.beta,
    )
    trained = workers.train(job)
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
    turn = turn_of(arrays, nodes, step_size)
    vectors, remembered = rule.outgoing(turn, releases)
    arrays.remembered.put(nodes, remembered)
    before = arrays.public.whole_rows(nodes)
    step = next_step(vectors, before, rules, rounds[:, None])
    arrays.public.put(nodes, step.copy)
    if len(arrays.base):
        last = arrays.base.whole_rows(nodes)
        arrays.base.put(nodes, base_after(rules, rule, turn, last, before, step))
    arrays.gamma[nodes] = gamma_of(rules.mixing, step.captured)
    return step


def turn_of(arrays: Arrays, nodes: Nodes, step_size: float) -> Turn:
    """What the gossip rule knows of some nodes."""
    memory = arrays.remembered.whole_rows(nodes)
    models, trained = arrays.models.rows(nodes), arrays.trained[nodes]
    return Turn(models, memory, step_size, trained, arrays.gamma[nodes])


def pieces(whole: slice, length: int) -> Iterator[slice]:
    """Cut a slice into pieces of at most ``length``."""
    for start in range(whole.start, whole.stop, length):
        yield slice(start, min(start + length, whole.stop))


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
