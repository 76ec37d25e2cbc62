from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.gossip.compression import Compression
from tidings.gossip.grid import from_grid
from tidings.gossip.mixing import Form, base_of, consensus_distance, gamma_of, mix, powers_of_two
from tidings.gossip.publishing import next_step
from tidings.gossip.rules import Rules, TopologyRule
from tidings.gossip.topology import Topology
from tidings.gossip.weights import metropolis_hastings, row_weights

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


def test_forms() -> None:
    p, z = models(1, 1, 5), models(2, 1, 5)
    assert base_of("restart", p, z) is p
    assert base_of("feedback", p, z) is z


def feeding_back(compression: str, **more: Any) -> Rules:
    return Rules(mixing="feedback", compression=compression, **more)


def test_steps_are_as_long_as_is_stable() -> None:
    shares = [[0.1], [0.2], [0.25], [0.49], [1.0]]
    plain = [row[0] for row in shares]
    assert (gamma_of(Rules(compression="top-k"), shares) == 1).all()
    assert gamma_of(feeding_back("int8"), shares)[:, 0].tolist() == plain
    assert gamma_of(feeding_back("top-k", optimiser="sgd"), shares)[:, 0].tolist() == plain
    assert gamma_of(feeding_back("top-k", momentum=0), shares)[:, 0].tolist() == plain
    shorter = gamma_of(feeding_back("random-k-int8"), shares)[:, 0].tolist()
    assert shorter == pytest.approx([0.0125, 0.064, 0.125, 0.343, 1.0])


def test_what_is_tracked_beside_the_model_is_mixed_with_feedback() -> None:
    p, z = models(1, 4, 2, 5), models(2, 4, 2, 5)
    base = base_of("restart", p, z)
    assert np.array_equal(base[:, 0], p[:, 0])
    assert np.array_equal(base[:, 1], z[:, 1])
    assert gamma_of(Rules(), [0.3, 0.5]).tolist() == [1, 0.5]
    assert gamma_of(Rules(compression="low-rank"), [0.3, 0.5]).tolist() == [1, 0.25]
    assert gamma_of(feeding_back("low-rank"), [0.5, 0.5]).tolist() == [0.25, 0.25]
    assert gamma_of(feeding_back("top-k"), [0.25, 0.25]).tolist() == [0.125, 0.25]


def test_consensus_distance() -> None:
    assert consensus_distance(np.ones((5, 3), dtype=np.float32)) == 0
    x = np.float32([[0.0, 0.0], [6.0, 8.0]])
    assert consensus_distance(x) == pytest.approx(5)
    assert consensus_distance(np.stack([x, 3 * x])) == pytest.approx([5, 15])


@pytest.mark.parametrize("form", ["restart", "feedback"])
@pytest.mark.parametrize(
    "rule", ["none", "int8", "int4", "sign", "top-k-int8", "top-k", "random-k", "low-rank"]
)
def test_compressed_gossip_agrees_on_the_mean(form: Form, rule: Compression) -> None:
    # no training: private models must meet; feedback loses nothing, restart what was not sent
    n, bits, topology = 8, 20, made("exponential", 8)
    x = models(7, n, 200)
    start, p = x.copy(), np.zeros((n, 200), dtype=np.int32)
    of_matrix = {"rank": 2, "shapes": ((10, 20),)}
    rules = Rules(mixing=form, compression=rule, optimiser="sgd", grid_bits=bits, **of_matrix)
    for round in range(150):
        step = next_step(x, p, rules, round)
        p = step.copy
        own = from_grid(p, bits)
        gamma = gamma_of(rules, step.captured[:, None])[:, 0]
        base = base_of(form, own[:, None], step.z[:, None])[:, 0]
        pulls = []
        for i in range(n):
            w = row_weights(topology, i, round)
            pulls.append(mix(base[i], own[i], own[list(w)], list(w.values()), gamma[i]))
        x = np.array(pulls)
    assert consensus_distance(x) < 0.02 * consensus_distance(start)
    if form == "feedback" and "k" not in rule:
        drift = np.abs(x.mean(axis=0) - start.mean(axis=0)).max()
        assert drift < (0.1 if rule == "sign" else 0.05)
    if rule == "none":
        assert np.abs(x - start.mean(axis=0)).max() < 1e-4
