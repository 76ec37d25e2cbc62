"""Where a peer begins again after missed rounds: the mean of its neighbours, whatever some say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.gossip.test_robust import BOUNDED, RULES, cluster, seeds
from tidings.gossip.rejoining import neighbours_mean, shares_of
from tidings.gossip.rules import RobustRule, Rules, TopologyRule


def rules_of(rule: RobustRule = "none", byzantine: int = 1, **more: object) -> Rules:
    nobody = TopologyRule(kind="none")
    return Rules(robust=rule, byzantine=byzantine, rounds=100, topology=nobody).model_copy(
        update=more
    )


counts = st.lists(st.integers(0, 50), min_size=1, max_size=8)


@given(counts)
def test_neighbours_weigh_as_much_as_their_records(n: list[int]) -> None:
    shares = shares_of(rules_of(), n)
    if any(n):
        assert shares == pytest.approx(np.array(n) / sum(n))
    else:
        assert not shares.any()


@given(counts, st.sampled_from(RULES), st.integers(0, 3))
def test_too_few_to_outvote_the_liars_are_not_followed(
    n: list[int], rule: RobustRule, byzantine: int
) -> None:
    there = np.count_nonzero(n)
    few = not there if rule == "none" else there <= 2 * byzantine
    assert shares_of(rules_of(rule, byzantine), n).any() == (not few)


@pytest.mark.parametrize("averaging", ["push-sum", "relay", "pairwise"])
def test_where_sums_are_averaged_nothing_is_put_in_between(averaging: str) -> None:
    assert not shares_of(rules_of(averaging=averaging), [1, 1, 1]).any()


@given(seeds, st.integers(1, 9))
def test_without_a_robust_rule_it_is_the_weighted_mean(seed: int, neighbours: int) -> None:
    _, copies, _ = cluster(seed, neighbours)
    n = np.random.default_rng(seed).integers(1, 9, neighbours)
    found, used = neighbours_mean(rules_of(), copies, shares_of(rules_of(), n), 7)
    assert found == pytest.approx(np.average(copies, axis=0, weights=n), abs=1e-5)
    assert used == pytest.approx(n / n.sum(), abs=1e-6)


@given(seeds, st.sampled_from(RULES), st.integers(1, 5), st.integers(3, 7), st.integers(0, 3))
@example(0, "nearest", 1, 7, 2)  # of eight numbers and more NumPy's sum depends on their places
def test_one_peer_and_many_with_gaps_have_the_same_bits(
    seed: int, rule: RobustRule, peers: int, neighbours: int, gaps: int
) -> None:
    rng, rules = np.random.default_rng(seed), rules_of(rule)
    places = neighbours + gaps
    copies = rng.integers(-(2**22), 2**22, (peers, places, 6)).astype(np.float32) / 2**20
    n = np.zeros((peers, places), dtype=int)
    for row in n:
        row[rng.choice(places, neighbours, replace=False)] = rng.integers(1, 4)
    rounds = rng.integers(1, 100, peers)
    found, used = neighbours_mean(rules, copies, shares_of(rules, n), rounds)
    for i in range(peers):
        there = n[i] > 0
        shares = shares_of(rules, n[i][there])
        alone, own = neighbours_mean(rules, copies[i][there], shares, rounds[i])
        assert alone.tobytes() == found[i].tobytes()
        assert own.tobytes() == used[i][there].tobytes()


@given(seeds, st.sampled_from(BOUNDED), st.integers(1, 2), st.floats(1.0, 1e6))
def test_a_robust_rule_lets_no_liar_capture_who_comes_back(
    seed: int, rule: RobustRule, liars: int, far: float
) -> None:
    neighbours = 2 * liars + 1
    _, copies, _ = cluster(seed, neighbours)
    rng, rules = np.random.default_rng([seed, 1]), rules_of(rule, liars)
    honest = copies[liars:].copy()
    copies[:liars] += np.float32(far) * rng.normal(size=copies.shape[1]).astype(np.float32)
    order = rng.permutation(neighbours)
    found, _ = neighbours_mean(rules, copies[order], shares_of(rules, np.ones(neighbours)), 1)
    spread = max(np.linalg.norm(honest - each, axis=1).max() for each in honest)
    # the median lies among the honest values of each coordinate, so within root P of their spread;
    # whoever stays within as much of it pulls no farther (BALANCE: within 0.3 of its length)
    bound = 4 * np.sqrt(honest.shape[1]) * spread + 0.4 * np.linalg.norm(honest[0])
    assert np.linalg.norm(found - honest.mean(axis=0)) <= bound
