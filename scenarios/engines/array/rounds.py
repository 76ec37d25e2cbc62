"""One wave: train, publish and mix many rows at once, by the pure functions of gossip/."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....gossip import integers
from ....gossip.block_mixing import Hearing, block_of, block_pull, column_blocks, hearing
from ....gossip.mixing import gamma_of
from ....gossip.momentum import quasi_global
from ....gossip.publishing import next_step
from ....gossip.rules import Rules
from .arrays import Arrays
from .graph import Weights
from .tape import Nodes, Wave
from .workers import Trained, Workers

CHUNK_NODES = 64  # rows that are trained and published together


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What ``nodes`` (n,) have published, for whom (see ``Wave``), and how their training went.

    ``sizes`` (n,) are the encoded sizes of the deltas in bytes, ``captured`` (n,) the shares of the
    deltas that these carry.
    """

    nodes: Nodes
    rounds: Nodes
    times: NDArray[np.float64]
    heard_by: Sequence[Sequence[int]] | None
    trained: Trained
    sizes: NDArray[np.int64]
    captured: NDArray[np.float64]


def publish(arrays: Arrays, rules: Rules, workers: Workers, wave: Wave) -> Iterator[Publication]:
    """Let the nodes of a wave train and publish, chunk by chunk."""
    if len(wave.keep):
        arrays.public[wave.keep_in] = arrays.public[wave.keep]
    for start in range(0, len(wave.publish), CHUNK_NODES):
        yield _publish(arrays, rules, workers, wave, slice(start, start + CHUNK_NODES))


def _publish(
    arrays: Arrays, rules: Rules, workers: Workers, wave: Wave, chunk: slice
) -> Publication:
    nodes, rounds = wave.publish[chunk], wave.publish_rounds[chunk]
    models = arrays.models[nodes]
    momentum = arrays.momentum[nodes] if len(arrays.momentum) else None
    trained = workers.train(nodes, rounds, arrays.sessions[nodes], models, momentum)
    step = next_step(models, arrays.public[nodes], rules)
    arrays.public[nodes] = step.copy
    if len(arrays.base):
        arrays.base[nodes] = step.z
    arrays.gamma[nodes] = gamma_of(rules.mixing, step.captured)
    arrays.trained[nodes] = trained.trained
    arrays.sessions[nodes] += trained.trained
    arrays.sequences[nodes] += 1
    arrays.rounds[nodes] = rounds
    return Publication(
        nodes=nodes,
        rounds=rounds,
        times=wave.publish_times[chunk],
        heard_by=None if wave.heard_by is None else wave.heard_by[chunk],
        trained=trained,
        sizes=np.array([len(integers.encode(row)) for row in step.change], dtype=np.int64),
        captured=step.captured,
    )


def mix(
    arrays: Arrays,
    rules: Rules,
    wave: Wave,
    weights: Weights,
    step_size: float,
    columns: slice | None = None,
) -> None:
    """Let the nodes of a wave mix; ``weights`` (B, K) are those of the sources that it names.

    ``columns`` are the parameters to work on, all of them unless given.
    """
    if not len(wave.mix):
        return
    copies = len(arrays.public)
    everyone = np.array_equal(wave.mix, np.arange(len(arrays.models)))
    heard = hearing(
        wave.sources, weights.astype(np.float32), copies, None if everyone else wave.mix
    )
    gamma = arrays.gamma[wave.mix].astype(np.float32)[:, None]
    train = np.flatnonzero(arrays.trained[wave.mix])
    whole = slice(0, arrays.models.shape[1]) if columns is None else columns
    for block in column_blocks(whole, copies):
        _mix_block(arrays, rules, wave.mix, heard, gamma, train, step_size, block)


def _mix_block(
    arrays: Arrays,
    rules: Rules,
    nodes: Nodes,
    heard: Hearing,
    gamma: NDArray[np.float32],
    trained: Nodes,
    step_size: float,
    columns: slice,
) -> None:
    rows: Nodes | slice = nodes if heard.rows is not None else slice(0, len(nodes))
    block = block_of(arrays.public, columns, rules.grid_bits)
    mixed = block_pull(block, heard)
    mixed *= gamma
    mixed += arrays.base[rows, columns] if len(arrays.base) else block[rows]
    if len(arrays.momentum):
        who = rows if len(trained) == len(nodes) else nodes[trained]
        arrays.momentum[who, columns] = quasi_global(
            arrays.momentum[who, columns],
            arrays.models[who, columns],
            mixed if len(trained) == len(nodes) else mixed[trained],
            step_size,
            1,
            rules.momentum,
        )
    arrays.models[rows, columns] = mixed
