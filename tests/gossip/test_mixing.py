from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.gossip.algorithms.base import Turn
from tidings.gossip.algorithms.chosen import algorithm_of
from tidings.gossip.compression import Compression
from tidings.gossip.grid import from_grid
from tidings.gossip.mixing import (
    base_after,
    consensus_distance,
    gamma_of,
    mix,
    powers_of_two,
    unsaid,
)
from tidings.gossip.publishing import Step, next_step
from tidings.gossip.rules import Rules, TopologyRule
from tidings.gossip.topology import Topology
from tidings.gossip.weights import metropolis_hastings, row_weights

Form = Literal["restart", "feedback", "choco"]
ELEMENTWISE = ("none", "int8", "int4", "sign", "top-k-int8", "top-k", "random-k")
SEEDS = st.integers(0, 2**32)
PROPERTY = settings(derandomize=True, deadline=None, max_examples=60)


def made(kind: str, nodes: int) -> Topology:
    return Topology(TopologyRule.model_validate({"kind": kind, "nodes": nodes}))


def models(seed: int, *shape: int) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(seed)).normal(size=shape).astype(np.float32)


def mixed_by_all(topology: Topology, round: int, base: np.ndarray, p: np.ndarray) -> np.ndarray:
    rows = []
    for i in range(topology.nodes):
        w = row_weights(topology, i, round)
        rows.append(mix(base[i], p[i], p[list(w)], list(w.values())))
    return np.array(rows)


@PROPERTY
@given(
    st.sampled_from(["none", "ring", "complete", "exponential", "one-peer-exponential"]),
    st.integers(1, 17),
    st.integers(0, 9),
    SEEDS,
)
def test_mixing_is_the_matrix_and_keeps_the_mean(
    kind: str, nodes: int, round: int, seed: int
) -> None:
    topology = made(kind, nodes)
    p = models(seed, nodes, 30)
    x = mixed_by_all(topology, round, p, p)
    assert x.dtype == np.float32
    W = metropolis_hastings(topology.adjacency(round))
    assert np.abs(x - W @ p.astype(np.float64)).max() < 5e-6
    assert np.abs(x.mean(axis=0) - p.mean(axis=0)).max() < 2e-6
    assert consensus_distance(x) <= consensus_distance(p) * (1 + 1e-6)


@PROPERTY
@given(SEEDS, st.integers(0, 5))
def test_a_matrix_of_peers_gives_the_bits_of_single_peers(seed: int, k: int) -> None:
    base, own, copies = models(seed, 4, 9), models(seed + 1, 4, 9), models(seed + 2, 4, k, 9)
    weights, gamma = np.abs(models(seed + 3, 4, k)), np.abs(models(seed + 4, 4))
    together = mix(base, own, copies, weights, gamma)
    for i in range(4):
        alone = mix(base[i], own[i], copies[i], weights[i], gamma[i])
        assert alone.tobytes() == together[i].tobytes()


def test_known_mixes() -> None:
    one = np.float32([1.0, 2.0])
    assert mix(one, one, np.zeros((0, 2), np.float32), []).tolist() == [1, 2]
    others = np.float32([[3.0, 2.0], [1.0, -2.0]])
    assert mix(one, one, others, [0.25, 0.5]).tolist() == [1.5, 0.0]
    assert mix(one + 1, one, others, [0.25, 0.5], gamma=0.5).tolist() == [2.25, 2.0]
    with pytest.raises(ValueError, match="weights do not fit"):
        mix(one, one, others, [0.25])
    with pytest.raises(ValueError, match="do not fit"):
        mix(one, one, others[:, :1], [0.25, 0.5])


@given(st.lists(st.integers(0, 10_000), max_size=5))
def test_counts_are_sums_of_powers_of_two(counts: list[int]) -> None:
    powers = powers_of_two(np.array(counts, dtype=np.int64))
    assert powers.sum(axis=-1).tolist() == counts
    assert not (powers & (powers - 1)).any()


# -- what mixing goes on from -----------------------------------------------------------------


@PROPERTY
@given(SEEDS)
def test_what_is_unsaid_is_news_and_was_dropped(seed: int) -> None:
    dropped, news = models(seed, 3, 40), models(seed + 1, 3, 40)
    kept = unsaid(dropped, news)
    assert (np.abs(kept) <= np.minimum(np.abs(dropped), np.abs(news))).all()
    assert (kept * dropped >= 0).all()
    assert (kept * news >= 0).all()
    assert np.array_equal(unsaid(dropped, dropped), dropped)
    assert not unsaid(dropped, -dropped).any()


