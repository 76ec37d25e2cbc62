"""Every gossip rule: the published algorithm, on one node or many, and where it leads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.gossip.algorithms.base import Algorithm, Turn, gradient_of
from tidings.gossip.algorithms.chosen import algorithm_of
from tidings.gossip.algorithms.gradient_tracking import BEER, KGT
from tidings.gossip.algorithms.outer_momentum import OuterMomentum
from tidings.gossip.algorithms.quasi_global import DPSGD, QuasiGlobal
from tidings.gossip.rules import Rules, TopologyRule
from tidings.gossip.topology import Topology
from tidings.gossip.weights import mixing_matrix

NAMES = ("sgd", "qg-dsgdm", "k-gt", "beer", "outer-momentum")
Gradient = Callable[[np.ndarray], np.ndarray]


def W_of(kind: str, nodes: int) -> np.ndarray:
    return mixing_matrix(Topology(TopologyRule(kind=kind, nodes=nodes)).links(0))


def turn_of(rule: Algorithm, before: Any, memory: Any, step_size: float, trained: Any) -> Turn:
    """A turn in which compression dropped nothing."""
    gamma = np.ones((*before.shape[:-1], rule.vectors))
    return Turn(before, memory, step_size, np.asarray(trained), gamma)


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


class Network:
    """N nodes that train by exact gradients and publish exactly what the rule says."""

    def __init__(
        self, rule: Algorithm, W: np.ndarray, x: np.ndarray, lr: float, steps: int
    ) -> None:
        self.rule, self.W, self.x, self.lr, self.steps = rule, W, x, lr, steps
        self.memory = np.zeros((len(x), rule.slots, x.shape[1]), dtype=np.float32)

    def round(self, gradient: Gradient, trained: np.ndarray | None = None) -> None:
        there = np.ones(len(self.x), dtype=bool) if trained is None else trained
        z, drift = self.x.copy(), self.rule.drift(self.memory)
        for _ in range(self.steps):
            pull = 0.0 if drift is None else np.float32(self.rule.beta) * drift
            z = (z - np.float32(self.lr) * (pull + gradient(z))).astype(np.float32)
        z = np.where(there[:, None], z, self.x)
        step_size = self.lr * self.steps
        turn = turn_of(self.rule, self.x, self.memory, step_size, there)
        sent, memory = self.rule.outgoing(turn, z)
        mixed = np.einsum("ij,jvp->ivp", self.W, sent).astype(np.float32)
        self.memory = self.rule.settle(turn._replace(memory=memory), sent, mixed)
        self.x = mixed[:, 0]


def uneven(nodes: int, size: int) -> tuple[Gradient, np.ndarray]:
    """Quadratics of different centres and curvatures, and where their mean is least."""
    centres = drawn(3, nodes, size).astype(np.float64)
    scale = np.abs(drawn(4, nodes, size)) + 0.2
    best = (scale * centres).sum(axis=0) / scale.sum(axis=0)
    return lambda x: (scale * (x - centres)).astype(np.float32), best


# -- alike for one and for many -------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 2**32 - 1), nodes=st.integers(1, 5), size=st.integers(1, 9))
@settings(derandomize=True, max_examples=30, deadline=None)
def test_one_node_and_many_have_the_same_bits(name: str, seed: int, nodes: int, size: int) -> None:
    rule = algorithm_of(Rules(optimiser=name))
    rng = np.random.default_rng(seed)
    before, z = drawn(seed, nodes, size), drawn(seed + 1, nodes, size)
    memory = drawn(seed + 2, nodes, rule.slots, size)
    trained = rng.random(nodes) < 0.7
    sent, remembered = rule.outgoing(turn_of(rule, before, memory, 0.25, trained), z)
    mixed = sent + drawn(seed + 3, *sent.shape)
    settled = rule.settle(turn_of(rule, before, remembered, 0.25, trained), sent, mixed)
    assert sent.shape == (nodes, rule.vectors, size)
    assert settled.shape == memory.shape
    assert {each.dtype for each in (sent, remembered, settled)} == {np.dtype(np.float32)}
    for i in range(nodes):
        alone, kept = rule.outgoing(turn_of(rule, before[i], memory[i], 0.25, trained[i]), z[i])
        assert alone.tobytes() == sent[i].tobytes()
        assert kept.tobytes() == remembered[i].tobytes()
        own = rule.settle(turn_of(rule, before[i], kept, 0.25, trained[i]), alone, mixed[i])
        assert own.tobytes() == settled[i].tobytes()
        turn = turn_of(rule, before, memory, 0.25, trained)
        single = turn_of(rule, before[i], memory[i], 0.25, trained[i])
        assert rule.news(single, z[i]).tobytes() == rule.news(turn, z)[i].tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_left_alone(name: str) -> None:
    rule = algorithm_of(Rules(optimiser=name))
    before, z, memory = drawn(1, 3, 4), drawn(2, 3, 4), drawn(3, 3, rule.slots, 4)
    kept = [each.copy() for each in (before, z, memory)]
    trained = np.array([True, False, True])
    sent, remembered = rule.outgoing(turn_of(rule, before, memory, 0.1, trained), z)
    kept += [sent.copy(), remembered.copy()]
    rule.settle(turn_of(rule, before, remembered, 0.1, trained), sent, sent)
    for now, then in zip((before, z, memory, sent, remembered), kept, strict=True):
        assert np.array_equal(now, then)


# -- coming back after missed rounds ---------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 2**32 - 1), nodes=st.integers(1, 5), size=st.integers(1, 9))
@settings(derandomize=True, max_examples=10, deadline=None)
def test_a_jump_is_no_gradient(name: str, seed: int, nodes: int, size: int) -> None:
    rule = algorithm_of(Rules(optimiser=name))
    before, found = drawn(seed, nodes, size), drawn(seed + 1, nodes, size)
    memory = drawn(seed + 2, nodes, rule.slots, size)
    kept = memory.copy()
    trained = np.ones(nodes, dtype=bool)
    model, remembered = rule.rejoin(turn_of(rule, before, memory, 0.25, trained), found)
    assert np.array_equal(model, found)
    assert np.array_equal(memory, kept)
    # momentum and corrections lead from where the network was; trackers go on summing up to the
    # gradients'
    if name == "beer":
        assert np.array_equal(remembered, memory)
        return
    assert not remembered.any()
    # a round that neither trains nor mixes goes nowhere from there, and is told to have gone so
    turn = turn_of(rule, model, remembered, 0.25, trained)
    sent, after = rule.outgoing(turn, model)
    assert np.array_equal(sent[:, 0], found)
    assert not rule.settle(turn._replace(memory=after), sent, sent).any()


# -- gradient tracking ----------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(1, 4), rounds=st.integers(1, 6))
@settings(derandomize=True, max_examples=30, deadline=None)
def test_k_gt_is_the_published_algorithm(seed: int, steps: int, rounds: int) -> None:
    W, lr = W_of("ring", 5), 0.05
    gradient, _ = uneven(5, 4)
    net = Network(KGT(), W, drawn(seed, 5, 4), lr, steps)
    x, c = net.x.astype(np.float64), np.zeros((5, 4))
    for _ in range(rounds):
        net.round(gradient)
        local = x.copy()
        for _ in range(steps):
            local = local - lr * (gradient(local) + c)
        y = (x - local) / (steps * lr)
        c = c - y + W @ y
        x = W @ local
    assert np.allclose(net.x, x, atol=1e-4)
    assert np.allclose(net.memory[:, 0], c, atol=1e-3)


@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["ring", "exponential", "complete"]),
    stopped=st.sets(st.integers(0, 7), max_size=4),
)
@settings(derandomize=True, max_examples=40, deadline=None)
def test_corrections_of_k_gt_sum_to_zero(seed: int, kind: str, stopped: set[int]) -> None:
    gradient, _ = uneven(8, 5)
    net = Network(KGT(), W_of(kind, 8), drawn(seed, 8, 5), 0.05, 3)
    trained = np.array([node not in stopped for node in range(8)])
    for round_ in range(6):
        net.round(gradient, trained if round_ > 2 else None)
        assert np.abs(net.memory[:, 0].sum(axis=0)).max() < 1e-4


def test_beer_is_the_published_algorithm_without_compression() -> None:
    W, lr = W_of("ring", 5), 0.05
    gradient, _ = uneven(5, 4)
    net = Network(BEER(), W, drawn(9, 5, 4), lr, 1)
    x, v, g = net.x.astype(np.float64), np.zeros((5, 4)), np.zeros((5, 4))
    for _ in range(12):
        net.round(gradient)
        now = gradient(x)
        v = v + now - g  # adapt then combine: step along v, then mix both
        x, v, g = W @ (x - lr * v), W @ v, now
    assert np.allclose(net.x, x, atol=1e-4)
    assert np.allclose(net.memory[:, 0], v, atol=1e-3)


@pytest.mark.parametrize(("name", "steps"), [("k-gt", 5), ("beer", 1)])
def test_tracking_finds_the_common_optimum_where_plain_gossip_does_not(
    name: str, steps: int
) -> None:
    gradient, best = uneven(8, 10)

    def error(rule: str) -> float:
        start = np.zeros((8, 10), dtype=np.float32)
        net = Network(algorithm_of(Rules(optimiser=rule)), W_of("ring", 8), start, 0.05, steps)
        for _ in range(600):
            net.round(gradient)
        return float(np.abs(net.x - best).max())

    assert error(name) < 1e-3
    assert error("sgd") > 30 * error(name)


@pytest.mark.parametrize(("name", "steps"), [("k-gt", 3), ("beer", 1)])
@pytest.mark.parametrize("lag", [4, 20])
def test_corrections_from_copies_that_lag_behind_do_not_swing_wider(
    name: str, steps: int, lag: int
) -> None:
    # what is tracked is known `lag` rounds late: a share of 1 / lag of it is told in each round
    gradient, _ = uneven(8, 6)
    rule, W, start = algorithm_of(Rules(optimiser=name)), W_of("exponential", 8), drawn(5, 8, 6)
    copies, widest = np.zeros((8, 6), dtype=np.float32), []
    net = Network(rule, W, start, 0.05, steps)
    for _ in range(400):
        z, drift = net.x.copy(), rule.drift(net.memory)
        for _ in range(steps):
            pull = 0.0 if drift is None else np.float32(rule.beta) * drift
            z = (z - np.float32(0.05) * (pull + gradient(z))).astype(np.float32)
        turn = turn_of(rule, net.x, net.memory, 0.05 * steps, np.ones(8, dtype=bool))
        sent, memory = rule.outgoing(turn, z)
        copies += (sent[:, 1] - copies) / np.float32(lag)
        mixed = np.einsum("ij,jvp->ivp", W, sent).astype(np.float32)
        mixed[:, 1] = sent[:, 1] + (W @ copies - copies) * np.float32(1 / lag)
        gamma = np.broadcast_to([1.0, 1 / lag], (8, 2))
        net.memory = rule.settle(turn._replace(memory=memory, gamma=gamma), sent, mixed)
        net.x = mixed[:, 0]
        widest.append(np.abs(net.memory).max())
    assert max(widest[200:]) <= 1.01 * max(widest[:200])
    assert np.ptp(widest[300:]) < 0.05 * widest[-1]


def test_a_node_that_trains_no_more_moves_no_correction_of_others() -> None:
    gradient, _ = uneven(4, 3)
    net = Network(KGT(), W_of("complete", 4), drawn(5, 4, 3), 0.05, 2)
    for _ in range(5):
        net.round(gradient)
    sent, _ = net.rule.outgoing(
        turn_of(net.rule, net.x, net.memory, 0.1, np.zeros(4, dtype=bool)), net.x
    )
    assert np.array_equal(sent[:, 1], net.memory[:, 0])


def test_a_gradient_is_the_mean_step_and_needs_one() -> None:
    before, z = np.float32([[1, 2]]), np.float32([[0, 4]])
    turn = turn_of(DPSGD(), before, np.zeros((1, 0, 2), np.float32), 0.5, [True])
    assert gradient_of(turn, z).tolist() == [[2.0, -4.0]]
    assert gradient_of(turn._replace(trained=np.array([False])), z).tolist() == [[0.0, 0.0]]
    with pytest.raises(ValueError, match="no steps"):
        gradient_of(turn._replace(step_size=0.0), z)


# -- outer momentum -------------------------------------------------------------------------------


def test_on_a_steady_course_outer_momentum_neither_lengthens_nor_shortens_steps() -> None:
    net = Network(OuterMomentum(0.9), np.eye(1), np.zeros((1, 2), dtype=np.float32), 0.1, 4)
    course = np.float32([1.0, -2.0])
    for _ in range(200):
        before = net.x
        net.round(lambda x: np.broadcast_to(course, x.shape))
    assert net.x - before == pytest.approx(-0.4 * course[None], rel=1e-4)


def test_outer_momentum_smooths_noise() -> None:
    rng = np.random.default_rng(7)
    spread = {}
    for mu in (0.0, 0.9):
        net = Network(OuterMomentum(mu), np.eye(1), np.zeros((1, 50), np.float32), 0.5, 1)
        ends = []
        for number in range(300):
            noise = rng.normal(size=(1, 50)).astype(np.float32)
            net.round(lambda x, noise=noise: x - 1 + noise)  # type: ignore[misc]
            if number > 100:
                ends.append(net.x)
        spread[mu] = float(np.std(ends))
        assert np.mean(ends) == pytest.approx(1.0, abs=0.1)
    assert spread[0.9] < 0.9 * spread[0.0]


# -- news -----------------------------------------------------------------------------------------


def test_momentum_is_no_news_and_without_training_there_is_none() -> None:
    gradient, _ = uneven(2, 4)
    rule = QuasiGlobal(0.9)
    x, memory, lr = drawn(1, 2, 4), drawn(2, 2, 1, 4), 0.1
    z = (x - np.float32(lr) * (np.float32(0.9) * memory[:, 0] + gradient(x))).astype(np.float32)
    z[1] = x[1]
    news = rule.news(turn_of(rule, x, memory, lr, [True, False]), z)
    assert news[0] == pytest.approx(-lr * gradient(x)[0], abs=1e-6)
    assert not news[1].any()
