"""Sweep files: which points they mean, and what they refuse."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scenarios.small import small
from tidings.crypto.errors import ConfigError
from tidings.scenarios.scenario import read_scenario
from tidings.scenarios.sweep.definition import (
    Sweep,
    bundled_sweeps,
    read_sweep,
    settings_of_points,
    split_values,
)
from tidings.scenarios.sweep.jobs import jobs_of, short_names

KEYS = ("rules.rounds", "rules.topology.kind", "partition.alpha", "training.learning_rate")

texts = st.text(st.sampled_from("ab.,[]{}'\" "), max_size=6)


def sweep(**settings: Any) -> Sweep:
    return Sweep(name="it", scenario="quickstart", **settings)


def base() -> dict[str, Any]:
    return read_scenario("quickstart")[0]


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


# --- points ------------------------------------------------------------------------------------


@given(
    st.dictionaries(st.sampled_from(KEYS), st.lists(st.integers(), min_size=1, max_size=3)),
    st.lists(
        st.dictionaries(st.sampled_from(("a", "b", "label")), st.text(max_size=3)), max_size=3
    ),
)
def test_each_listed_point_meets_every_combination(
    grid: dict[str, list[int]], listed: list[dict[str, str]]
):
    found = settings_of_points(sweep(grid=grid, points=listed))
    wanted = [
        {**point, **dict(zip(grid, values, strict=True))}
        for point in listed or [{}]
        for values in itertools.product(*grid.values())
    ]
    assert found == wanted


def test_every_point_runs_with_every_seed_and_is_resolved_as_run_does():
    jobs = jobs_of(
        sweep(seeds=(3, 5), grid={"peers": [4, 6], "privacy.mode": ["none", "record"]}),
        base(),
        where="it",
    )
    assert [(job.point.number, job.seed) for job in jobs] == [
        (point, seed) for point in range(4) for seed in (3, 5)
    ]
    # what follows from other settings is filled in for each point anew
    assert {job.scenario.rules.topology.nodes for job in jobs} == {4, 6}
    assert {(j.scenario.privacy.mode, j.scenario.training.local_steps) for j in jobs} == {
        ("none", 5),
        ("record", 1),
    }
    assert [job.point.label for job in jobs[::2]] == [
        "peers 4, none",
        "peers 4, record",
        "peers 6, none",
        "peers 6, record",
    ]


def test_a_listed_point_may_have_a_label_of_its_own():
    jobs = jobs_of(
        sweep(points=({"rules.rounds": 3, "label": "short"}, {"rules.rounds": 30})),
        base(),
        where="it",
    )
    assert [job.point.label for job in jobs] == ["short", "rounds 30"]
    assert [job.point.values for job in jobs] == [{"rules.rounds": 3}, {"rules.rounds": 30}]


def test_a_label_stands_for_what_its_point_sets_and_the_grid_is_added():
    listed = ({"rules.optimiser": "sgd", "rules.rounds": 3, "label": "plain"}, {"rules.rounds": 4})
    jobs = jobs_of(sweep(points=listed, grid={"partition.alpha": [0.1, 1.0]}), base(), where="it")
    assert [job.point.label for job in jobs] == [
        "plain, alpha 0.1",
        "plain, alpha 1.0",
        "rounds 4, alpha 0.1",
        "rounds 4, alpha 1.0",
    ]


def test_a_runs_id_depends_on_all_settings_and_on_nothing_else():
    def ids(**settings: Any) -> dict[tuple[int, int], str]:
        jobs = jobs_of(sweep(**settings), base(), where="it")
        return {(job.scenario.rules.rounds, job.seed): job.id for job in jobs}

    two = ids(grid={"rules.rounds": [3, 4]}, seeds=(1,))
    more = ids(points=({"rules.rounds": 9}, {"rules.rounds": 4}, {"rules.rounds": 3}), seeds=(2, 1))
    assert two.items() < more.items()
    assert len(set(more.values())) == 6
    other = ids(grid={"rules.rounds": [3, 4]}, set={"peers": 9})
    assert not set(other.values()) & set(two.values())


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3), max_size=5))
def test_short_names_are_ends_of_keys_and_differ(parts: list[list[str]]):
    keys = tuple(dict.fromkeys(".".join(one) for one in parts))
    names = short_names(keys)
    assert all(f".{key}".endswith(f".{name}") for key, name in names.items())
    # a key that is itself the end of another keeps its whole name
    assert len(set(names.values())) == len(keys)


# --- files and flags ---------------------------------------------------------------------------


def test_a_file_may_write_keys_as_tables_or_as_dotted_names(tmp_path: Path):
    head = 'name = "it"\nscenario = "baselines"\nseeds = [1, 2]\n'
    one = written(tmp_path / "1.toml", head + '[grid]\nrules.topology.kind = ["ring"]\n')
    two = written(tmp_path / "2.toml", head + '[grid]\n"rules.topology.kind" = ["ring"]\n')
    assert read_sweep(one)[0] == read_sweep(two)[0]
    assert read_sweep(one)[0].grid == {"rules.topology.kind": ["ring"]}


def test_flags_make_a_sweep_of_any_scenario(tmp_path: Path):
    found, _ = read_sweep("quickstart", over=["rules.keep=0.1, 0.5", "engine=sim"], seeds=[4])
    assert found.grid == {"rules.keep": [0.1, 0.5], "engine": ["sim"]}
    assert (found.name, found.seeds) == ("quickstart", (4,))
    file = tmp_path / "mine.toml"
    file.write_text('name = "other"\n[learner]\nmodule = "a:b"\n')
    found, beside = read_sweep(str(file), over=["peers=2,3"])
    assert (found.name, found.scenario, beside) == ("mine", "mine.toml", tmp_path)


def test_flags_take_a_keys_place_in_the_grid():
    found, _ = read_sweep("graphs", over=["partition.alpha=7.0"])
    assert found.grid["partition.alpha"] == [7.0]
    assert len(found.grid["rules.topology.kind"]) == 4


@given(st.lists(st.sampled_from(["1", "a b", "[1, 2]", '"x, y"', "{a=[1,2], b='}'}", ""])))
def test_values_are_split_at_commas_outside_of_brackets_and_quotes(values: list[str]):
    assert split_values(",".join(values)) == (values or [""])


@given(texts)
def test_splitting_loses_nothing(text: str):
    parts = split_values(text)
    assert "".join(part.replace(" ", "") for part in parts).replace(",", "") == text.replace(
        " ", ""
    ).replace(",", "")


@pytest.mark.parametrize("name", bundled_sweeps())
def test_the_bundled_sweeps_fit(name: str):
    found, _ = read_sweep(name)
    base, where = read_scenario(found.scenario)
    assert len(jobs_of(found, base, where=where)) == len(settings_of_points(found)) * len(
        found.seeds
    )
    assert found.description


# --- mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"seeds": (1, 1)}, "each seed once"),
        ({"seeds": ()}, "at least 1 item"),
        ({"grid": {"peers": 3}}, "grid.peers must be a list"),
        ({"grid": {"peers": []}}, "grid.peers must be a list"),
        ({"grid": {"seed": [1, 2]}}, "varied by 'seeds'"),
        ({"points": ({"peers": 3},), "grid": {"peers": [3]}}, "'peers' stands in both"),
        ({"grids": {}}, "Extra inputs"),
    ],
)
def test_a_sweep_that_does_not_fit_is_refused(settings: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=said):
        sweep(**settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"grid": {"rules.round": [3]}}, "did you mean 'rounds'"),
        ({"grid": {"peers": [3, "many"]}}, "point 1"),
        ({"grid": {"rules.rounds": [3, 4, 3]}}, "points 0 and 2 are the same"),
        ({"points": ({"label": "a"}, {"label": "b"})}, "points 0 and 1 are the same"),
        ({"grid": {"name.x": [3]}}, "leads nowhere"),
        ({"grid": {key: list(range(1, 50)) for key in KEYS}}, "at most 100000"),
    ],
)
def test_a_point_that_does_not_fit_is_told_before_anything_runs(
    settings: dict[str, Any], said: str
):
    with pytest.raises(ConfigError, match=said):
        jobs_of(sweep(**settings), base(), where="it")


@pytest.mark.parametrize(
    ("name", "over", "said"),
    [
        ("absent", (), "there is no scenario 'absent'"),
        ("quickstart", ("peers",), "--over"),
        ("quickstart", ("seed=1,2",), "varied by 'seeds'"),
    ],
)
def test_flags_that_do_not_fit_are_refused(name: str, over: tuple[str, ...], said: str):
    def read() -> None:
        found, beside = read_sweep(name, over=over)
        read_scenario(found.scenario, beside=beside)

    with pytest.raises(ConfigError, match=said):
        read()


def test_a_scenario_that_was_resolved_is_the_same_in_a_sweep():
    scenario = small("rules.rounds=4")
    mapping = scenario.model_dump(mode="json", exclude_none=True)
    (job,) = jobs_of(sweep(), mapping, where="it")
    assert job.scenario == scenario