def based(form: Form, optimiser: str, news: float, pull: float) -> tuple[np.ndarray, Step]:
    """The base after a step of two peers whose models lay ``pull`` off their copies, which learnt
    ``news``; both are known in each coordinate, and compression sends a quarter of them.
    """
    rules = Rules(mixing=form, optimiser=optimiser, compression="top-k", keep=0.25)
    rule, bits = algorithm_of(rules), rules.grid_bits
    copy = np.zeros((2, rule.vectors, 8), dtype=np.int32)
    before = np.full((2, 8), pull, dtype=np.float32)
    z = np.zeros((2, rule.vectors, 8), dtype=np.float32)
    z[:, 0] = before + np.float32(news) * np.arange(1, 9, dtype=np.float32)
    z[:, 1:] = 1.0
    step = next_step(z, copy, rules)
    memory = np.zeros((2, rule.slots, 8), dtype=np.float32)
    turn = Turn(before, memory, 0.1, np.ones(2, dtype=bool), np.ones((2, rule.vectors)))
    return base_after(rules, rule, turn, from_grid(copy, bits), copy, step), step


def test_feedback_keeps_what_was_learnt_and_not_said_and_no_pull() -> None:
    base, step = based("feedback", "sgd", news=0.125, pull=0.5)
    learnt = 0.125 * np.arange(1, 9)
    assert base[0, 0].tolist() == [*learnt[:6], *step.z[0, 0, 6:].tolist()]
    # a pull against the news takes from them what it takes from the model
    base, _ = based("feedback", "sgd", news=0.125, pull=-0.5)
    assert base[0, 0, 1:7].tolist() == [0, 0, 0, 0.125, 0.25, 0.375]


def test_restart_keeps_nothing() -> None:
    base, step = based("restart", "sgd", news=0.125, pull=0.5)
    assert np.array_equal(base, from_grid(step.copy, 20))


def test_choco_goes_on_from_what_was_to_be_published() -> None:
    base, step = based("choco", "sgd", news=0.125, pull=0.5)
    assert np.array_equal(base, step.z)


@pytest.mark.parametrize("form", ["restart", "feedback"])
def test_of_what_is_tracked_beside_the_model_nothing_is_dropped(form: Form) -> None:
    base, step = based(form, "k-gt", news=0.125, pull=0.5)
    assert np.array_equal(base[:, 1], step.z[:, 1])
    assert not np.array_equal(base[:, 0], step.z[:, 0])


def test_step_sizes_are_one_for_models_and_what_was_captured_beside_them() -> None:
    forms: list[Form] = ["restart", "feedback"]
    for form in forms:
        assert gamma_of(form, [[0.3], [0.5]]).tolist() == [[1.0], [1.0]]
        assert gamma_of(form, [[0.3, 0.25], [0.5, 1.0]]).tolist() == [[1.0, 0.25], [1.0, 1.0]]
    assert gamma_of("choco", [[0.3], [0.5]]).tolist() == [[0.3], [0.5]]


def test_consensus_distance() -> None:
    assert consensus_distance(np.ones((5, 3), dtype=np.float32)) == 0
    x = np.float32([[0.0, 0.0], [6.0, 8.0]])
    assert consensus_distance(x) == pytest.approx(5)
    assert consensus_distance(np.stack([x, 3 * x])) == pytest.approx([5, 15])


@pytest.mark.parametrize(
    ("form", "rule"),
    [
        (form, rule)
        for form in ("restart", "feedback", "choco")
        for rule in (*ELEMENTWISE, "low-rank")
        if (form, rule) != ("choco", "low-rank")
    ],
)
def test_compressed_gossip_agrees_on_the_mean(form: Form, rule: Compression) -> None:
    # no training: private models must meet; where few bits are sent, they need not keep the mean
    n, bits, topology = 8, 20, made("exponential", 8)
    x = models(7, n, 200)
    start, p = x.copy(), np.zeros((n, 200), dtype=np.int32)
    of_matrix = {"rank": 2, "shapes": ((10, 20),)}
    rules = Rules(mixing=form, compression=rule, optimiser="sgd", grid_bits=bits, **of_matrix)
    bases = x[:, None]
    for round in range(150):
        step = next_step(x[:, None], p[:, None], rules, round)
        turn = Turn(x, np.zeros((n, 0, 200), np.float32), 1.0, np.zeros(n, bool), np.ones((n, 1)))
        bases = base_after(rules, algorithm_of(rules), turn, bases, p[:, None], step)
        p = step.copy[:, 0]
        own = from_grid(p, bits)
        pulls = []
        for i in range(n):
            w = row_weights(topology, i, round)
            gamma = gamma_of(form, step.captured[i])
            pulls.append(mix(bases[i, 0], own[i], own[list(w)], list(w.values()), gamma[0]))
        x = np.array(pulls)
    assert consensus_distance(x) < 0.02 * consensus_distance(start)
    if rule == "int8":
        assert np.abs(x.mean(axis=0) - start.mean(axis=0)).max() < 0.05
    if rule == "none":
        assert np.abs(x - start.mean(axis=0)).max() < 1e-4
