"""Robust mixing: equal to plain gossip among honest peers, bounded among liars."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.gossip.mixing import mix
from tidings.gossip.robust import robust_mix
from tidings.gossip.rules import RobustRule, Rules, TopologyRule

RULES: list[RobustRule] = [
    "none",
    "clipped-gossip",
    "clipped-sum",
    "nearest",
    "trimmed-mean",
    "median",
    "balance",
]
BOUNDED = [rule for rule in RULES if rule != "none"]
seeds = st.integers(0, 2**32 - 1)


def robust_pull(
    rule: RobustRule,
    own: np.ndarray,
    copies: np.ndarray,
    weights: np.ndarray,
    *,
    byzantine: int = 0,
    progress: float = 0.0,
) -> np.ndarray:
    """What the neighbours add to ``own``, so many rounds of a hundred done."""
    nobody = TopologyRule(kind="none")
    rules = Rules(robust=rule, byzantine=byzantine, rounds=100, topology=nobody)
    w = np.asarray(weights, dtype=np.float32)
    rounds = np.full(w.shape[:-1], 1 + 100 * progress)
    return robust_mix(rules, np.zeros_like(own), own, copies, w, 1.0, rounds)[0]


def cluster(
    seed: int, neighbours: int, size: int = 16
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Honest vectors around one point, with equal weights."""
    rng = np.random.default_rng(seed)
    centre = 5 * rng.normal(size=size)
    own = (centre + 0.1 * rng.normal(size=size)).astype(np.float32)
    copies = (centre + 0.1 * rng.normal(size=(neighbours, size))).astype(np.float32)
    return own, copies, np.full(neighbours, 1 / (neighbours + 1), dtype=np.float32)


@given(seeds, st.integers(1, 9))
def test_none_is_plain_gossip_to_the_bit(seed: int, neighbours: int) -> None:
    own, copies, w = cluster(seed, neighbours)
    assert np.array_equal(own + robust_pull("none", own, copies, w), mix(own, own, copies, w))


@pytest.mark.parametrize("rule", ["clipped-gossip", "clipped-sum", "nearest"])
@given(seeds, st.integers(1, 9))
def test_with_nobody_to_fear_it_is_plain_gossip(rule: RobustRule, seed: int, n: int) -> None:
    own, copies, w = cluster(seed, n)
    plain = robust_pull("none", own, copies, w)
    np.testing.assert_allclose(
        robust_pull(rule, own, copies, w, byzantine=0), plain, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("rule", BOUNDED)
@given(seeds, st.floats(1, 1e30))
def test_a_liar_moves_nobody_far(rule: RobustRule, seed: int, size: float) -> None:
    own, copies, w = cluster(seed, 6)
    liar = np.random.default_rng(seed + 1).normal(size=own.size)
    copies[seed % 6] = (size * liar / np.linalg.norm(liar)).astype(np.float32)
    pull = robust_pull(rule, own, copies, w, byzantine=1)
    honest = np.linalg.norm(np.delete(copies, seed % 6, 0) - own, axis=1).max()
    # coordinate-wise rules are bounded in each coordinate, so in norm by the root of P
    slack = np.sqrt(own.size) if rule in ("trimmed-mean", "median") else 2.0
    assert np.linalg.norm(pull) <= slack * honest + 1e-4


@pytest.mark.parametrize("rule", RULES)
@given(seeds, st.integers(0, 3))
def test_a_matrix_of_peers_gets_what_each_row_gets(rule: RobustRule, seed: int, b: int) -> None:
    rng = np.random.default_rng(seed)
    own = rng.normal(size=(5, 8)).astype(np.float32)
    copies = rng.normal(size=(5, 7, 8)).astype(np.float32)
    w = np.where(rng.random((5, 7)) < 0.3, 0, rng.random((5, 7)) / 8).astype(np.float32)
    together = robust_pull(rule, own, copies, w, byzantine=b, progress=0.5)
    for i in range(5):
        alone = robust_pull(rule, own[i], copies[i], w[i], byzantine=b, progress=0.5)
        assert np.array_equal(together[i], alone)


@pytest.mark.parametrize("rule", RULES)
@given(seeds, st.integers(0, 2), st.sampled_from([np.inf, np.nan, 1e30]))
def test_a_weight_of_nothing_is_nobody(
    rule: RobustRule, seed: int, b: int, nonsense: float
) -> None:
    own, copies, w = cluster(seed, 5)
    with_ghost = np.insert(copies, 2, np.float32(nonsense), axis=0)
    expected = robust_pull(rule, own, copies, w, byzantine=b)
    actual = robust_pull(rule, own, with_ghost, np.insert(w, 2, 0.0), byzantine=b)
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-7)


