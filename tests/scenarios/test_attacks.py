"""What attackers publish: as the papers have it, and harmful to plain gossip."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from tidings.crypto.errors import ConfigError
from tidings.gossip.rules import TopologyRule
from tidings.gossip.topology import Topology
from tidings.gossip.weights import mixing_matrix
from tidings.scenarios.attacks import IPM_STEP, NOISE, SEEING, Sight, alone, together, turned_around

EDGES = [(0, 1), (1, 2), (2, 3), (3, 0), (1, 4), (3, 5)]


def sight(seed: int = 0, liars: tuple[int, ...] = (4, 5), edges: object = EDGES) -> Sight:
    rng = np.random.default_rng(seed)
    rule = TopologyRule.model_validate({"kind": "edges", "nodes": 6, "edges": edges})
    before = rng.normal(size=(6, 40)).astype(np.float32)
    return Sight(
        before=before,
        releases=(before + 0.1 * rng.normal(size=before.shape)).astype(np.float32),
        attackers=np.isin(np.arange(6), liars),
        weights=mixing_matrix(Topology(rule).links(0)),
    )


def mixed(seen: Sight, lies: np.ndarray) -> np.ndarray:
    published = seen.releases.copy()
    published[seen.attackers] = lies
    return seen.weights @ published.astype(np.float64)


@pytest.mark.parametrize("attack", SEEING)
def test_an_attack_that_sees_gives_a_row_for_each_attacker(attack: str) -> None:
    seen = sight()
    kept = seen.releases.copy()
    lies = together(attack, seen)  # type: ignore[arg-type]
    assert (lies.shape, lies.dtype) == ((2, 40), np.float32)
    assert np.isfinite(lies).all()
    assert np.array_equal(seen.releases, kept)
    assert not np.allclose(lies, kept[seen.attackers], atol=1e-3)


def test_a_little_is_enough_hides_in_the_spread_of_the_honest() -> None:
    lies = together("alie", seen := sight(liars=(5,)))
    honest = seen.releases[:5].astype(np.float64)
    spread = NormalDist().inv_cdf(0.5)  # three of the five honest are needed: the mean itself
    expected = honest.mean(axis=0) - spread * honest.std(axis=0)
    np.testing.assert_allclose(lies[0], expected, atol=1e-5)
    # with two of six attackers a majority needs two of the four honest; with 8 of 20, three of 12
    wide = Sight(
        before=np.zeros((20, 3), np.float32),
        releases=np.arange(60, dtype=np.float32).reshape(20, 3),
        attackers=np.arange(20) >= 12,
        weights=np.full((20, 20), 1 / 20),
    )
    honest = wide.releases[:12].astype(np.float64)
    spread = NormalDist().inv_cdf((12 - 3) / 12)
    expected = honest.mean(axis=0) - spread * honest.std(axis=0)
    np.testing.assert_allclose(together("alie", wide), np.tile(expected, (8, 1)), rtol=1e-5)


def test_inner_product_manipulation_points_against_the_honest_mean() -> None:
    seen = sight()
    step = (seen.releases - seen.before)[~seen.attackers].mean(axis=0)
    lie = together("ipm", seen)[0] - seen.before[~seen.attackers].mean(axis=0)
    np.testing.assert_allclose(lie, -IPM_STEP * step, atol=1e-5)


def test_dissensus_undoes_the_honest_pull_where_its_attacker_has_one_hearer() -> None:
    seen = sight()  # 1 hears only the attacker 4, and 3 only 5
    after = mixed(seen, together("dissensus", seen))
    for node in (1, 3):
        np.testing.assert_allclose(after[node], seen.releases[node], atol=1e-5)
    for node in (0, 2):
        assert not np.allclose(after[node], seen.releases[node], atol=1e-2)


def test_the_spectral_attack_keeps_the_slowest_mode_from_shrinking() -> None:
    # two honest pairs with one link between them; each pair hears an attacker
    seen = sight(edges=[(0, 1), (1, 2), (2, 3), (0, 4), (1, 4), (2, 5), (3, 5)])
    honest = seen.weights[:4, :4] * ~np.eye(4, dtype=bool)
    slowest = np.linalg.eigh(np.diag(honest.sum(axis=1)) - honest)[1][:, 1]

    def along(x: np.ndarray) -> float:
        return float(np.linalg.norm(slowest @ x[:4]))

    harmless = mixed(seen, seen.before[:4].mean(axis=0))
    assert along(mixed(seen, together("spectral", seen))) > 1.1 * along(harmless)


def test_alone_attackers_use_what_they_know() -> None:
    rng = np.random.default_rng(1)
    before = rng.normal(size=(3, 4000)).astype(np.float32)
    z = before + np.float32(0.1)

    def said(attack: str, round: int = 1) -> np.ndarray:
        return alone(attack, before, z, rng, round=round, rounds=10)  # type: ignore[arg-type]

    np.testing.assert_allclose(said("sign-flip"), before - 0.1, atol=1e-6)
    assert np.array_equal(said("free-rider"), before)
    assert np.array_equal(said("label-flip"), z)
    assert np.array_equal(said("sleeper", 5), z)
    np.testing.assert_allclose(said("sleeper", 6), before - 0.1, atol=1e-6)
    lengths = np.linalg.norm(said("noise") - z, axis=-1)
    np.testing.assert_allclose(lengths, NOISE * 0.1 * np.sqrt(4000), rtol=0.1)


def test_labels_are_turned_around_and_nothing_else_is() -> None:
    labels = np.array([0, 9, 3])
    assert turned_around(labels, 10).tolist() == [9, 0, 6]
    with pytest.raises(ConfigError, match="no class numbers"):
        turned_around(np.array([0.5, 1.0]), 10)  # type: ignore[arg-type]
