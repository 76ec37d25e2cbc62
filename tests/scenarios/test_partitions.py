"""However a data set is shared out: every record goes to exactly one peer, and no peer starves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.crypto.errors import ConfigError
from tidings.scenarios.partitions import PartitionRule, dirichlet, iid, quantity, shards


@st.composite
def divisions(draw):
    rule = PartitionRule(
        kind=draw(st.sampled_from(["iid", "dirichlet", "shards", "quantity"])),
        alpha=draw(st.sampled_from([1e-4, 0.05, 0.5, 5.0, 1e6])),
        per_peer=draw(st.integers(1, 4)),
        min_samples=draw(st.integers(1, 6)),
    )
    peers = draw(st.integers(1, 12))
    needed = peers * max(rule.min_samples, rule.per_peer)
    size = draw(st.integers(needed, needed + 200))
    labels = np.random.default_rng(draw(st.integers(0, 9))).integers(
        0, draw(st.integers(1, 10)), size
    )
    return rule, labels, peers, draw(st.integers(0, 2**32))


@settings(deadline=None, max_examples=200, derandomize=True)
@given(divisions())
def test_every_record_goes_to_exactly_one_peer_and_nobody_starves(division):
    rule, labels, peers, seed = division
    shares = rule.divide(labels, peers, np.random.default_rng(seed))
    assert len(shares) == peers
    assert np.array_equal(np.sort(np.concatenate(shares)), np.arange(len(labels)))
    for share in shares:
        assert share.dtype == np.int64
        assert len(share) >= rule.min_samples
        assert np.array_equal(share, np.sort(share))


@settings(deadline=None, max_examples=50, derandomize=True)
@given(divisions())
def test_equal_generators_give_equal_shares(division):
    rule, labels, peers, seed = division
    first = rule.divide(labels, peers, np.random.default_rng(seed))
    second = rule.divide(labels, peers, np.random.default_rng(seed))
    assert all(map(np.array_equal, first, second))


def test_another_seed_gives_other_shares():
    labels = np.arange(500) % 10
    for divide in (iid, shards, dirichlet, quantity):
        extra = {shards: {"per_peer": 2}, iid: {}}.get(divide, {"alpha": 0.5})
        one = divide(labels, 5, rng=np.random.default_rng(1), **extra)
        two = divide(labels, 5, rng=np.random.default_rng(2), **extra)
        assert not all(map(np.array_equal, one, two))


def test_iid_shares_are_equal_in_size_and_alike_in_classes():
    labels = np.arange(10_000) % 10
    for share in iid(labels, 10, rng=np.random.default_rng(0)):
        assert len(share) == 1000
        assert np.abs(np.bincount(labels[share]) - 100).max() < 50


def test_a_smaller_alpha_is_more_uneven_in_classes():
    labels = np.arange(5000) % 10

    def dominance(alpha):
        """Mean share of a peer's largest class."""
        shares = dirichlet(labels, 10, alpha=alpha, rng=np.random.default_rng(0))
        return np.mean([np.bincount(labels[s]).max() / len(s) for s in shares])

    assert dominance(0.05) > 0.5 > dominance(1.0) > dominance(1000.0)
    assert dominance(1000.0) < 0.15


def test_shards_bound_the_number_of_classes():
    labels = np.repeat(np.arange(10), 100)
    for share in shards(labels, 10, per_peer=2, rng=np.random.default_rng(0)):
        assert len(share) == 100
        assert len(np.unique(labels[share])) <= 2


def test_quantity_differs_in_size_but_not_in_classes():
    labels = np.arange(10_000) % 4
    shares = quantity(labels, 5, alpha=0.5, rng=np.random.default_rng(0), min_samples=200)
    sizes = sorted(map(len, shares))
    assert sizes[-1] > 3 * sizes[0]
    for share in shares:
        assert (np.bincount(labels[share], minlength=4) / len(share)).max() < 0.4


def test_too_few_records_is_a_clear_error():
    labels = np.zeros(30, dtype=np.int64)
    with pytest.raises(ConfigError, match=r"30 records are too few for 4 peers of at least 10"):
        PartitionRule().divide(labels, 4, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="too few"):
        PartitionRule(kind="shards", per_peer=20, min_samples=1).divide(
            labels, 2, np.random.default_rng(0)
        )