@given(seeds, st.integers(1, 8), st.integers(0, 4))
def test_trimmed_mean_is_the_textbooks(seed: int, neighbours: int, b: int) -> None:
    own, copies, w = cluster(seed, neighbours)
    rows = np.sort(np.vstack([own, copies]), axis=0)
    cut = min(b, neighbours // 2)
    expected = rows[cut : len(rows) - cut].mean(axis=0)
    np.testing.assert_allclose(
        own + robust_pull("trimmed-mean", own, copies, w, byzantine=b),
        expected,
        rtol=1e-4,
        atol=1e-6,
    )
    np.testing.assert_allclose(
        own + robust_pull("median", own, copies, w),
        np.median(rows, axis=0),
        rtol=1e-4,
        atol=1e-6,
    )


def test_nearest_leaves_the_farthest_out_and_shares_its_weight() -> None:
    own = np.zeros(1, dtype=np.float32)
    copies = np.array([[1.0], [100.0], [2.0]], dtype=np.float32)
    pull = robust_pull("nearest", own, copies, [0.25, 0.25, 0.25], byzantine=1)
    assert pull == pytest.approx([0.375 * 3])


def test_clipped_sum_clips_at_the_rank_that_two_liars_each_way_cannot_reach() -> None:
    own = np.zeros(1, dtype=np.float32)
    copies = np.array([[1.0], [3.0], [50.0], [-100.0]], dtype=np.float32)
    pull = robust_pull("clipped-sum", own, copies, [0.2] * 4, byzantine=1)
    assert pull == pytest.approx([0.2 * (1 + 3 + 3 - 3)])


def test_clipped_gossip_tunes_its_radius() -> None:
    own = np.zeros(1, dtype=np.float32)
    copies = np.array([[3.0], [4.0], [1e6]], dtype=np.float32)
    pull = robust_pull("clipped-gossip", own, copies, [0.25] * 3, byzantine=1)
    # sqrt((9 + 16) / 4 / (1 / 4)) = 5: the near ones stay whole
    assert pull == pytest.approx([0.25 * (3 + 4 + 5)])


def test_balance_narrows_as_rounds_go_by() -> None:
    own = np.array([10.0], dtype=np.float32)
    copies = np.array([[12.5], [11.0]], dtype=np.float32)
    early = robust_pull("balance", own, copies, [0.3, 0.3], progress=0.0)
    late = robust_pull("balance", own, copies, [0.3, 0.3], progress=1.0)
    assert early == pytest.approx([0.3 * 3.5], rel=1e-5)
    assert late == pytest.approx([0.3], rel=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_alone_nothing_pulls(rule: RobustRule) -> None:
    own = np.ones(3, dtype=np.float32)
    assert not robust_pull(rule, own, np.empty((0, 3), dtype=np.float32), []).any()


def test_shapes_must_fit() -> None:
    own = np.ones(3, dtype=np.float32)
    with pytest.raises(ValueError, match="do not fit"):
        robust_pull("none", own, np.ones((2, 3), dtype=np.float32), [0.1])
