"""Scenario files: what is written is what is meant, and mistakes are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.scenarios.small import small
from tidings.crypto.errors import ConfigError
from tidings.peer.settings_files import to_toml
from tidings.scenarios.arms import arm_of
from tidings.scenarios.scenario import Scenario, bundled, load_scenario
from tidings.scenarios.world import World, seeded_entropy, shares_of

BUNDLED = ("baselines", "chaos", "frugal", "liar", "partition", "quickstart", "ten-thousand")


def refusal(*sets: str, name: str = "quickstart", **options: str | int) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_scenario(name, sets, options)
    assert caught.value.exit_code == 2
    return caught.value


# --- files -------------------------------------------------------------------------------------


def test_these_scenarios_are_bundled() -> None:
    assert tuple(bundled()) == BUNDLED


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_scenario_is_what_it_says(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.name == name
    assert 20 < len(scenario.description) < 80  # one line of a terminal
    assert bundled()[name].startswith("# ")
    assert scenario.rules.topology.nodes == scenario.peers
    fewer = load_scenario(name, (f"peers={min(scenario.peers, 20)}",))
    World(fewer.model_copy(update={"engine": "sim"}))


def test_what_a_run_keeps_of_its_scenario_is_the_same_scenario(tmp_path: Path) -> None:
    for name in BUNDLED:
        scenario = load_scenario(name)
        for arm in ("gossip", "local", "pooled"):
            file = tmp_path / f"{name}-{arm}.toml"
            file.write_text(to_toml(arm_of(scenario, arm)))
            assert load_scenario(str(file)) == arm_of(scenario, arm)


def test_a_file_is_found_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text(bundled()["quickstart"].replace("seed = 1", "seed = 9"))
    monkeypatch.chdir(tmp_path)
    assert load_scenario("mine.toml").seed == 9
    assert load_scenario("./mine.toml").seed == 9
    assert "no such file" in refusal(name="yours.toml").what
    assert refusal(name="quickstrat").fix == "did you mean 'quickstart'?"
    assert "baselines, chaos, frugal, liar, partition, quickstart" in refusal(name="x").fix


# --- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "where", "near"),
    [
        ("seeds=3", "seeds", "seed"),
        ("rules.round=3", "rules.round", "rounds"),
        ("rules.topology.knid=ring", "rules.topology.knid", "kind"),
        ("privacy.epsilom=1.0", "privacy.epsilom", "epsilon"),
        ("fault.loss=0.1", "fault", "faults"),
        ("faults.los=0.1", "faults.los", "loss"),
        ("partition.alhpa=1.0", "partition.alhpa", "alpha"),
    ],
)
def test_an_unknown_key_names_the_nearest(wrong: str, where: str, near: str) -> None:
    error = refusal(wrong)
    assert where in str(error)
    assert f"did you mean '{near}'" in str(error)


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ('peers="7"', "peers"),
        ("peers=ten", "peers"),
        ("peers=0", "peers"),
        ("peers=2.5", "peers"),
        ("seed=-1", "seed"),
        ("rules.rounds=true", "rules.rounds"),
        ("rules=7", "rules"),
        ("privacy.mode=loud", "privacy.mode"),
        ("privacy.epsilon=inf", "privacy.epsilon"),
        ("arms=[]", "arms"),
        ('arms=["gossip", "gossip"]', "arms"),
        ("engine=warp", "engine"),
        ("name='../up'", "name"),
        ("rules.topology.nodes=4", "topology.nodes"),
    ],
)
def test_a_value_that_does_not_fit_is_told_by_its_key(wrong: str, key: str) -> None:
    error = refusal(wrong)
    assert key in error.what
    assert error.what.count("\n") < 2  # one mistake, one message
    assert f"--set {wrong}" in error.where


def test_options_win_over_sets_and_sets_over_the_file() -> None:
    assert load_scenario("quickstart").seed == 1
    assert load_scenario("quickstart", ("seed=2",)).seed == 2
    assert load_scenario("quickstart", ("seed=2", "seed=3")).seed == 3
    assert load_scenario("quickstart", ("seed=2",), {"seed": 4}).seed == 4
    error = refusal(engine="warp")
    assert error.where == "bundled scenario 'quickstart' with --engine warp"
    assert "engine" in error.what


def test_what_follows_from_other_settings_is_filled_in() -> None:
    assert load_scenario("quickstart", ("peers=7",)).rules.topology.nodes == 7
    assert load_scenario("quickstart").training.local_steps == 1  # noise is paid for by the step
    assert load_scenario("quickstart", ("privacy.mode=none",)).training.local_steps == 5
    given = ("privacy.mode=none", "training.local_steps=2")
    assert load_scenario("quickstart", given).training.local_steps == 2
    assert load_scenario("quickstart", ("peers=12",)).names()[3] == "peer-03"


# --- what is made of them ------------------------------------------------------------------------


def dataset_without_seed(size: int = 40) -> tuple[np.ndarray, ...]:
    x = np.arange(2 * size, dtype=np.float32).reshape(size, 2)
    y = np.arange(size) % 2
    return x, y, x[:4], y[:4]


def dataset_with_seed(seed: int) -> tuple[np.ndarray, ...]:
    x, y, test_x, test_y = dataset_without_seed()
    return x + seed, y, test_x, test_y


@pytest.mark.parametrize(
    ("function", "arguments", "first"),
    [
        ("dataset_without_seed", "{size=50}", 0),
        ("dataset_with_seed", "{}", 3),
        ("dataset_with_seed", "{seed=5}", 5),
    ],
)
def test_the_seed_goes_to_a_data_set_that_takes_one(
    function: str, arguments: str, first: int
) -> None:
    scenario = small(
        f"task.dataset={__name__}:{function}", f"task.dataset_args={arguments}", "seed=3", "peers=2"
    )
    shares = shares_of(scenario)
    assert min(share.train_x.min() for share in shares) == first


def test_a_data_set_that_is_not_there_is_told_by_its_setting() -> None:
    with pytest.raises(ConfigError) as caught:
        shares_of(small("task.dataset=tidings.scenarios.tasks:digit"))
    assert caught.value.where == "task.dataset"
    assert "did you mean 'digits'" in caught.value.fix


def test_shares_follow_from_the_seed() -> None:
    one, same, other = (shares_of(small(f"seed={seed}")) for seed in (1, 1, 2))
    for a, b in zip(one, same, strict=True):
        assert np.array_equal(a.train_x, b.train_x)
    assert [len(s.train_y) for s in one] != [len(s.train_y) for s in other]


def test_secrets_of_a_simulation_differ_by_seed_and_purpose() -> None:
    drawn = {
        seeded_entropy(*purpose)(16)
        for purpose in [(1, "noise", 0), (1, "noise", 1), (2, "noise", 0), (1, "nonces", 0, 1)]
    }
    assert len(drawn) == 4
    world, again = World(small()), World(small())
    assert world.network.network_id == again.network.network_id
    assert World(small("seed=2")).network.network_id != world.network.network_id


# --- arms ----------------------------------------------------------------------------------------


def records(scenario: Scenario) -> int:
    return sum(len(share.train_y) for share in shares_of(scenario))


def test_the_arms_of_a_comparison_learn_from_the_same_records() -> None:
    scenario = small('faults.liars=[{node=4, behaviour="forge"}]', "faults.train_s=0.2")
    gossip, local, pooled = (arm_of(scenario, arm) for arm in ("gossip", "local", "pooled"))
    assert records(gossip) == records(local) == records(pooled)
    assert [arm.peers for arm in (gossip, local, pooled)] == [5, 5, 1]
    assert gossip.faults == scenario.faults
    assert local.rules.topology.kind == pooled.rules.topology.kind == "none"
    # who speaks to nobody is lied to by nobody, but trains no faster for it
    assert pooled.faults.liars == () == local.faults.liars
    assert pooled.faults.train_s == 0.2
    # a step of the pooled learner uses as many records as a step of all peers
    assert pooled.training.batch_size == 5 * gossip.training.batch_size
    assert local.training == gossip.training
    with pytest.raises(ConfigError, match="no arm"):
        arm_of(scenario, "both")
