"""`tidings compare`: runs side by side, and in what they differ; arms are shown the same way."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scenarios.log_factory import honest_run, run_started, write_log
from tests.scenarios.small import small
from tidings.__main__ import main
from tidings.peer.settings_files import to_toml
from tidings.scenarios.comparison import compare, differences, named_runs
from tidings.scenarios.summary import summarise

settings = st.dictionaries(st.sampled_from("abcde"), st.integers(0, 2))


def run(folder: Path, *sets: str, scenario: str | None = None) -> Path:
    """The folder of an honest run whose log says that it was of a small scenario."""
    first, *others = honest_run(peers=5, rounds=4)
    text = to_toml(small(*sets)) if scenario is None else scenario
    started = replace(run_started(), scenario=text)
    write_log(folder / "events.jsonl", [(first[0], "", started), *others])
    return folder


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


@given(st.dictionaries(st.sampled_from(("x", "y", "z")), settings, min_size=1))
def test_a_difference_is_a_key_on_which_not_all_agree(scenarios: dict[str, dict[str, int]]):
    found = {one.key: one.values for one in differences(scenarios)}
    for key in "abcde":
        values = {name: one.get(key) for name, one in scenarios.items()}
        assert (key in found) == (len(set(values.values())) > 1)
        assert found.get(key, values) == values


def test_runs_are_shown_with_the_settings_in_which_they_differ(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    run(tmp_path / "one", "rules.keep=0.1", "seed=3", "description=a")
    run(tmp_path / "two", "rules.keep=0.2", "seed=3", "description=b")
    assert main(["compare", "one", "two"]) == 0
    out = capfd.readouterr().out
    head, tail = out.split("Settings that differ")
    for text in ("one", "two", "mean accuracy", "public copies agree"):
        assert text in head
    rows = [line.split() for line in tail.splitlines() if line.strip()]
    assert rows == [["one", "two"], rows[1], ["rules.keep", "0.1", "0.2"]]
    assert main(["compare", "one", "two", "--json"]) == 0
    whole = json.loads(capfd.readouterr().out)
    assert whole["differences"] == [{"key": "rules.keep", "values": {"one": 0.1, "two": 0.2}}]
    assert whole["arms"]["two"] == summarise(tmp_path / "two").as_json()


def test_arms_are_compared_as_runs_are(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    run(tmp_path / "both" / "gossip", 'arms=["gossip"]')
    run(tmp_path / "both" / "local", 'arms=["local"]')
    shown: dict[str, Any] = {}
    for command in (["inspect", "both"], ["compare", "both"], ["compare", "both/gossip",
                                                                "both/local"]):  # fmt: skip
        assert main([*command, "--json"]) == 0
        shown[" ".join(command)] = json.loads(capfd.readouterr().out)
    assert shown["inspect both"] == shown["compare both"] == shown["compare both/gossip both/local"]
    assert [one["key"] for one in shown["compare both"]["differences"]] == ["arms"]


def test_runs_of_one_name_are_told_apart(tmp_path: Path):
    paths = [run(tmp_path / a / b / "it") for a, b in (("x", "u"), ("y", "u"), ("y", "v"))]
    assert list(named_runs(paths)) == ["x/u/it", "y/u/it", "v/it"]
    inside = [run(tmp_path / "runs" / "local"), run(tmp_path / "runs" / "gossip"), paths[0]]
    assert set(named_runs([tmp_path / "runs", paths[0]])) == {"local", "gossip", "it"}
    assert set(named_runs(inside).values()) == set(inside)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["one"], "nothing to compare it with"), (["one", "absent"], "not a folder")],
)
def test_too_few_runs_are_refused(
    arguments: list[str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    run(tmp_path / "one")
    assert main(["compare", *arguments, "--json"]) == 2
    assert said in json.loads(capfd.readouterr().err.splitlines()[-1])["what"]


@pytest.mark.parametrize("text", ["the quick start", "a = [", "x = 1\n" * 3])
def test_a_log_that_does_not_tell_its_scenario_is_compared_all_the_same(text: str, tmp_path: Path):
    folders = {"one": run(tmp_path / "one"), "two": run(tmp_path / "two", scenario=text)}
    found = compare(folders)
    assert found.differences == ()
    assert set(found.summaries) == {"one", "two"}


def test_pictures_are_drawn_of_all_runs(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    run(tmp_path / "one")
    run(tmp_path / "two")
    assert main(["compare", "one", "two", "--plots", "p"]) == 0
    names = {path.name for path in (tmp_path / "p").iterdir()}
    assert names == {"comparison-accuracy.png", "comparison-consensus.png"}
    assert "p/comparison-accuracy.png" in capfd.readouterr().out


def test_json_is_valid_even_where_a_scenario_holds_what_json_does_not(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    run(tmp_path / "one", scenario="x = nan\ny = inf\nd = 1979-05-27")
    run(tmp_path / "two", scenario="x = 1.0\ny = 2.0\nd = 1979-05-28")
    assert main(["compare", "one", "two", "--json"]) == 0
    values = [one["values"] for one in json.loads(capfd.readouterr().out)["differences"]]
    assert values[0] == {"one": None, "two": 1.0}
    assert not any(isinstance(v, float) and math.isnan(v) for row in values for v in row.values())
