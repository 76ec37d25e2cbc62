from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.gossip.algorithms.quasi_global import quasi_global
from tidings.gossip.rules import TopologyRule
from tidings.gossip.topology import Topology
from tidings.gossip.weights import metropolis_hastings


def local_step(x: np.ndarray, m: np.ndarray, g: np.ndarray, lr: float, beta: float) -> np.ndarray:
    return x - np.float32(lr) * (np.float32(beta) * m + g)


def ring(nodes: int) -> np.ndarray:
    return metropolis_hastings(Topology(TopologyRule(kind="ring", nodes=nodes)).adjacency(0))


def models(seed: int, *shape: int) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(seed)).normal(size=shape).astype(np.float32)


@settings(derandomize=True, deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 0.99), st.floats(0.001, 1), st.integers(1, 4))
def test_one_step_a_round_is_the_published_algorithm(
    seed: int, beta: float, lr: float, rounds: int
) -> None:
    # Algorithm 1 of the paper, written down by itself in float64, on a ring of 5 quadratics
    W, targets = ring(5), models(seed, 5, 7).astype(np.float64)
    x = models(seed + 1, 5, 7)
    m = np.zeros_like(x)
    their_x, their_m = x.astype(np.float64), np.zeros((5, 7))
    for _ in range(rounds):
        half = local_step(x, m, (x - targets).astype(np.float32), lr=lr, beta=beta)
        after = (W @ half).astype(np.float32)
        m = quasi_global(m, x, after, lr=lr, steps=1, mu=beta)
        x = after

        their_half = their_x - lr * (beta * their_m + (their_x - targets))
        their_after = W @ their_half
        d = (their_x - their_after) / lr
        their_m = beta * their_m + (1 - beta) * d
        their_x = their_after
    assert x.dtype == m.dtype == np.float32
    assert np.allclose(x, their_x, atol=1e-4)
    assert np.allclose(m * lr, their_m * lr, atol=1e-4)


@pytest.mark.parametrize("steps", [1, 5, 20])
def test_a_constant_gradient_settles_at_its_geometric_sum(steps: int) -> None:
    # alone and under a constant gradient g the buffer is that of heavy-ball momentum,
    # g / (1 - beta), however many steps a round has
    g, beta, lr = np.float32([1.0, -2.0]), 0.8, 0.01
    x, m = np.zeros(2, dtype=np.float32), np.zeros(2, dtype=np.float32)
    for _ in range(300):
        before = x
        for _ in range(steps):
            x = local_step(x, m, g, lr=lr, beta=beta)
        m = quasi_global(m, before, x, lr=lr, steps=steps, mu=beta)
    assert m == pytest.approx(g / (1 - beta), rel=1e-3)


def test_uneven_nodes_end_nearer_to_the_common_optimum_than_with_local_momentum() -> None:
    n, lr, beta, steps = 16, 0.02, 0.9, 5
    W, targets = ring(n), models(3, n, 20)
    scale = np.abs(models(4, n, 20)) + 0.2  # each node has curvatures of its own
    optimum = (scale * targets).sum(axis=0) / scale.sum(axis=0)

    def worst(quasi: bool) -> float:
        x, m = np.zeros((n, 20), dtype=np.float32), np.zeros((n, 20), dtype=np.float32)
        for _ in range(400):
            before = x
            for _ in range(steps):
                g = scale * (x - targets)
                if quasi:
                    x = local_step(x, m, g, lr=lr, beta=beta)
                else:
                    m = beta * m + g
                    x = x - lr * m
            x = (W @ x).astype(np.float32)
            if quasi:
                m = quasi_global(m, before, x, lr=lr, steps=steps, mu=beta)
        return float(np.sqrt(np.square(x - optimum).sum(axis=1)).max())

    assert worst(quasi=True) < 0.6 * worst(quasi=False)


def test_known_values() -> None:
    known = quasi_global(
        np.float32([1, 2]), np.float32([3, 3]), np.float32([1, 4]), lr=0.5, steps=4, mu=0.75
    )
    assert known.tolist() == [1.0, 1.375]


def test_a_round_without_training_is_refused() -> None:
    x = models(1, 4)
    with pytest.raises(ValueError, match="keep the buffer"):
        quasi_global(x, x, x, lr=0.1, steps=0, mu=0.9)
